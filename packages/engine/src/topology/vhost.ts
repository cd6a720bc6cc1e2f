import { EngineError } from '../errors.ts'
import { type Binding, type Destination } from '../exchange/binding.ts'
import type { Exchange, ExchangeDefinition } from '../exchange/exchange.ts'
import { ExchangeTable } from '../exchange/exchange-table.ts'
import { die, type DeathReason, wouldCycle } from '../message/death.ts'
import { Draft } from '../message/draft.ts'
import { type Headers, NO_HEADERS } from '../message/headers.ts'
import { headersFromJson, headersToJson } from '../message/headers-json.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Line } from '../line/line.ts'
import { type Page, SIZE_MASK, TRANSIENT } from '../line/page.ts'
import { linesOf, Queue, type QueueHost } from '../queue/queue.ts'
import type { QueueDefinition } from '../queue/settings.ts'
import { Schedule, type ScheduleHost } from '../schedule/schedule.ts'
import type { Shard } from '../line/shard.ts'
import { Transaction } from './transaction.ts'
import type { BindingDefinition, Definition } from './definition.ts'
import { Route, SHORT_STRING_BYTES_MAX } from './route.ts'

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
  /** Bytes of messages that a transaction may hold. */
  readonly transactionBytesMax: number
}

const UTF8 = new TextDecoder()

/** No queue took the message. */
export const UNROUTED = 0
/** Only queues that do not outlive a restart took the message: it is as safe as it will ever be. Below any position. */
export const HELD = 1
/** A queue refused the message at a limit; others may have taken it. */
export const REJECTED = -1

/** A tenant: names are unique in it, whatever protocol made them. */
export class VHost implements QueueHost, ScheduleHost {
  readonly name: string
  readonly exchangeTable: ExchangeTable<Queue>
  readonly schedule: Schedule
  readonly #context: VHostContext
  readonly #shard: Shard
  readonly #queues = new Map<string, Queue>()
  #routes = new Map<string, Map<string, Route>>()
  #routeCount = 0
  readonly #owned = new Map<object, Set<Queue>>()
  readonly #oneLine: Line[] = []
  #replaying = false

  constructor(context: VHostContext, name: string, scheduleLine: number) {
    this.#context = context
    this.#shard = context.shard
    this.name = name
    this.exchangeTable = new ExchangeTable<Queue>({
      queue: (queueName) => this.#queues.get(queueName),
      standardExchanges: context.standardExchanges,
      onDeleted: (exchange) => this.#exchangeGone(exchange),
      onUnbound: (binding) => this.#unbound(binding),
    })
    this.schedule = new Schedule(this.#shard, this, scheduleLine)
  }

  // ---- publishing

  /**
   * The interned place to publish to; undefined when there is no such exchange.
   * @throws {EngineError} `invalid_argument` when the key is longer than 255 bytes
   */
  route(exchangeName: string, key: string): Route | undefined {
    const routes = this.#routes.get(exchangeName)
    const known = routes?.get(key)
    if (known !== undefined && !known.exchange.deleted) return known
    const exchange = this.exchangeTable.get(exchangeName)
    if (exchange === undefined) return undefined
    if (Buffer.byteLength(key) > SHORT_STRING_BYTES_MAX) {
      throw new EngineError('invalid_argument', `the routing key is longer than ${SHORT_STRING_BYTES_MAX} bytes`)
    }
    if (this.#routeCount >= this.#context.limits.routesMax) {
      this.#routes = new Map()
      this.#routeCount = 0
    }
    const route = new Route(exchange, key)
    const siblings = this.#routes.get(exchangeName)
    if (siblings === undefined) this.#routes.set(exchangeName, new Map([[key, route]]))
    else siblings.set(key, route)
    this.#routeCount++
    return route
  }

  /**
   * Stores the message once, with its place in every queue that it reaches. Durable when the journal has
   * passed the position returned; {@link UNROUTED}, {@link HELD} or {@link REJECTED} else.
   */
  publish(route: Route, draft: Draft): number {
    if (route.exchange.delayed && draft.delayMs > 0) return this.#publishLater(route, draft)
    const targets = route.targets(this.exchangeTable, draft.headers, draft.moreKeys)
    if (targets.length === 0) return UNROUTED
    return this.#store(targets, route.address, route.addressView, draft)
  }

  begin(): Transaction {
    return new Transaction(this, this.#context.limits.transactionBytesMax)
  }

  /**
   * Every entry is pushed before any queue acts on it: what a queue drops at its limit may come back to the
   * next one as a dead letter, and must be behind this message there.
   */
  #store(targets: readonly Queue[], address: Uint8Array, addressView: DataView, draft: Draft): number {
    const size = draft.bodyEnd - draft.bodyStart + draft.originEnd - draft.originStart
    const { ttlMs, persistent } = draft
    if (targets.length === 1) {
      const queue = targets[0]!
      if (queue.refuses(size)) {
        this.#refused(queue, address, draft)
        return REJECTED
      }
      const line = queue.lineFor(draft.priority)
      this.#oneLine[0] = line
      // Only now: a stamp holds until the frame of the message that it is for, and what is refused has none.
      const now = this.#shard.stamp()
      const expires = ttlMs < 0 ? 0 : now + ttlMs
      const position = this.#shard.appendMessage(draft, address, addressView, now, expires, this.#oneLine)
      queue.enqueue(line, position, size, persistent, now, ttlMs)
      queue.entered(persistent)
      return queue.durable ? position : HELD
    }
    const accepted = targets.filter((queue) => !queue.refuses(size))
    const lines = accepted.map((queue) => queue.lineFor(draft.priority))
    let position = REJECTED
    if (accepted.length > 0) {
      const now = this.#shard.stamp()
      const expires = ttlMs < 0 ? 0 : now + ttlMs
      position = this.#shard.appendMessage(draft, address, addressView, now, expires, lines)
      for (let i = 0; i < lines.length; i++) {
        accepted[i]!.enqueue(lines[i]!, position, size, persistent, now, ttlMs)
      }
      for (const queue of accepted) queue.entered(persistent)
      if (!accepted.some((queue) => queue.durable)) position = HELD
    }
    if (accepted.length === targets.length) return position
    for (const queue of targets) if (!accepted.includes(queue)) this.#refused(queue, address, draft)
    return REJECTED
  }

  #publishLater(route: Route, draft: Draft): number {
    const now = this.#shard.clock.now()
    const due = now + draft.delayMs
    const expires = draft.ttlMs < 0 ? 0 : due + draft.ttlMs
    const position = this.#shard.appendMessage(draft, route.address, route.addressView, now, expires, [])
    const size = draft.bodyEnd - draft.bodyStart + draft.originEnd - draft.originStart
    this.schedule.add(position, draft.persistent ? size : (size | TRANSIENT) >>> 0, due, 0, 0)
    return position
  }

  // ---- what its queues and its schedule ask for

  deadLetter(queue: Queue, message: MessageView, reason: DeathReason, settle: () => void): void {
    const { deadLetterExchange, deadLetterKey } = queue.definition.settings
    const exchange = this.exchangeTable.get(deadLetterExchange ?? '')
    if (exchange !== undefined) {
      const key = message.key
      const moreKeys = this.#context.originKeys.get(message.originKind)?.(message.origin()) ?? null
      const ttl = message.expiresAtMs === 0 ? undefined : message.expiresAtMs - message.timestampMs
      const history = die(message.history, {
        queue: queue.name,
        reason,
        timeMs: this.#shard.clock.now(),
        exchange: message.exchange,
        routingKeys: moreKeys === null ? [key] : [key, ...moreKeys],
        ...(ttl !== undefined ? { originalTtlMs: ttl } : {}),
      })
      // A draft of its own: while this one finds its places, other messages may be dropped and become dead letters.
      const draft = this.#shard.redraft(message, new Draft(), history)
      draft.headers = this.#headersOf(draft)
      draft.moreKeys = deadLetterKey === undefined ? moreKeys : null
      this.#sendDead(exchange, deadLetterKey ?? key, draft)
    }
    settle()
  }

  postpone(line: Line, page: Page, index: number, delayMs: number, attempts: number): void {
    const due = this.#shard.clock.now() + delayMs
    this.schedule.add(page.positions[index]!, page.sizes[index]!, due, line.id, attempts + 1)
    line.settle(page.base + index)
  }

  arrive(message: MessageView, size: number, target: number, attempts: number): void {
    const { position } = message
    const now = this.#shard.clock.now()
    const ttl = message.expiresAtMs === 0 ? -1 : Math.max(message.expiresAtMs - now, 0)
    if (target !== 0) {
      const line = this.#shard.lines.get(target)
      if (line !== undefined && line.owner !== null) {
        this.#shard.place(line, position, size, line.owner.momentOf(now, ttl), 0, attempts)
        line.owner.arrived(line)
      }
      return
    }
    const exchange = this.exchangeTable.get(message.exchange)
    if (exchange === undefined) return
    const origin = message.origin()
    const decode = this.#context.originHeaders.get(message.originKind)
    const headers = decode === undefined ? null : (): Headers => decode(origin)
    const { priority } = message
    const arrived: Queue[] = []
    const refusing: Queue[] = []
    const moreKeys = this.#context.originKeys.get(message.originKind)?.(origin) ?? null
    for (const queue of this.exchangeTable.resolve(exchange, message.key, moreKeys, headers)) {
      if (queue.refuses(size & SIZE_MASK)) {
        if (queue.definition.settings.overflow === 'reject-dead-letter') refusing.push(queue)
        continue
      }
      this.#shard.place(queue.lineFor(priority), position, size, queue.momentOf(now, ttl), 0, 0)
      arrived.push(queue)
    }
    for (const queue of arrived) queue.arrived(queue.lineFor(priority))
    for (const queue of refusing) {
      this.#shard.withMessage(position, (refused) => this.deadLetter(queue, refused, 'maxlen', () => {}))
    }
  }

  retire(queue: Queue): void {
    if (!queue.deleted) this.deleteQueue(queue)
  }

  #sendDead(exchange: Exchange<Queue>, key: string, draft: Draft): void {
    const { history } = draft
    const route = this.route(exchange.name, key)
    if (route === undefined) return
    const targets = route
      .targets(this.exchangeTable, draft.headers, draft.moreKeys)
      .filter((target) => !wouldCycle(history, target.name))
    if (targets.length > 0) this.#store([...targets], route.address, route.addressView, draft)
  }

  /** Dead-letters a message that the queue refused, where the queue says so. */
  #refused(queue: Queue, address: Uint8Array, draft: Draft): void {
    const { overflow, deadLetterExchange, deadLetterKey } = queue.definition.settings
    if (overflow !== 'reject-dead-letter' || deadLetterExchange === undefined) return
    const dead = this.exchangeTable.get(deadLetterExchange)
    if (dead === undefined) return
    const exchangeEnd = 1 + address[0]!
    const key = UTF8.decode(address.subarray(exchangeEnd + 1))
    const copy = Object.assign(new Draft(), draft)
    copy.ttlMs = -1
    if (deadLetterKey !== undefined) copy.moreKeys = null
    copy.history = die(draft.history, {
      queue: queue.name,
      reason: 'maxlen',
      timeMs: this.#shard.clock.now(),
      exchange: UTF8.decode(address.subarray(1, exchangeEnd)),
      routingKeys: draft.moreKeys === null ? [key] : [key, ...draft.moreKeys],
    })
    this.#sendDead(dead, deadLetterKey ?? key, copy)
  }

  #headersOf(draft: Draft): (() => Headers) | null {
    const decode = this.#context.originHeaders.get(draft.originKind)
    if (decode === undefined) return null
    return () => decode(draft.origin.subarray(draft.originStart, draft.originEnd))
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
        if (definition.kind === 'bound') this.exchangeTable.bind(source, target, key, headers)
        else this.exchangeTable.unbind(source, target, key, headers)
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

  #isDurable(source: string, destination: Destination): boolean {
    if (this.exchangeTable.get(source)?.definition.durable !== true) return false
    if (destination.kind === 'queue') return this.#queues.get(destination.name)?.durable === true
    return this.exchangeTable.get(destination.name)?.definition.durable === true
  }

  #record(definition: Definition): void {
    if (!this.#replaying) this.#context.record(definition)
  }

  #exchangeGone(exchange: Exchange<Queue>): void {
    this.#routes.delete(exchange.name)
    if (exchange.definition.durable) this.#record({ kind: 'exchange_deleted', vhost: this.name, name: exchange.name })
  }

  /** Bindings that go with their queue or exchange need no record: replaying its end removes them again. */
  #unbound(_binding: Binding): void {}
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
