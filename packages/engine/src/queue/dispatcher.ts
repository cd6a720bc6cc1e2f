import type { Line } from '../line/line.ts'
import type { Page } from '../line/page.ts'
import type { Shard } from '../line/shard.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Expiry } from './expiry.ts'
import type { Lanes } from './lanes.ts'
import type { Lapsed } from './leases.ts'
import type { Roster } from './roster.ts'

/**
 * Messages of one queue handed out in one turn, some 15 ms of work with a protocol's encoding: sockets and other
 * queues are not to wait for all of a backlog. Fewer would fall behind when many senders fill the queue in a turn.
 */
export const HANDED_OUT_MAX = 16_384

export interface GetOptions {
  /** The message comes back, as a failed attempt, after this time; left out: never. */
  readonly leaseMs?: number
  readonly lapsed?: Lapsed
}

/** What the dispatcher asks of its queue. */
export interface DispatcherHost {
  readonly deleted: boolean
  /** Has {@link Dispatcher.pump} called again in the next turn. */
  lookSoon(): void
  accept(ticket: number): void
  /** Begins the lease of a delivery. */
  lease(ticket: number, atMs: number, lapsed: Lapsed | null): void
  /** Ends an entry whose time is over. */
  expired(line: Line, page: Page, index: number): void
}

/** Called with what was taken; null: there was nothing. `remaining` messages wait. */
export type GetDone = (ticket: number, message: MessageView | null, remaining: number) => void

/** Hands messages out: to the consumers whose turn it is, or to whoever asks for one. */
export class Dispatcher {
  /** Somebody may get more in the next turn: until then, what waits is neither one too many nor late. */
  unfinished = false
  readonly #shard: Shard
  readonly #host: DispatcherHost
  readonly #lanes: Lanes
  readonly #roster: Roster
  readonly #expiry: Expiry
  #loading = false

  constructor(shard: Shard, host: DispatcherHost, parts: { lanes: Lanes; roster: Roster; expiry: Expiry }) {
    this.#shard = shard
    this.#host = host
    this.#lanes = parts.lanes
    this.#roster = parts.roster
    this.#expiry = parts.expiry
  }

  /**
   * Hands out what there is to whoever can take it. Goes on by itself when something comes from disk first, and in
   * the next turn when there is more than {@link HANDED_OUT_MAX}.
   */
  pump(): void {
    const { journal } = this.#shard
    this.unfinished = false
    let now = this.#expiry.possible ? this.#shard.clock.now() : 0
    for (let left = HANDED_OUT_MAX; !this.#host.deleted; left--) {
      const consumer = this.#roster.next()
      if (consumer === null) return
      const line = this.#lanes.first()
      if (line === null) {
        if (this.#lanes.cold !== null) this.#resumeAfter(this.#lanes.cold)
        return
      }
      if (left === 0) {
        this.unfinished = true
        return this.#host.lookSoon()
      }
      const { page, index } = line
      const position = page.positions[index]!
      if (!journal.locate(position)) return this.#resumeAfter(this.#shard.load(position))
      if (now !== 0 && this.#expiry.isDue(page, index, now)) {
        this.#host.expired(line, page, index)
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
      if (consumer.autoAccept) this.#host.accept(ticket)
      else if (consumer.leaseMs > 0) {
        if (now === 0) now = this.#shard.clock.now()
        this.#host.lease(ticket, now + consumer.leaseMs, consumer.lapsed)
      }
      consumer.receiver.deliver(consumer, ticket, message)
      this.#roster.served(consumer)
    }
  }

  /** Takes the first ready message out of turn; `done` may be called before this returns. */
  get(autoAccept: boolean, done: GetDone, options: GetOptions): void {
    for (;;) {
      const line = this.#lanes.first()
      if (line === null) {
        if (this.#lanes.cold === null) return done(0, null, 0)
        return this.#shard.after(this.#lanes.cold, () => this.get(autoAccept, done, options))
      }
      const { page, index } = line
      const position = page.positions[index]!
      const message = this.#shard.peek(position)
      if (message === null) {
        return this.#shard.after(this.#shard.load(position), () => this.get(autoAccept, done, options))
      }
      const now = this.#expiry.possible || options.leaseMs !== undefined ? this.#shard.clock.now() : 0
      if (this.#expiry.isDue(page, index, now)) {
        this.#host.expired(line, page, index)
        continue
      }
      const ticket = this.#take(line, message)
      if (autoAccept) this.#host.accept(ticket)
      else if (options.leaseMs !== undefined) this.#host.lease(ticket, now + options.leaseMs, options.lapsed ?? null)
      return done(ticket, message, this.#lanes.ready)
    }
  }

  #take(line: Line, message: MessageView): number {
    const { page, index } = line
    message.redelivered = line.isRepeat(page, index)
    message.attempts = line.attemptsOf(page, index)
    return this.#lanes.ticket(line, line.take())
  }

  #resumeAfter(loaded: Promise<void>): void {
    if (this.#loading) return
    this.#loading = true
    this.#shard.after(loaded, () => {
      this.#loading = false
      this.pump()
      this.#shard.flushBursts()
    })
  }
}
