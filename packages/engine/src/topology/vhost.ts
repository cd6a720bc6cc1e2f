import { EngineError } from '../errors.ts'
import { type Binding, type Destination } from '../exchange/binding.ts'
import type { Exchange, ExchangeDefinition } from '../exchange/exchange.ts'
import { ExchangeTable } from '../exchange/exchange-table.ts'
import type { DeathReason } from '../message/death.ts'
import type { Draft } from '../message/draft.ts'
import { type Headers, NO_HEADERS } from '../message/headers.ts'
import { headersFromJson, headersToJson } from '../message/headers-json.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Line } from '../line/line.ts'
import type { Page } from '../line/page.ts'
import { Queue, type QueueHost } from '../queue/queue.ts'
import { linesOf, type QueueDefinition } from '../queue/settings.ts'
import { Schedule } from '../schedule/schedule.ts'
import type { Shard } from '../line/shard.ts'
import { Transaction } from './transaction.ts'
import type { BindingDefinition, Definition } from './definition.ts'
import { Publisher } from './publisher.ts'
import type { Route } from './route.ts'

/** What a vhost needs of the engine. */
export interface VHostContext {
  readonly shard: Shard
  readonly limits: VHostLimits
  readonly standardExchanges: readonly ExchangeDefinition[]
  /** The typed headers in a sender's opaque bytes, by their kind. */
  readonly originHeaders: ReadonlyMap<number, (origin: Uint8Array) => Headers>
  /** The routing keys beside the address's own in a sender's opaque bytes, by their kind. */
  readonly originKeys: ReadonlyMap<number, (origin: Uint8Array) => readonly string[] | null>
  /** Records a change; durable with the open frame. */
  record(definition: Definition): void
}

export interface VHostLimits {
  /** Routes that stay interned; beyond, all are forgotten and found again as needed. */
  readonly routesMax: number
  /** Most queues of a vhost. */
  readonly queuesMax: number
  /** Bytes of messages that a transaction may publish and dead-letter. */
  readonly transactionBytesMax: number
}

/** A tenant: names are unique in it, whatever protocol made them. */
export class VHost implements QueueHost {
  readonly name: string
  readonly exchangeTable: ExchangeTable<Queue>
  readonly schedule: Schedule
  readonly #context: VHostContext
  readonly #shard: Shard
  readonly #queues = new Map<string, Queue>()
  readonly #publisher: Publisher
  readonly #owned = new Map<object, Set<Queue>>()
  #replaying = false

  constructor(context: VHostContext, name: string, scheduleLine: number) {
    this.#context = context
    this.#shard = context.shard
    this.name = name
    this.exchangeTable = new ExchangeTable<Queue>({
      queue: (queueName) => this.#queues.get(queueName),
      standardExchanges: context.standardExchanges,
      onDeleted: (exchange) => this.#exchangeGone(exchange),
      // Bindings that go with their queue or exchange need no record: replaying its end removes them again.
    })
    const { routesMax } = context.limits
    this.#publisher = new Publisher({ ...context, routesMax }, this.exchangeTable, () => this.schedule)
    this.schedule = new Schedule(this.#shard, this.#publisher, scheduleLine)
  }

  // ---- publishing

  /**
   * The interned place to publish to; undefined when there is no such exchange.
   * @throws {EngineError} `invalid_argument` when the key is longer than 255 bytes
   */
  route(exchangeName: string, key: string): Route | undefined {
    return this.#publisher.route(exchangeName, key)
  }

  /**
   * Stores the message once, with its place in every queue that it reaches. Durable when the journal has
   * passed the position returned; `UNROUTED`, `HELD` or `REJECTED` else.
   */
  publish(route: Route, draft: Draft): number {
    return this.#publisher.publish(route, draft)
  }

  begin(): Transaction {
    return new Transaction(this, this.#shard, this.#context.limits.transactionBytesMax)
  }

  // ---- what its queues ask for

  deadLetter(queue: Queue, message: MessageView, reason: DeathReason, settle: () => void): void {
    this.#publisher.deadLetter(queue, message, reason, settle)
  }

  postpone(line: Line, page: Page, index: number, delayMs: number, attempts: number): void {
    const due = this.#shard.clock.now() + delayMs
    this.schedule.add(page.positions[index]!, page.sizes[index]!, due, line.id, attempts + 1)
    line.settle(page.base + index)
  }

  retire(queue: Queue): void {
    if (!queue.deleted) this.deleteQueue(queue)
  }

  // ---- queues

  queue(name: string): Queue | undefined {
    return this.#queues.get(name)
  }

  queues(): Iterable<Queue> {
    return this.#queues.values()
  }

  /**
   * Makes the queue, or finds the one that is there.
   * @throws {EngineError} `not_equivalent` (data `field`, `current`, `received`), `owned_elsewhere`, `limit_reached`
   */
  declareQueue(definition: QueueDefinition, owner: object | null): { queue: Queue; created: boolean } {
    const existing = this.#queues.get(definition.name)
    if (existing !== undefined) {
      if (existing.owner !== null && existing.owner !== owner) throw ownedElsewhere(definition.name)
      for (const field of ['durable', 'exclusive', 'autoDelete'] as const) {
        if (existing.definition[field] !== definition[field]) {
          throw new EngineError(
            'not_equivalent',
            `queue "${definition.name}" has ${field} ${String(existing.definition[field])}; declare it alike, or delete it first`,
            { field, current: existing.definition[field], received: definition[field] },
          )
        }
      }
      existing.touch()
      return { queue: existing, created: false }
    }
    if (this.#queues.size >= this.#context.limits.queuesMax) {
      throw new EngineError('limit_reached', `vhost "${this.name}" has queuesMax (${this.#queues.size}) queues`)
    }
    const firstLine = this.#shard.allocateLines(linesOf(definition))
    const queue = this.#addQueue(definition, firstLine, definition.exclusive ? owner : null)
    if (queue.durable) this.#record({ kind: 'queue', vhost: this.name, queue: definition, firstLine })
    return { queue, created: true }
  }

  /**
   * Deletes a queue and returns how many messages were ready.
   * @throws {EngineError} `in_use`, `queue_not_empty`
   */
  deleteQueue(queue: Queue, options: { readonly ifUnused?: boolean; readonly ifEmpty?: boolean } = {}): number {
    if (options.ifUnused === true && queue.consumers.length > 0) {
      throw new EngineError('in_use', `queue "${queue.name}" has consumers`, { queue: queue.name })
    }
    const { ready } = queue
    if (options.ifEmpty === true && ready > 0) {
      throw new EngineError('queue_not_empty', `queue "${queue.name}" has ${ready} messages`, { queue: queue.name })
    }
    this.#queues.delete(queue.name)
    if (queue.owner !== null) this.#owned.get(queue.owner)?.delete(queue)
    // Before its receivers hear of it: they may declare the next queue of this name.
    if (queue.durable) this.#record({ kind: 'queue_deleted', vhost: this.name, name: queue.name })
    this.exchangeTable.removeQueue(queue)
    queue.dispose()
    return ready
  }

  /** Deletes the queues that are exclusive to `owner`, who is gone. */
  closeOwner(owner: object): void {
    const owned = this.#owned.get(owner)
    if (owned === undefined) return
    this.#owned.delete(owner)
    for (const queue of [...owned]) this.deleteQueue(queue)
  }

  // ---- exchanges and bindings

  exchange(name: string): Exchange<Queue> | undefined {
    return this.exchangeTable.get(name)
  }

  exchanges(): Iterable<Exchange<Queue>> {
    return this.exchangeTable.exchanges()
  }

  /** @throws {EngineError} `not_equivalent`, `reserved` */
  declareExchange(definition: ExchangeDefinition): { exchange: Exchange<Queue>; created: boolean } {
    const declared = this.exchangeTable.declare(definition)
    if (declared.created && definition.durable) {
      this.#record({ kind: 'exchange', vhost: this.name, exchange: definition })
    }
    return declared
  }

  /** @throws {EngineError} `in_use`, `reserved` */
  deleteExchange(exchange: Exchange<Queue>, options: { readonly ifUnused?: boolean } = {}): void {
    this.exchangeTable.delete(exchange, options)
  }

  /** `false`: it was there already. @throws {EngineError} `exchange_not_found`, `queue_not_found`, `reserved` */
  bind(source: string, destination: Destination, key: string, args: Headers = NO_HEADERS): boolean {
    const added = this.exchangeTable.bind(source, destination, key, args)
    if (added && this.#isDurable(source, destination)) {
      this.#record({ kind: 'bound', vhost: this.name, binding: bindingDefinition({ source, destination, key, args }) })
    }
    return added
  }

  /** `false`: there was none. @throws {EngineError} `reserved` */
  unbind(source: string, destination: Destination, key: string, args: Headers = NO_HEADERS): boolean {
    const durable = this.#isDurable(source, destination)
    const removed = this.exchangeTable.unbind(source, destination, key, args)
    if (removed && durable) {
      const binding = bindingDefinition({ source, destination, key, args })
      this.#record({ kind: 'unbound', vhost: this.name, binding })
    }
    return removed
  }

  bindings(): Iterable<Binding> {
    return this.exchangeTable.bindings()
  }

  // ---- recovery

  /** The shortest list of changes that makes this vhost. */
  *definitions(): Iterable<Definition> {
    const vhost = this.name
    yield { kind: 'vhost', vhost, scheduleLine: this.schedule.line.id }
    for (const exchange of this.exchangeTable.exchanges()) {
      if (!exchange.definition.durable || this.exchangeTable.isReserved(exchange)) continue
      yield { kind: 'exchange', vhost, exchange: exchange.definition }
    }
    for (const queue of this.#queues.values()) {
      if (queue.durable) yield { kind: 'queue', vhost, queue: queue.definition, firstLine: queue.lines[0]!.id }
    }
    for (const binding of this.exchangeTable.bindings()) {
      if (this.#isDurable(binding.source, binding.destination)) {
        yield { kind: 'bound', vhost, binding: bindingDefinition(binding) }
      }
    }
  }

  /** Makes a recorded change again; records nothing. */
  apply(definition: Definition): void {
    this.#replaying = true
    try {
      this.#apply(definition)
    } finally {
      this.#replaying = false
    }
  }

  #apply(definition: Definition): void {
    switch (definition.kind) {
      case 'queue':
        this.#addQueue(definition.queue, definition.firstLine, null)
        break
      case 'queue_deleted': {
        const queue = this.#queues.get(definition.name)
        if (queue !== undefined) this.deleteQueue(queue)
        break
      }
      case 'exchange':
        this.exchangeTable.declare(definition.exchange)
        break
      case 'exchange_deleted': {
        const exchange = this.exchangeTable.get(definition.name)
        if (exchange !== undefined) this.exchangeTable.delete(exchange)
        break
      }
      case 'bound':
      case 'unbound': {
        const { source, kind, destination, key, args } = definition.binding
        const target: Destination = { kind, name: destination }
        const headers = headersFromJson(args)
        if (definition.kind === 'unbound') this.exchangeTable.unbind(source, target, key, headers)
        // A repair may have kept a binding and not what it binds: then there is nothing to bind.
        else if (this.#knows(source, target)) this.exchangeTable.bind(source, target, key, headers)
        break
      }
      default:
    }
  }

  recovered(): void {
    for (const queue of this.#queues.values()) queue.recovered()
    this.schedule.recovered()
  }

  /** The vhost is gone with everything in it. */
  dispose(): void {
    for (const queue of this.#queues.values()) queue.dispose()
    this.#queues.clear()
    this.schedule.dispose()
  }

  // ---- inside

  #addQueue(definition: QueueDefinition, firstLine: number, owner: object | null): Queue {
    const queue = new Queue(this.#shard, this, definition, firstLine, owner)
    this.#queues.set(definition.name, queue)
    if (owner !== null) {
      const owned = this.#owned.get(owner)
      if (owned === undefined) this.#owned.set(owner, new Set([queue]))
      else owned.add(queue)
    }
    const next = firstLine + queue.lines.length
    if (next > this.#shard.nextLine) this.#shard.nextLine = next
    this.exchangeTable.queueDeclared()
    return queue
  }

  #knows(source: string, { kind, name }: Destination): boolean {
    if (this.exchangeTable.get(source) === undefined) return false
    return kind === 'queue' ? this.#queues.has(name) : this.exchangeTable.get(name) !== undefined
  }

  #isDurable(source: string, destination: Destination): boolean {
    if (this.exchangeTable.get(source)?.definition.durable !== true) return false
    if (destination.kind === 'queue') return this.#queues.get(destination.name)?.durable === true
    return this.exchangeTable.get(destination.name)?.definition.durable === true
  }

  #record(definition: Definition): void {
    if (!this.#replaying) this.#context.record(definition)
  }

  #exchangeGone(exchange: Exchange<Queue>): void {
    this.#publisher.forgetRoutes(exchange.name)
    if (exchange.definition.durable) this.#record({ kind: 'exchange_deleted', vhost: this.name, name: exchange.name })
  }
}

function bindingDefinition(binding: Binding): BindingDefinition {
  return {
    source: binding.source,
    kind: binding.destination.kind,
    destination: binding.destination.name,
    key: binding.key,
    args: headersToJson(binding.args),
  }
}

function ownedElsewhere(name: string): EngineError {
  return new EngineError('owned_elsewhere', `queue "${name}" is exclusive to another connection`, { queue: name })
}
