import { EngineError } from '../errors.ts'
import type { Exchange } from '../exchange/exchange.ts'
import type { ExchangeTable } from '../exchange/exchange-table.ts'
import type { Line } from '../line/line.ts'
import { SIZE_MASK, TRANSIENT } from '../line/page.ts'
import type { Shard } from '../line/shard.ts'
import { die, type DeathReason, wouldCycle } from '../message/death.ts'
import { Draft } from '../message/draft.ts'
import type { Headers } from '../message/headers.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Queue } from '../queue/queue.ts'
import type { Schedule, ScheduleHost } from '../schedule/schedule.ts'
import { Route, SHORT_STRING_BYTES_MAX } from './route.ts'

/** What publishing in a vhost needs. */
export interface PublisherContext {
  readonly shard: Shard
  /** Routes that stay interned; beyond, all are forgotten and found again as needed. */
  readonly routesMax: number
  /** The typed headers in a sender's opaque bytes, by their kind. */
  readonly originHeaders: ReadonlyMap<number, (origin: Uint8Array) => Headers>
  /** The routing keys beside the address's own in a sender's opaque bytes, by their kind. */
  readonly originKeys: ReadonlyMap<number, (origin: Uint8Array) => readonly string[] | null>
}

const UTF8 = new TextDecoder()

/** No queue took the message. */
export const UNROUTED = 0
/** Only queues that do not outlive a restart took the message: it is as safe as it will ever be. Below any position. */
export const HELD = 1
/** A queue refused the message at a limit; others may have taken it. */
export const REJECTED = -1

/** How messages of a vhost get their places: when they are sent, when they are due, and when a queue gives them up. */
export class Publisher implements ScheduleHost {
  readonly #context: PublisherContext
  readonly #shard: Shard
  readonly #exchanges: ExchangeTable<Queue>
  readonly #schedule: () => Schedule
  #routes = new Map<string, Map<string, Route>>()
  #routeCount = 0
  readonly #oneLine: Line[] = []

  constructor(context: PublisherContext, exchanges: ExchangeTable<Queue>, schedule: () => Schedule) {
    this.#context = context
    this.#shard = context.shard
    this.#exchanges = exchanges
    this.#schedule = schedule
  }

  /**
   * The interned place to publish to; undefined when there is no such exchange.
   * @throws {EngineError} `invalid_argument` when the key is longer than 255 bytes
   */
  route(exchangeName: string, key: string): Route | undefined {
    const routes = this.#routes.get(exchangeName)
    const known = routes?.get(key)
    if (known !== undefined && !known.exchange.deleted) return known
    const exchange = this.#exchanges.get(exchangeName)
    if (exchange === undefined) return undefined
    if (Buffer.byteLength(key) > SHORT_STRING_BYTES_MAX) {
      throw new EngineError('invalid_argument', `the routing key is longer than ${SHORT_STRING_BYTES_MAX} bytes`)
    }
    if (this.#routeCount >= this.#context.routesMax) {
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
    const targets = route.targets(this.#exchanges, draft.headers, draft.moreKeys)
    if (targets.length === 0) return UNROUTED
    return this.#store(targets, route.address, route.addressView, draft)
  }

  /**
   * Every entry is pushed before any queue acts on it: what a queue drops at its limit may come back to the
   * next one as a dead letter, and must be behind this message there.
   */
  #store(targets: readonly Queue[], address: Uint8Array, addressView: DataView, draft: Draft): number {
    const size = draft.bodyEnd - draft.bodyStart
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
    const size = draft.bodyEnd - draft.bodyStart
    this.#schedule().add(position, draft.persistent ? size : (size | TRANSIENT) >>> 0, due, 0, 0)
    return position
  }

  /** The exchange is gone, and routes to it are of no use. */
  forgetRoutes(exchangeName: string): void {
    this.#routes.delete(exchangeName)
  }

  // ---- dead letters and due messages

  /** Publishes the dead letter of a message that the queue gave up, and calls `settle` in the same frame. */
  deadLetter(queue: Queue, message: MessageView, reason: DeathReason, settle: () => void): void {
    const { deadLetterExchange, deadLetterKey } = queue.definition.settings
    const exchange = this.#exchanges.get(deadLetterExchange ?? '')
    if (exchange !== undefined) {
      const key = message.key
      const before = message.history
      const named = before.rekeyed === true ? undefined : this.#context.originKeys.get(message.originKind)
      const moreKeys = named?.(message.origin()) ?? null
      const ttl = message.expiresAtMs === 0 ? undefined : message.expiresAtMs - message.timestampMs
      const death = {
        queue: queue.name,
        reason,
        timeMs: this.#shard.clock.now(),
        exchange: message.exchange,
        routingKeys: moreKeys === null ? [key] : [key, ...moreKeys],
        ...(ttl !== undefined ? { originalTtlMs: ttl } : {}),
      }
      const history = die(before, death, deadLetterKey !== undefined)
      // A draft of its own: while this one finds its places, other messages may be dropped and become dead letters.
      const draft = this.#shard.redraft(message, new Draft(), history)
      draft.headers = this.#headersOf(draft)
      draft.moreKeys = deadLetterKey === undefined ? moreKeys : null
      this.#sendDead(exchange, deadLetterKey ?? key, draft)
    }
    settle()
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
    const exchange = this.#exchanges.get(message.exchange)
    if (exchange === undefined) return
    const origin = message.origin()
    const decode = this.#context.originHeaders.get(message.originKind)
    const headers = decode === undefined ? null : (): Headers => decode(origin)
    const { priority } = message
    const arrived: Queue[] = []
    const refusing: Queue[] = []
    const moreKeys = this.#context.originKeys.get(message.originKind)?.(origin) ?? null
    for (const queue of this.#exchanges.resolve(exchange, message.key, moreKeys, headers)) {
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

  #sendDead(exchange: Exchange<Queue>, key: string, draft: Draft): void {
    const { history } = draft
    const route = this.route(exchange.name, key)
    if (route === undefined) return
    const targets = route
      .targets(this.#exchanges, draft.headers, draft.moreKeys)
      .filter((target) => !wouldCycle(history, target.name))
    if (targets.length > 0) this.#store([...targets], route.address, route.addressView, draft)
  }

  /** Dead-letters a message that the queue refused, where the queue says so. */
  #refused(queue: Queue, address: Uint8Array, draft: Draft): void {
    const { overflow, deadLetterExchange, deadLetterKey } = queue.definition.settings
    if (overflow !== 'reject-dead-letter' || deadLetterExchange === undefined) return
    const dead = this.#exchanges.get(deadLetterExchange)
    if (dead === undefined) return
    const exchangeEnd = 1 + address[0]!
    const key = UTF8.decode(address.subarray(exchangeEnd + 1))
    const copy = Object.assign(new Draft(), draft)
    copy.ttlMs = -1
    if (deadLetterKey !== undefined) copy.moreKeys = null
    const death = {
      queue: queue.name,
      reason: 'maxlen' as const,
      timeMs: this.#shard.clock.now(),
      exchange: UTF8.decode(address.subarray(1, exchangeEnd)),
      routingKeys: draft.moreKeys === null ? [key] : [key, ...draft.moreKeys],
    }
    copy.history = die(draft.history, death, deadLetterKey !== undefined)
    this.#sendDead(dead, deadLetterKey ?? key, copy)
  }

  #headersOf(draft: Draft): (() => Headers) | null {
    const decode = this.#context.originHeaders.get(draft.originKind)
    if (decode === undefined) return null
    return () => decode(draft.origin.subarray(draft.originStart, draft.originEnd))
  }
}
