import type { Consumer, Credit, MessageView, Queue, Receiver } from '@stathmos/engine'
import type { Log } from '../../log.ts'
import { Incoming, type Reading } from '../incoming.ts'
import type { Delivery, Subscription } from '../port.ts'
import { readWired } from './envelope.ts'

export interface EngineSubscriptionOptions {
  readonly queues: readonly Queue[]
  /** All queues together have no more than this in a process's hands. */
  readonly credit: Credit
  readonly prefetch: number
  /** Others get nothing of a queue before what it handed out is settled. */
  readonly ordered: boolean
  readonly reading: Reading & { readonly log: Log }
  readonly receive: (delivery: Delivery) => void
}

interface Held {
  readonly queue: Queue
  readonly ticket: number
  incoming: Incoming | null
}

/** A subscription to the queues of a consumer, and what it has in hands. */
export class EngineSubscription implements Subscription, Receiver {
  readonly #options: EngineSubscriptionOptions
  readonly #held = new Set<Held>()
  readonly #consumers: Consumer[] = []
  #paused = false
  #closed = false

  constructor(options: EngineSubscriptionOptions) {
    this.#options = options
    const { queues, credit, prefetch } = options
    for (const queue of queues) {
      this.#consumers.push(
        queue.subscribe({ receiver: this, credit: prefetch, sharedCredit: credit, autoAccept: false }),
      )
    }
  }

  pause(): void {
    this.#paused = true
    for (const consumer of this.#consumers) consumer.pause()
  }

  resume(): void {
    if (!this.#paused || this.#closed) return
    this.#paused = false
    for (const consumer of this.#consumers) consumer.resume()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const consumer of this.#consumers) consumer.pause()
    if (!this.#options.ordered || this.#held.size === 0) this.#cancel()
  }

  /** Ends at once; what is in hands goes back. */
  abandon(): void {
    this.#closed = true
    this.#cancel()
    for (const { queue, ticket, incoming } of this.#held) {
      incoming?.revoke()
      queue.release(ticket)
    }
    this.#held.clear()
  }

  // ---- what the engine calls

  deliver(consumer: Consumer, ticket: number, message: MessageView): void {
    const { reading, receive } = this.#options
    const queue = consumer.queue as Queue
    const held: Held = { queue, ticket, incoming: null }
    const incoming = new Incoming(readWired(message), message.redelivered, reading, (outcome) => {
      this.#held.delete(held)
      if (outcome === 'accept') queue.accept(ticket)
      else queue.release(ticket)
      consumer.grant(1)
      if (this.#closed && this.#held.size === 0) this.#cancel()
    })
    held.incoming = incoming
    this.#held.add(held)
    try {
      receive(incoming)
    } catch (error) {
      // The engine hands out many in a row; whoever fails with one does not stop the others.
      reading.log.error({ err: error, queue: queue.name }, 'receiving a message failed; it is released')
      incoming.release()
    }
  }

  flush(): void {}

  cancelled(consumer: Consumer): void {
    const { log } = this.#options.reading
    log.error({ queue: consumer.queue.name }, 'the queue of a consumer was deleted; it gets nothing any more')
  }

  #cancel(): void {
    for (const consumer of this.#consumers.splice(0)) consumer.cancel()
  }
}
