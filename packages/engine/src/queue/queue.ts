import { EngineError } from '../errors.ts'
import type { DeathReason } from '../message/death.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Appointment } from '../line/agenda.ts'
import type { Shard } from '../line/shard.ts'
import { type BrowsedMessage, type BrowseOptions, browse } from './browse.ts'
import { Burials } from './burials.ts'
import { Consumer, type SubscribeOptions, type Subscribed } from './consumer.ts'
import { Dispatcher, type DispatcherHost, type GetDone, type GetOptions } from './dispatcher.ts'
import { AT_ONCE, Expiry, lowerTtl } from './expiry.ts'
import { Lanes } from './lanes.ts'
import { type Lapsed, Leases } from './leases.ts'
import { LengthLimit } from './length-limit.ts'
import { Line, type LineOwner } from '../line/line.ts'
import { ATTEMPTS_MAX, type Page, SIZE_MASK, TRANSIENT } from '../line/page.ts'
import type { Doomed, FindBody, ReleaseOptions } from './outcome.ts'
import { Roster } from './roster.ts'
import { linesOf, type QueueDefinition } from './settings.ts'

/** What a queue asks of the vhost it is in. */
export interface QueueHost {
  /** Publishes a dead letter and calls `settle` in the same frame. */
  deadLetter(queue: Queue, message: MessageView, reason: DeathReason, settle: () => void): void
  /** Puts a message of a durable queue on the schedule and settles its entry, in the same frame. */
  postpone(line: Line, page: Page, index: number, delayMs: number, attempts: number): void
  /** The queue has outlived its use (auto-delete, expiry). */
  retire(queue: Queue): void
}

/** What a message that is not in memory counts beside its body, whose size its entry says: more than most headers have. */
const UNSEEN_BYTES = 1024

/**
 * Messages for competing consumers, first in, first out for each priority. A message is ready, in
 * somebody's hands, or settled; a delivery ends in accept, release or reject, and one that never ends is
 * released by the session that holds it.
 */
export class Queue implements Appointment, LineOwner, Subscribed, DispatcherHost {
  readonly name: string
  readonly definition: QueueDefinition
  readonly owner: object | null
  deleted = false
  dueAtMs = Number.POSITIVE_INFINITY

  readonly #shard: Shard
  readonly #host: QueueHost
  readonly #lanes: Lanes
  readonly #roster: Roster
  readonly #durable: boolean
  readonly #ttlMs: number
  readonly #limit: LengthLimit
  readonly #deadLetters: boolean
  readonly #deliveryLimit: number
  #looking = false
  readonly #dispatcher: Dispatcher
  #atOnce = false
  #lastUsedMs: number
  readonly #expiry: Expiry
  readonly #burials: Burials
  readonly #leases = new Leases()

  constructor(shard: Shard, host: QueueHost, definition: QueueDefinition, firstLine: number, owner: object | null) {
    const { settings } = definition
    this.#shard = shard
    this.#host = host
    this.name = definition.name
    this.definition = definition
    this.owner = owner
    this.#durable = definition.durable && !definition.exclusive
    this.#ttlMs = settings.messageTtlMs ?? -1
    this.#limit = new LengthLimit(settings)
    this.#roster = new Roster(settings.singleActive ?? false)
    this.#deadLetters = settings.deadLetterExchange !== undefined
    this.#deliveryLimit = settings.deliveryLimit ?? Number.POSITIVE_INFINITY
    const onVisible = (): void => this.#look()
    const lines = Array.from(
      { length: linesOf(definition) },
      (_, priority) => new Line(shard, firstLine + priority, this.#durable, onVisible),
    )
    this.#lanes = new Lanes(lines)
    for (const line of lines) {
      line.ttlMs = this.#ttlMs
      line.owner = this
      shard.lines.set(line.id, line)
    }
    this.#expiry = new Expiry(shard, lines, (line, page, index) => this.expired(line, page, index))
    this.#dispatcher = new Dispatcher(shard, this, { lanes: this.#lanes, roster: this.#roster, expiry: this.#expiry })
    this.#burials = new Burials(
      shard,
      (message, reason, settle) => host.deadLetter(this, message, reason, settle),
      () => this.#appoint(),
    )
    this.#lastUsedMs = shard.clock.now()
    this.#appoint()
  }

  get consumers(): readonly Consumer[] {
    return this.#roster.consumers
  }

  /** One for each priority, the lowest first. */
  get lines(): readonly Line[] {
    return this.#lanes.lines
  }

  /** Messages that wait. */
  get ready(): number {
    return this.#lanes.ready
  }

  /** Messages in somebody's hands. */
  get inFlight(): number {
    return this.#lanes.taken
  }

  /** Bytes of all messages: of their bodies, as limits count them. */
  get bytes(): number {
    return this.#lanes.bytes
  }

  /** Bytes of the messages that wait. */
  get readyBytes(): number {
    return this.#lanes.readyBytes
  }

  /** Whether it outlives a restart, with its persistent messages. */
  get durable(): boolean {
    return this.#durable
  }

  // ---- in

  lineFor(priority: number): Line {
    return this.#lanes.for(priority)
  }

  /** Whether a message of `size` bytes is refused at a limit. */
  refuses(size: number): boolean {
    const limit = this.#limit
    return (
      limit.bounded && !limit.dropsHead && limit.isReached(this.ready, this.#lanes.readyBytes, this.#spared(), size)
    )
  }

  /** Appends the stored message at `position`; its place was recorded by the caller. */
  enqueue(line: Line, position: number, size: number, persistent: boolean, nowMs: number, ttlMs: number): void {
    const at = ttlMs < 0 && this.#ttlMs < 0 ? 0 : this.momentOf(nowMs, ttlMs)
    const waits = persistent && this.#durable
    line.push(position, waits ? size : (size | TRANSIENT) >>> 0, at)
    if (at > 0 && this.#expiry.note(at)) this.#appoint()
  }

  /** Acts on what was enqueued: it may be for somebody who waits for no disk, or one too many. */
  entered(persistent: boolean): void {
    const { awaits } = this.#roster
    if (!(persistent && this.#durable) && (awaits || this.#atOnce)) this.lookSoon()
    if (this.#limit.dropsHead && !awaits) this.#enforceLimit()
  }

  /** When a message that comes now and lives for `ttlMs` (-1: for ever) expires, as an entry says it. */
  momentOf(nowMs: number, ttlMs: number): number {
    const lower = lowerTtl(ttlMs, this.#ttlMs)
    if (lower < 0) return 0
    if (lower > 0) return nowMs + lower
    this.#atOnce = true
    return AT_ONCE
  }

  /** Drops the oldest ready messages beyond the limit, where that is what the queue does. */
  #enforceLimit(): void {
    if (!this.#limit.dropsHead || this.deleted || this.#dispatcher.unfinished) return
    const spared = this.#spared()
    while (this.#limit.isExceeded(this.ready, this.#lanes.readyBytes, spared)) if (!this.#dropFirst()) return
  }

  // ---- out

  /** @throws {EngineError} `queue_not_found` when it was deleted, `owned_elsewhere`, `exclusive_consumer` */
  subscribe(options: SubscribeOptions): Consumer {
    if (this.deleted) throw new EngineError('queue_not_found', `queue "${this.name}" was deleted`, { queue: this.name })
    if (this.owner !== null && options.owner !== this.owner) {
      throw new EngineError('owned_elsewhere', `queue "${this.name}" is exclusive to another connection`, {
        queue: this.name,
      })
    }
    const [other] = this.consumers
    // One that excludes others is alone.
    if (other !== undefined && (other.exclusive || options.exclusive === true)) {
      throw new EngineError('exclusive_consumer', `queue "${this.name}" has a consumer that excludes others`, {
        queue: this.name,
      })
    }
    const consumer = new Consumer(this, options)
    this.#roster.add(consumer)
    consumer.wake()
    this.#appoint()
    return consumer
  }

  /** Ends a consumer; what it holds stays in its hands. */
  unsubscribe(consumer: Consumer): void {
    if (consumer.cancelled) return
    consumer.cancelled = true
    consumer.sharedCredit?.leave(consumer)
    this.#roster.remove(consumer)
    if (this.#roster.awaits && this.ready > 0) this.lookSoon()
    this.touch()
    if (this.consumers.length === 0 && this.definition.autoDelete && this.#roster.everUsed && !this.deleted) {
      this.#host.retire(this)
    }
  }

  isActive(consumer: Consumer): boolean {
    return this.#roster.isActive(consumer)
  }

  /** A consumer can take messages (again). */
  enlist(consumer: Consumer): void {
    if (!this.deleted && this.#roster.enlist(consumer) && this.ready > 0) this.lookSoon()
  }

  /**
   * Takes the first ready message out of turn. `done` gets null when there is none; it may be called
   * before this returns.
   */
  get(autoAccept: boolean, done: GetDone, options: GetOptions = {}): void {
    this.touch()
    this.#dispatcher.get(autoAccept, done, options)
  }

  // ---- outcomes

  /** The delivery was processed: the message is gone from this queue. Durable with the next frame. */
  accept(ticket: number): void {
    if (this.#leases.size > 0) this.#leases.end(ticket)
    this.#lanes.lineOf(ticket).settle(this.#lanes.seqOf(ticket))
  }

  /** The delivery comes back to its own place, marked as a repeat, or is given up at the delivery limit. */
  release(ticket: number, { failed = false, delayMs = 0, find }: ReleaseOptions = {}): void {
    const page = this.#lanes.pageOfTaken(ticket)
    if (page === null || this.deleted) return
    const line = this.#lanes.lineOf(ticket)
    const seq = this.#lanes.seqOf(ticket)
    const index = seq - page.base
    this.#leases.end(ticket)
    const attempts = Math.min(line.attemptsOf(page, index) + (failed ? 1 : 0), ATTEMPTS_MAX)
    if (failed && attempts > this.#deliveryLimit) return this.#giveUp(line, page, index, 'delivery_limit', find)
    if (delayMs > 0) return this.#postpone(line, ticket, page, index, delayMs, attempts)
    line.release(seq, attempts)
    if (this.#expiry.note(page.earliest)) this.#appoint()
    if (this.#roster.awaits) this.lookSoon()
    this.#enforceLimit()
  }

  /**
   * Gives the holder of a delivery `leaseMs` from now on, whether it had a lease or not; what comes of a
   * lease that runs out is in {@link SubscribeOptions.leaseMs}. `false`: the delivery has ended.
   */
  renew(ticket: number, leaseMs: number): boolean {
    if (this.deleted || this.#lanes.pageOfTaken(ticket) === null) return false
    this.lease(ticket, this.#shard.clock.now() + leaseMs, null)
    return true
  }

  /** The delivery will never be processed: dead-lettered where the queue says so, else dropped. */
  reject(ticket: number, reason: DeathReason, find?: FindBody): void {
    const page = this.#lanes.pageOfTaken(ticket)
    if (page === null || this.deleted) return
    this.#leases.end(ticket)
    this.#giveUp(this.#lanes.lineOf(ticket), page, this.#lanes.seqOf(ticket) - page.base, reason, find)
  }

  /** What would become a dead letter if the delivery were rejected now, or released as `failed`; null: nothing. */
  doomed(ticket: number, failed = false): Doomed | null {
    const page = this.#deadLetters && !this.deleted ? this.#lanes.pageOfTaken(ticket) : null
    if (page === null) return null
    const index = this.#lanes.seqOf(ticket) - page.base
    if (failed && this.#lanes.lineOf(ticket).attemptsOf(page, index) < this.#deliveryLimit) return null
    const position = page.positions[index]!
    const message = this.#shard.peek(position)
    const bytes = message === null ? (page.sizes[index]! & SIZE_MASK) + UNSEEN_BYTES : message.contentBytes
    return { position, bytes }
  }

  // ---- the whole queue

  /** Drops all ready messages and returns how many; durable with the next frame. */
  purge(): number {
    this.touch()
    let purged = 0
    for (const line of this.lines) purged += line.settleReady()
    return purged
  }

  /**
   * Shows messages wherever they are in the queue, in the order in which they would be delivered, and
   * changes nothing: no attempt, no mark, no place. What is not on disk yet is not shown.
   */
  browse(options: BrowseOptions): Promise<BrowsedMessage[]> {
    return browse(this.#shard, this.lines, this.#lanes.stride, options)
  }

  /** Somebody used the queue: its expiry begins anew. */
  touch(): void {
    if (this.definition.settings.expiresMs === undefined) return
    this.#lastUsedMs = this.#shard.clock.now()
    this.#appoint()
  }

  /** The queue is gone: consumers are told, messages let go. The vhost records it. */
  dispose(): void {
    this.deleted = true
    this.dueAtMs = Number.POSITIVE_INFINITY
    this.#shard.agenda.remove(this)
    this.#burials.close()
    for (const consumer of [...this.consumers]) {
      this.unsubscribe(consumer)
      consumer.receiver.cancelled(consumer)
    }
    for (const line of this.lines) {
      line.abandon()
      this.#shard.lines.delete(line.id)
    }
  }

  /** The schedule put a message onto one of the lines. */
  arrived(line: Line): void {
    if (this.#expiry.note(line.earliest())) this.#appoint()
  }

  /** Recovery is over: entries may be due or expired already. */
  recovered(): void {
    this.#lastUsedMs = this.#shard.clock.now()
    this.#expiry.refresh()
    // What was in somebody's hands waits again.
    this.#enforceLimit()
    this.#appoint()
  }

  run(nowMs: number): void {
    const { expiresMs } = this.definition.settings
    if (expiresMs !== undefined && this.consumers.length === 0 && nowMs >= this.#lastUsedMs + expiresMs) {
      this.#host.retire(this)
      return
    }
    this.#endLeases(nowMs)
    if (nowMs >= this.#expiry.dueAtMs && !this.#burials.pending && !this.#dispatcher.unfinished) this.#expire(nowMs)
    this.#appoint()
  }

  /** Hands out what there is to whoever can take it. */
  pump(): void {
    this.#dispatcher.pump()
  }

  // ---- inside

  #look(): void {
    this.#looking = false
    if (this.deleted) return
    this.pump()
    // What is left is judged when all that can be handed out is.
    if (this.#dispatcher.unfinished) return
    this.#enforceLimit()
    if (this.#atOnce) {
      this.#atOnce = false
      this.#expire(this.#shard.clock.now())
    }
  }

  lookSoon(): void {
    if (this.#looking) return
    this.#looking = true
    this.#shard.lookSoon(this.lines[0]!)
  }

  expired(line: Line, page: Page, index: number): void {
    this.#discard(line, page, index, 'expired')
  }

  /** Ends an entry that is in nobody's hands. */
  #discard(line: Line, page: Page, index: number, reason: DeathReason): void {
    if (this.#deadLetters) line.takeAt(page, index)
    this.#giveUp(line, page, index, reason)
  }

  /** Ends an entry: one that is taken becomes a dead letter where the queue says so. */
  #giveUp(line: Line, page: Page, index: number, reason: DeathReason, find?: FindBody): void {
    const seq = page.base + index
    if (this.#deadLetters) this.#burials.add(line, seq, page.positions[index]!, reason, find)
    else line.settle(seq)
  }

  /** Ends an entry's stay in somebody's hands for a time. What does not survive a restart waits in its own place. */
  #postpone(line: Line, ticket: number, page: Page, index: number, delayMs: number, attempts: number): void {
    if (line.durable) return this.#host.postpone(line, page, index, delayMs, attempts)
    page.setAttempts(index, attempts + 1)
    this.#leases.begin(ticket, this.#shard.clock.now() + delayMs, () => {}, false)
    this.#appoint()
  }

  lease(ticket: number, atMs: number, lapsed: Lapsed | null): void {
    this.#leases.begin(ticket, atMs, lapsed)
    if (atMs < this.dueAtMs) this.#appoint()
  }

  #endLeases(nowMs: number): void {
    for (let lease = this.#leases.takeLapsed(nowMs); lease !== undefined; lease = this.#leases.takeLapsed(nowMs)) {
      const { ticket, lapsed, fails } = lease
      lapsed?.(ticket)
      this.release(ticket, { failed: fails })
    }
  }

  /** Ready messages that the disk has not seen yet while somebody waits for them. */
  #spared(): number {
    return this.#roster.awaits ? this.#lanes.invisible : 0
  }

  /** Drops the message that is to make room. `false`: it is on disk and will be dropped when read. */
  #dropFirst(): boolean {
    const line = this.#lanes.last()
    if (line !== null) this.#discard(line, line.page, line.index, 'maxlen')
    else if (this.#lanes.cold !== null) this.#shard.after(this.#lanes.cold, () => this.#enforceLimit())
    return line !== null
  }

  #expire(nowMs: number): void {
    this.#expiry.run(nowMs, () => this.#appoint())
    this.#appoint()
  }

  #appoint(): void {
    const { expiresMs } = this.definition.settings
    const unused =
      expiresMs === undefined || this.consumers.length > 0 ? Number.POSITIVE_INFINITY : this.#lastUsedMs + expiresMs
    // Those who wait to be buried are read from disk first; the next ones expire when that is done.
    const expiry = this.#burials.pending ? Number.POSITIVE_INFINITY : this.#expiry.dueAtMs
    const due = this.deleted ? Number.POSITIVE_INFINITY : Math.min(unused, expiry, this.#leases.dueAtMs)
    if (due === this.dueAtMs) return
    this.dueAtMs = due
    this.#shard.agenda.set(this)
  }
}
