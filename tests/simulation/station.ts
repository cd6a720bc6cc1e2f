import {
  type Consumer,
  Draft,
  type Engine,
  type MessageView,
  type Queue,
  REJECTED,
  type VHost,
  type Subscribed,
} from '@stathmos/engine'
import { bodyOf, type Group, type Ledger, type Place, type Sighting, type Simulation } from '@stathmos/testkit'
import type { Declarations } from './declarations.ts'
import { CHURNING, DELIVERY_LIMIT, laneOf, queueDefinition, RANKS, WIDE_QUEUES } from './topology.ts'

interface Held {
  readonly place: Place
  readonly queue: Subscribed
  readonly ticket: number
  readonly consumer: Consumer | null
}

/** One life of the broker under a random load, with everything that happens put down in the ledger. */
export class Station {
  readonly #engine: Engine
  readonly #vhost: VHost
  readonly #simulation: Simulation
  readonly #ledger: Ledger
  readonly #declarations: Declarations
  /** Transactions make dead letters, too. */
  readonly #rejects: boolean
  #held: Held[] = []
  #consumers: Consumer[] = []
  #unconfirmed: { readonly group: Group; readonly position: number }[] = []
  #waiting = false
  /** What went wrong where a throw would only have hit the broker. */
  broken: Error | null = null

  constructor(
    engine: Engine,
    simulation: Simulation,
    accounts: { readonly ledger: Ledger; readonly declarations: Declarations },
    rejects: boolean,
  ) {
    const { ledger, declarations } = accounts
    this.#engine = engine
    this.#rejects = rejects
    this.#vhost = engine.vhost('/')!
    this.#simulation = simulation
    this.#ledger = ledger
    this.#declarations = declarations
  }

  /** Does something at random. */
  act(): void {
    const chance = this.#pick(100)
    if (chance < 14) this.#publishWide()
    else if (chance < 24) this.#publishTo('ranked')
    else if (chance < 37) this.#publishTo(['ageing', 'short', 'full', 'limited', 'refusing'][this.#pick(5)]!)
    else if (chance < 41) this.#publishLater()
    else if (chance < 44) this.#publishTo(CHURNING[this.#pick(CHURNING.length)]!)
    else if (chance < 47) this.#publishShort()
    else if (chance < 52) this.#transact()
    else if (chance < 60) this.#subscribe()
    else if (chance < 63) this.#unsubscribe()
    else if (chance < 70) this.#get()
    else if (chance < 88) this.#settle()
    else if (chance < 89) this.#purge()
    else if (chance < 92) this.#churn()
    else if (chance < 94) this.#browse()
    else this.ask()
  }

  /** Waits for the disk, as a front-end does before it answers. */
  ask(): void {
    const answered = this.#ledger.asked()
    const declared = this.#declarations.asked()
    this.#engine.durably().then(
      () => {
        answered()
        declared()
      },
      () => {},
    )
  }

  /** Gives everything back and stops in good order. */
  async close(): Promise<void> {
    for (const consumer of this.#consumers) consumer.cancel()
    for (const { queue, ticket, place } of this.#held) {
      if (queue.deleted) continue
      queue.release(ticket)
      this.#ledger.release(place)
    }
    this.#held = []
    const answered = this.#ledger.asked()
    const declared = this.#declarations.asked()
    await this.#engine.close()
    answered()
    declared()
  }

  // ---- publishing

  #publishWide(): void {
    this.#publish('wide', '', WIDE_QUEUES)
  }

  /** To a queue by its name. */
  #publishTo(name: string): void {
    if (this.#vhost.queue(name) !== undefined) this.#publish('', name, [name])
  }

  #publishLater(): void {
    this.#publish('tomorrow', '', ['later'], this.#pick(4) === 0 ? 0 : this.#pick(200))
  }

  /** To two queues that both drop their oldest for it. */
  #publishShort(): void {
    const draft = this.#draft()
    draft.moreKeys = ['short-too']
    this.#publish('', 'plain', ['plain', 'short-too'], 0, draft)
  }

  #publish(exchange: string, key: string, queues: readonly string[], delayMs = 0, draft = this.#draft()): void {
    draft.delayMs = delayMs
    const position = this.#vhost.publish(this.#vhost.route(exchange, key)!, draft)
    // A queue that refuses a message may make a dead letter of it, which nobody is told about.
    if (position === REJECTED && key !== 'refusing') return
    const group = this.#ledger.group()
    this.#stored(group, draft, queues)
    if (position !== REJECTED) this.#await(group, position)
  }

  #transact(): void {
    const transaction = this.#vhost.begin()
    const group = this.#ledger.group()
    const drafts: [Draft, string][] = []
    for (const queue of ['plain', 'ranked'].slice(this.#pick(2))) {
      const draft = this.#draft()
      draft.persistent = true
      drafts.push([draft, queue])
      transaction.publish(this.#vhost.route('', queue)!, draft)
    }
    const inputs = this.#held.filter(({ queue }) => !queue.deleted).slice(0, this.#pick(3))
    const rejected = this.#rejects ? this.#held.filter(({ queue }) => queue.name === 'mortal').slice(0, 4) : []
    for (const { queue, ticket } of rejected) transaction.reject(queue, ticket, 'rejected')
    const accepted = inputs.filter((held) => !rejected.includes(held))
    for (const { queue, ticket } of accepted) transaction.accept(queue, ticket)
    if (this.#pick(5) === 0) return transaction.rollback()
    this.#held = this.#held.filter((held) => !accepted.includes(held) && !rejected.includes(held))
    let applied = false
    const committed = transaction.commit(() => {
      applied = true
      for (const { queue, place, consumer } of accepted) {
        if (!queue.deleted) this.#ledger.accept(place, group)
        consumer?.grant(1)
      }
      for (const { place, consumer } of rejected) {
        this.#ledger.reject(place, group)
        consumer?.grant(1)
      }
      for (const [draft, queue] of drafts) this.#stored(group, draft, [queue])
    })
    if (!applied && this.#pick(3) === 0) {
      transaction.rollback()
      this.#held.push(...accepted, ...rejected)
    }
    committed.then(
      (done) => done && this.#ledger.confirmed(group),
      () => {},
    )
  }

  #stored(group: Group, draft: Draft, queues: readonly string[]): void {
    const id = Number.parseInt(Buffer.from(draft.body.subarray(0, 16)).toString('latin1'), 10)
    for (const queue of queues) {
      this.#ledger.stored(group, id, queue, laneOf(queue, draft.priority), draft.persistent)
    }
  }

  #draft(): Draft {
    const draft = new Draft()
    draft.body = bodyOf(this.#ledger.nextId())
    draft.bodyView = new DataView(draft.body.buffer, draft.body.byteOffset, draft.body.length)
    draft.bodyEnd = draft.body.length
    draft.persistent = this.#pick(8) > 0
    draft.priority = this.#pick(RANKS + 1)
    return draft
  }

  #await(group: Group, position: number): void {
    this.#unconfirmed.push({ group, position })
    if (this.#waiting) return
    this.#waiting = true
    this.#engine.awaitDurable(this)
  }

  durable(position: number): void {
    const waiting = this.#unconfirmed
    this.#unconfirmed = waiting.filter((one) => one.position >= position)
    for (const one of waiting) if (one.position < position) this.#ledger.confirmed(one.group)
    this.#waiting = this.#unconfirmed.length > 0
    if (this.#waiting) this.#engine.awaitDurable(this)
  }

  // ---- receiving

  #subscribe(): void {
    const queue = this.#anyQueue()
    const autoAccept = this.#pick(4) === 0
    const consumer = queue.subscribe({
      receiver: this,
      credit: autoAccept ? Number.POSITIVE_INFINITY : 1 + this.#pick(6),
      priority: this.#pick(3),
      autoAccept,
    })
    this.#consumers.push(consumer)
  }

  #unsubscribe(): void {
    const consumer = this.#consumers[this.#pick(this.#consumers.length + 1)]
    consumer?.cancel()
    this.#consumers = this.#consumers.filter((other) => other !== consumer)
  }

  deliver(consumer: Consumer, ticket: number, message: MessageView): void {
    const queue = this.#vhost.queue(consumer.queue.name)!
    this.#receive({ queue, ticket, message, consumer }, consumer.autoAccept)
  }

  flush(): void {}

  cancelled(consumer: Consumer): void {
    this.#consumers = this.#consumers.filter((other) => other !== consumer)
  }

  #get(): void {
    const queue = this.#anyQueue()
    const autoAccept = this.#pick(4) === 0
    queue.get(autoAccept, (ticket, message) => {
      if (message !== null) this.#receive({ queue, ticket, message, consumer: null }, autoAccept)
    })
  }

  #receive(delivery: Omit<Held, 'place'> & { readonly message: MessageView }, accepted: boolean): void {
    const { queue, ticket, consumer, message } = delivery
    try {
      const place = this.#ledger.delivered(queue.name, sightingOf(queue.name, message))
      if (accepted) this.#ledger.accept(place)
      else this.#held.push({ place, queue, ticket, consumer })
    } catch (error) {
      this.broken ??= error as Error
    }
  }

  #settle(): void {
    const held = this.#held[this.#pick(this.#held.length)]
    if (held === undefined) return
    this.#drop(held)
    const { queue, ticket, place, consumer } = held
    const how = this.#pick(10)
    if (how < 5) {
      queue.accept(ticket)
      this.#ledger.accept(place)
    } else if (how < 7) {
      queue.reject(ticket, 'rejected')
      this.#ledger.reject(place)
    } else {
      const failed = this.#pick(2) === 0
      const delayMs = how === 9 ? 1 + this.#pick(100) : 0
      queue.release(ticket, { failed, delayMs })
      const givenUp = failed && queue.name === 'limited' && place.failedMax >= DELIVERY_LIMIT
      if (givenUp) this.#ledger.reject(place)
      else this.#ledger.release(place, { failed, postponed: delayMs > 0 })
    }
    consumer?.grant(1)
  }

  /** Looks, which must disturb nothing. */
  #browse(): void {
    this.#anyQueue()
      .browse({ limit: 20 })
      .then((messages) => {
        for (const { body } of messages) this.#ledger.requireKnown(body)
      })
      .catch((error: unknown) => {
        this.broken ??= error as Error
      })
  }

  #drop(held: Held): void {
    this.#held = this.#held.filter((other) => other !== held)
  }

  // ---- the whole queue

  #purge(): void {
    const name = ['plain', 'ranked', 'passing', 'mortal'][this.#pick(4)]!
    this.#vhost.queue(name)!.purge()
    this.#ledger.purged(name)
  }

  /** Declares or deletes a queue and its binding. */
  #churn(): void {
    const name = CHURNING[this.#pick(CHURNING.length)]!
    const queue = this.#vhost.queue(name)
    const binding = { kind: 'queue', name } as const
    if (queue === undefined) {
      this.#vhost.declareQueue(queueDefinition(name), null)
      this.#declarations.changed(name, true)
    } else if (this.#pick(3) > 0) {
      const bound = `tidings to ${name}`
      if (this.#declarations.has(bound)) this.#vhost.unbind('tidings', binding, 'key')
      else this.#vhost.bind('tidings', binding, 'key')
      this.#declarations.changed(bound, !this.#declarations.has(bound))
    } else {
      this.#vhost.deleteQueue(queue)
      this.#ledger.deleted(name)
      this.#held = this.#held.filter((held) => held.queue !== queue)
      this.#declarations.changed(name, false)
      this.#declarations.changed(`tidings to ${name}`, false)
    }
  }

  #anyQueue(): Queue {
    const queues = [...this.#vhost.queues()]
    return queues[this.#pick(queues.length)]!
  }

  #pick(below: number): number {
    return below === 0 ? 0 : this.#simulation.pick(below)
  }
}

/** A message as the ledger wants to see it. */
export function sightingOf(queue: string, message: MessageView): Sighting {
  const { redelivered, attempts, priority } = message
  return { body: message.body(), redelivered, attempts, lane: laneOf(queue, priority) }
}
