import { EngineError } from '../errors.ts'
import type { DeathReason } from '../message/death.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Appointment } from '../line/agenda.ts'
import type { Shard } from '../line/shard.ts'
import { type BrowsedMessage, type BrowseOptions, browse } from './browse.ts'
import { Burials } from './burials.ts'
import { Consumer, type SubscribeOptions } from './consumer.ts'
import { AT_ONCE, Expiry } from './expiry.ts'
import { type Lapsed, Leases } from './leases.ts'
import { COLD, FOUND } from '../line/cursor.ts'
import { Line, type LineOwner } from '../line/line.ts'
import { ATTEMPTS_MAX, type Page, TRANSIENT } from '../line/page.ts'
import { Rounds } from './rounds.ts'
import type { QueueDefinition } from './settings.ts'

/** What a queue asks of the vhost it is in. */
export interface QueueHost {
  /** Publishes a dead letter and calls `settle` in the same frame. */
  deadLetter(queue: Queue, message: MessageView, reason: DeathReason, settle: () => void): void
  /** Puts a message of a durable queue on the schedule and settles its entry, in the same frame. */
  postpone(line: Line, page: Page, index: number, delayMs: number, attempts: number): void
  /** The queue has outlived its use (auto-delete, expiry). */
  retire(queue: Queue): void
}

export interface ReleaseOptions {
  /** The attempt failed: it counts toward the delivery limit. */
  readonly failed?: boolean
  /** Comes back after this time: at the end of the queue, or where nothing survives a restart, to its own place. */
  readonly delayMs?: number
}

export interface GetOptions {
  /** The message comes back, as a failed attempt, after this time; left out: never. */
  readonly leaseMs?: number
  readonly lapsed?: Lapsed
}

/** Lanes in a ticket: `sequence number * 256 + priority`. */
const LANES = 256

/**
 * Messages for competing consumers, first in, first out for each priority. A message is ready, in
 * somebody's hands, or settled; a delivery ends in accept, release or reject, and one that never ends is
 * released by the session that holds it.
 */
export class Queue implements Appointment, LineOwner {
  readonly name: string
  readonly definition: QueueDefinition
  readonly owner: object | null
  /** One for each priority, the lowest first. */
  readonly lines: readonly Line[]
  readonly consumers: Consumer[] = []
  deleted = false
  dueAtMs = Number.POSITIVE_INFINITY

  readonly #shard: Shard
  readonly #host: QueueHost
  readonly #rounds = new Rounds()
  readonly #durable: boolean
  readonly #ttlMs: number
  readonly #lengthMax: number
  readonly #bytesMax: number
  readonly #single: boolean
  readonly #deadLetters: boolean
  readonly #deliveryLimit: number
  #active: Consumer | null = null
  #looking = false
  #loading = false
  #atOnce = false
  #lastUsedMs: number
  readonly #expiry: Expiry
  readonly #burials: Burials
  readonly #leases = new Leases()
  #hadConsumers = false
  /** The read that the next entry waits for. */
  #cold: Promise<void> | null = null

  constructor(shard: Shard, host: QueueHost, definition: QueueDefinition, firstLine: number, owner: object | null) {
    const { settings } = definition
    this.#shard = shard
    this.#host = host
    this.name = definition.name
    this.definition = definition
    this.owner = owner
    this.#durable = definition.durable && !definition.exclusive
    this.#ttlMs = settings.messageTtlMs ?? -1
    this.#lengthMax = settings.lengthMax ?? Number.POSITIVE_INFINITY
    this.#bytesMax = settings.bytesMax ?? Number.POSITIVE_INFINITY
    this.#single = settings.singleActive ?? false
    this.#deadLetters = settings.deadLetterExchange !== undefined
    this.#deliveryLimit = settings.deliveryLimit ?? Number.POSITIVE_INFINITY
    const onVisible = (): void => this.#look()
    this.lines = Array.from(
      { length: linesOf(definition) },
      (_, priority) => new Line(shard, firstLine + priority, this.#durable, onVisible),
    )
    for (const line of this.lines) {
      line.ttlMs = this.#ttlMs
      line.owner = this
      shard.lines.set(line.id, line)
    }
    this.#expiry = new Expiry(shard, this.lines, (line, page, index) => this.#discard(line, page, index, 'expired'))
    this.#burials = new Burials(
      shard,
      (message, reason, settle) => host.deadLetter(this, message, reason, settle),
      () => this.#appoint(),
    )
    this.#lastUsedMs = shard.clock.now()
    this.#appoint()
  }

  /** Messages that wait. */
  get ready(): number {
    let ready = 0
    for (const line of this.lines) ready += line.live - line.taken
    return ready
  }

  /** Messages in somebody's hands. */
  get inFlight(): number {
    let taken = 0
    for (const line of this.lines) taken += line.taken
    return taken
  }

  /** Bytes of all messages, bodies and properties. */
  get bytes(): number {
    let bytes = 0
    for (const line of this.lines) bytes += line.bytes
    return bytes
  }

  /** Bytes of the messages that wait. */
  get readyBytes(): number {
    let bytes = 0
    for (const line of this.lines) bytes += line.bytes - line.takenBytes
    return bytes
  }

  /** Whether it outlives a restart, with its persistent messages. */
  get durable(): boolean {
    return this.#durable
  }

  // ---- in

  lineFor(priority: number): Line {
    const { lines } = this
    return priority < lines.length ? lines[priority]! : lines[lines.length - 1]!
  }

  /** Whether a message of `size` bytes is refused at a limit. */
  refuses(size: number): boolean {
    if (this.#lengthMax === Number.POSITIVE_INFINITY && this.#bytesMax === Number.POSITIVE_INFINITY) return false
    if (this.definition.settings.overflow === 'drop-head') return false
    // What the disk has not seen yet does not count while somebody waits for it: it will hardly ever be in the queue.
    const pending = this.#awaited ? this.#invisible() : 0
    return this.ready - pending >= this.#lengthMax || (pending === 0 && this.readyBytes + size > this.#bytesMax)
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
    const waits = persistent && this.#durable
    if (!waits && (!this.#rounds.empty || this.#single || this.#atOnce)) this.#lookSoon()
    if (this.#lengthMax !== Number.POSITIVE_INFINITY || this.#bytesMax !== Number.POSITIVE_INFINITY) {
      if (!this.#awaited) this.#enforceLimits()
      else if (!waits) this.#lookSoon()
    }
  }

  /** When a message that comes now and lives for `ttlMs` (-1: for ever) expires, as an entry says it. */
  momentOf(nowMs: number, ttlMs: number): number {
    const lower = lowerTtl(ttlMs, this.#ttlMs)
    if (lower < 0) return 0
    if (lower > 0) return nowMs + lower
    this.#atOnce = true
    return AT_ONCE
  }

  /** Drops the oldest ready messages beyond the limits, where that is what the queue does. */
  #enforceLimits(): void {
    if (this.#lengthMax === Number.POSITIVE_INFINITY && this.#bytesMax === Number.POSITIVE_INFINITY) return
    if (this.deleted || this.definition.settings.overflow !== 'drop-head') return
    const spared = this.#awaited ? this.#invisible() : 0
    while (
      this.ready - spared > this.#lengthMax ||
      (spared === 0 && this.readyBytes > this.#bytesMax && this.ready > 0)
    ) {
      if (!this.#dropFirst()) return
    }
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
    if (this.consumers.some((other) => other.exclusive) || (options.exclusive === true && this.consumers.length > 0)) {
      throw new EngineError('exclusive_consumer', `queue "${this.name}" has a consumer that excludes others`, {
        queue: this.name,
      })
    }
    const consumer = new Consumer(this, options)
    this.consumers.push(consumer)
    this.#hadConsumers = true
    this.#chooseActive()
    consumer.wake()
    this.#appoint()
    return consumer
  }

  /** Ends a consumer; what it holds stays in its hands. */
  unsubscribe(consumer: Consumer): void {
    if (consumer.cancelled) return
    consumer.cancelled = true
    consumer.sharedCredit?.leave(consumer)
    this.#rounds.remove(consumer)
    const at = this.consumers.indexOf(consumer)
    if (at >= 0) this.consumers.splice(at, 1)
    if (this.#active === consumer) this.#active = null
    this.#chooseActive()
    this.touch()
    if (this.consumers.length === 0 && this.definition.autoDelete && this.#hadConsumers && !this.deleted) {
      this.#host.retire(this)
    }
  }

  isActive(consumer: Consumer): boolean {
    return !this.#single || this.#active === consumer
  }

  /** A consumer can take messages (again). */
  enlist(consumer: Consumer): void {
    if (this.deleted) return
    if (this.#single) {
      if (consumer !== this.#active) return
      if (this.ready > 0) this.#lookSoon()
      return
    }
    this.#rounds.add(consumer)
    if (this.ready > 0) this.#lookSoon()
  }

  /**
   * Takes the first ready message out of turn. `done` gets null when there is none; it may be called
   * before this returns.
   */
  get(
    autoAccept: boolean,
    done: (ticket: number, message: MessageView | null, remaining: number) => void,
    options: GetOptions = {},
  ): void {
    this.touch()
    for (;;) {
      const line = this.#readyLine()
      if (line === null) {
        if (this.#cold === null) return done(0, null, 0)
        return this.#whenLoaded(this.#cold, () => this.get(autoAccept, done, options))
      }
      const position = line.page.positions[line.index]!
      const message = this.#shard.peek(position)
      if (message === null) {
        return this.#whenLoaded(this.#shard.load(position), () => this.get(autoAccept, done, options))
      }
      const now = this.#expiry.possible || options.leaseMs !== undefined ? this.#shard.clock.now() : 0
      if (this.#expiry.isDue(line.page, line.index, now)) {
        this.#discard(line, line.page, line.index, 'expired')
        continue
      }
      const ticket = this.#take(line, message)
      if (autoAccept) this.accept(ticket)
      else if (options.leaseMs !== undefined) this.#lease(ticket, now + options.leaseMs, options.lapsed ?? null)
      return done(ticket, message, this.ready)
    }
  }

  // ---- outcomes

  /** The delivery was processed: the message is gone from this queue. Durable with the next frame. */
  accept(ticket: number): void {
    const { lines } = this
    if (this.#leases.size > 0) this.#leases.end(ticket)
    if (lines.length === 1) lines[0]!.settle(ticket)
    else lines[ticket % LANES]!.settle(Math.floor(ticket / LANES))
  }

  /** The delivery comes back to its own place, marked as a repeat, or is given up at the delivery limit. */
  release(ticket: number, { failed = false, delayMs = 0 }: ReleaseOptions = {}): void {
    const line = this.#lineOf(ticket)
    const seq = this.#seqOf(ticket)
    const page = line.pageOf(seq)
    if (page === null || this.deleted) return
    const index = seq - page.base
    if (!page.isTaken(index)) return
    this.#leases.end(ticket)
    const attempts = Math.min(line.attemptsOf(page, index) + (failed ? 1 : 0), ATTEMPTS_MAX)
    if (failed && attempts > this.#deliveryLimit)
      return this.#giveUp(line, seq, page.positions[index]!, 'delivery_limit')
    if (delayMs > 0) return this.#postpone(line, ticket, page, index, delayMs, attempts)
    line.release(seq, attempts)
    if (this.#expiry.note(page.earliest)) this.#appoint()
    if (!this.#rounds.empty || this.#active !== null) this.#lookSoon()
    this.#enforceLimits()
  }

  /**
   * Gives the holder of a delivery `leaseMs` from now on, whether it had a lease or not; what comes of a
   * lease that runs out is in {@link SubscribeOptions.leaseMs}. `false`: the delivery has ended.
   */
  renew(ticket: number, leaseMs: number): boolean {
    const seq = this.#seqOf(ticket)
    const page = this.#lineOf(ticket).pageOf(seq)
    if (page === null || this.deleted || !page.isTaken(seq - page.base)) return false
    this.#lease(ticket, this.#shard.clock.now() + leaseMs, null)
    return true
  }

  /** The delivery will never be processed: dead-lettered where the queue says so, else dropped. */
  reject(ticket: number, reason: DeathReason): void {
    const line = this.#lineOf(ticket)
    const seq = this.#seqOf(ticket)
    const page = line.pageOf(seq)
    if (page === null || this.deleted || !page.isTaken(seq - page.base)) return
    this.#leases.end(ticket)
    this.#giveUp(line, seq, page.positions[seq - page.base]!, reason)
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
    const lanes = this.lines.length === 1 ? 1 : LANES
    return browse(this.#shard, this.lines, lanes, options)
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
    this.#enforceLimits()
    this.#appoint()
  }

  run(nowMs: number): void {
    const { expiresMs } = this.definition.settings
    if (expiresMs !== undefined && this.consumers.length === 0 && nowMs >= this.#lastUsedMs + expiresMs) {
      this.#host.retire(this)
      return
    }
    this.#endLeases(nowMs)
    if (nowMs >= this.#expiry.dueAtMs && !this.#burials.pending) this.#expire(nowMs)
    this.#appoint()
  }

  /** Hands out what there is to whoever can take it. */
  pump(): void {
    const { journal } = this.#shard
    let now = this.#expiry.possible ? this.#shard.clock.now() : 0
    while (!this.deleted) {
      const consumer = this.#nextConsumer()
      if (consumer === null) return
      const line = this.#readyLine()
      if (line === null) {
        if (this.#cold !== null) this.#resumeAfter(this.#cold)
        return
      }
      const { page, index } = line
      const position = page.positions[index]!
      if (!journal.locate(position)) return this.#resumeAfter(this.#shard.load(position))
      if (now !== 0 && this.#expiry.isDue(page, index, now)) {
        this.#discard(line, page, index, 'expired')
        continue
      }
      const message = this.#shard.message.read(journal.foundBytes, journal.foundView, journal.foundAt, position)
      const ticket = this.#take(line, message)
      consumer.credit--
      if (consumer.sharedCredit !== null) consumer.sharedCredit.available--
      if (!consumer.inBurst) {
        consumer.inBurst = true
        this.#shard.burst(consumer)
      }
      if (consumer.autoAccept) this.accept(ticket)
      else if (consumer.leaseMs > 0) {
        if (now === 0) now = this.#shard.clock.now()
        this.#lease(ticket, now + consumer.leaseMs, consumer.lapsed)
      }
      consumer.receiver.deliver(consumer, ticket, message)
      // The receiver may have cancelled it, or made somebody with a higher priority able to take messages.
      if (!this.#single && this.#rounds.first() === consumer) {
        if (consumer.ableToTake) this.#rounds.rotate()
        else this.#rounds.skip()
      }
    }
  }

  // ---- inside

  #look(): void {
    this.#looking = false
    if (this.deleted) return
    this.pump()
    this.#enforceLimits()
    if (this.#atOnce) {
      this.#atOnce = false
      this.#expire(this.#shard.clock.now())
    }
  }

  #lookSoon(): void {
    if (this.#looking) return
    this.#looking = true
    this.#shard.lookSoon(this.lines[0]!)
  }

  #nextConsumer(): Consumer | null {
    if (this.#single) {
      const active = this.#active
      return active !== null && active.ableToTake ? active : null
    }
    for (;;) {
      const consumer = this.#rounds.first()
      if (consumer === null || consumer.ableToTake) return consumer
      this.#rounds.skip()
    }
  }

  /** The line whose turn it is, pointing at its first entry; null: none, or none before {@link #cold} resolves. */
  #readyLine(): Line | null {
    const { lines } = this
    this.#cold = null
    for (let i = lines.length - 1; i >= 0; i--) {
      const line = lines[i]!
      if (line.live === line.taken) continue
      const found = line.next()
      if (found === FOUND) return line
      if (found === COLD) {
        this.#cold = line.load(line.page)
        return null
      }
    }
    return null
  }

  #take(line: Line, message: MessageView): number {
    const { page, index } = line
    message.redelivered = line.isRepeat(page, index)
    message.attempts = line.attemptsOf(page, index)
    const seq = line.take()
    return this.lines.length === 1 ? seq : seq * LANES + this.lines.indexOf(line)
  }

  #resumeAfter(loaded: Promise<void>): void {
    if (this.#loading) return
    this.#loading = true
    loaded.then(
      () => {
        this.#loading = false
        this.pump()
        this.#shard.flushBursts()
      },
      (error: unknown) => this.#shard.fail(error),
    )
  }

  #whenLoaded(loaded: Promise<void>, then: () => void): void {
    loaded.then(then, (error: unknown) => this.#shard.fail(error))
  }

  #lineOf(ticket: number): Line {
    return this.lines.length === 1 ? this.lines[0]! : this.lines[ticket % LANES]!
  }

  #seqOf(ticket: number): number {
    return this.lines.length === 1 ? ticket : Math.floor(ticket / LANES)
  }

  /** Ends an entry that is in nobody's hands. */
  #discard(line: Line, page: Page, index: number, reason: DeathReason): void {
    const seq = page.base + index
    if (!this.#deadLetters) {
      line.settle(seq)
      return
    }
    const position = page.positions[index]!
    line.takeAt(page, index)
    this.#giveUp(line, seq, position, reason)
  }

  /** Ends an entry that is taken: as a dead letter, or without a trace. */
  #giveUp(line: Line, seq: number, position: number, reason: DeathReason): void {
    if (this.#deadLetters) this.#burials.add(line, seq, position, reason)
    else line.settle(seq)
  }

  /** Ends an entry's stay in somebody's hands for a time. What does not survive a restart waits in its own place. */
  #postpone(line: Line, ticket: number, page: Page, index: number, delayMs: number, attempts: number): void {
    if (line.durable) return this.#host.postpone(line, page, index, delayMs, attempts)
    page.setAttempts(index, attempts + 1)
    this.#leases.begin(ticket, this.#shard.clock.now() + delayMs, () => {}, false)
    this.#appoint()
  }

  #lease(ticket: number, atMs: number, lapsed: Lapsed | null): void {
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

  /** Somebody can take messages as soon as there are some. */
  get #awaited(): boolean {
    return this.#single ? this.#active !== null && this.#active.ableToTake : !this.#rounds.empty
  }

  #invisible(): number {
    let invisible = 0
    for (const line of this.lines) invisible += line.nextSeq - line.visible
    return invisible
  }

  /** Drops the oldest ready message of the lowest priority. `false`: it is on disk and will be dropped when read. */
  #dropFirst(): boolean {
    for (const line of this.lines) {
      if (line.live === line.taken) continue
      const saved = line.visible
      line.visible = line.nextSeq
      const found = line.next()
      line.visible = saved
      if (found === FOUND) {
        this.#discard(line, line.page, line.index, 'maxlen')
        return true
      }
      if (found === COLD) {
        this.#whenLoaded(line.load(line.page), () => this.#enforceLimits())
        return false
      }
    }
    return false
  }

  #expire(nowMs: number): void {
    this.#expiry.run(nowMs, () => this.#appoint())
    this.#appoint()
  }

  #chooseActive(): void {
    if (!this.#single || this.#active !== null) return
    let best: Consumer | null = null
    for (const consumer of this.consumers) if (best === null || consumer.priority > best.priority) best = consumer
    this.#active = best
    if (best !== null && this.ready > 0) this.#lookSoon()
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

/** The shorter of two times to live, of which -1 is for ever. */
export function lowerTtl(one: number, other: number): number {
  return one < 0 ? other : other < 0 ? one : Math.min(one, other)
}

/** How many lines a queue has: one for each priority. */
export function linesOf(definition: QueueDefinition): number {
  return (definition.settings.priorityMax ?? 0) + 1
}
