import type { MessageView } from '../message/message-view.ts'
import type { Outcomes } from './outcome.ts'

/** The queue, as its consumers and their receivers see it. */
export interface Subscribed extends Outcomes {
  readonly name: string
  readonly deleted: boolean
  /** Whether it outlives a restart, with its persistent messages. */
  readonly durable: boolean
  /** Whether the consumer may be handed messages (a single active consumer: whether its turn has come). */
  isActive(consumer: Consumer): boolean
  /** The consumer can take messages (again). */
  enlist(consumer: Consumer): void
  /** Ends the consumer; what it holds stays in its hands. */
  unsubscribe(consumer: Consumer): void
}

/** Where deliveries go. */
export interface Receiver {
  /**
   * Hands over a message. `ticket` names the delivery in {@link Outcomes.accept}, `release` and `reject`.
   * `message` is valid during the call only. Called in delivery order, many times in a row.
   */
  deliver(consumer: Consumer, ticket: number, message: MessageView): void
  /** The burst of deliveries is over: a good moment to write to the socket. */
  flush(): void
  /** The broker ended the consumer: its queue was deleted. */
  cancelled(consumer: Consumer): void
  /** The lease of a delivery ran out: the message is taken back, and what credit it held is the receiver's to grant. */
  lapsed?(consumer: Consumer, ticket: number): void
}

/** A limit on unsettled deliveries that several consumers share. */
export class Credit {
  available: number
  readonly #consumers = new Set<Consumer>()

  constructor(available: number) {
    this.available = available
  }

  join(consumer: Consumer): void {
    this.#consumers.add(consumer)
  }

  leave(consumer: Consumer): void {
    this.#consumers.delete(consumer)
  }

  /** Gives `count` back; everybody who shares it may get messages again. */
  grant(count: number): void {
    const empty = this.available <= 0
    this.available += count
    if (empty && this.available > 0) for (const consumer of this.#consumers) consumer.wake()
  }
}

export interface SubscribeOptions {
  readonly receiver: Receiver
  /** How many unsettled deliveries it takes; Infinity: any number. */
  readonly credit: number
  readonly sharedCredit?: Credit | null
  /** Higher ones are served first, as long as they have credit. */
  readonly priority?: number
  readonly exclusive?: boolean
  /**
   * Deliveries come back after this time, as failed attempts, unless {@link Outcomes.renew} extends it; left
   * out: never. Without effect where they are accepted automatically.
   */
  readonly leaseMs?: number
  /** Deliveries count as accepted when they are handed over. */
  readonly autoAccept: boolean
  readonly tag?: string
  /** Who asks: an exclusive queue serves its owner only. */
  readonly owner?: object
}

/** One reader of a queue. */
export class Consumer {
  readonly queue: Subscribed
  readonly receiver: Receiver
  readonly priority: number
  readonly exclusive: boolean
  readonly autoAccept: boolean
  readonly tag: string
  readonly sharedCredit: Credit | null
  /** 0: no lease. */
  readonly leaseMs: number
  credit: number
  paused = false
  /** In the queue's round of those that can take a message. */
  waiting = false
  /** Its neighbours in that round, which closes with the last one behind the first; itself: nobody else. */
  before: Consumer = this
  behind: Consumer = this
  inBurst = false
  cancelled = false

  constructor(queue: Subscribed, options: SubscribeOptions) {
    this.queue = queue
    this.receiver = options.receiver
    this.priority = options.priority ?? 0
    this.exclusive = options.exclusive ?? false
    this.autoAccept = options.autoAccept
    this.tag = options.tag ?? ''
    this.credit = options.credit
    this.leaseMs = options.leaseMs ?? 0
    this.sharedCredit = options.sharedCredit ?? null
    this.sharedCredit?.join(this)
  }

  /** Whether the queue may hand it a message now (a single active consumer: whether its turn has come). */
  get active(): boolean {
    return this.queue.isActive(this)
  }

  get ableToTake(): boolean {
    return (
      this.credit > 0 &&
      !this.paused &&
      !this.cancelled &&
      (this.sharedCredit === null || this.sharedCredit.available > 0)
    )
  }

  /** Gives credit back for `count` settled deliveries. */
  grant(count: number): void {
    this.credit += count
    this.sharedCredit?.grant(count)
    if (!this.waiting) this.wake()
  }

  /** No deliveries until {@link resume}: its receiver is behind. */
  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.wake()
  }

  /** Ends the consumer. What it holds stays in its hands: the session settles or releases it. */
  cancel(): void {
    this.queue.unsubscribe(this)
  }

  /** The burst of deliveries is over. */
  flush(): void {
    this.inBurst = false
    this.receiver.flush()
  }

  readonly lapsed = (ticket: number): void => {
    this.receiver.lapsed?.(this, ticket)
  }

  wake(): void {
    if (this.ableToTake) this.queue.enlist(this)
  }
}
