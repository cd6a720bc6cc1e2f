import type { MessageView } from '../message/message-view.ts'
import { Line } from '../line/line.ts'
import { type Page, TRANSIENT } from '../line/page.ts'
import type { Shard } from '../line/shard.ts'
import type { Appointment } from '../line/agenda.ts'

/** What the schedule asks of its vhost when a message is due. */
export interface ScheduleHost {
  /**
   * Gives a due message its places and settles its entry here, in one frame.
   * @param target line it goes back to; 0: it is routed by its address
   */
  arrive(message: MessageView, size: number, target: number, attempts: number): void
}

/** A message that waits for its moment. */
export interface Scheduled {
  readonly id: number
  readonly position: number
  readonly dueAtMs: number
}

/** When a page has due entries that are not on disk yet, it is looked at again after this time. */
const RETRY_MS = 5

/** The rest has to wait for a turn, so that others have theirs. */
const PAGES_AT_ONCE = 1

/**
 * Messages that are to come later, as many and as late as anybody likes: an index like a queue's, whose
 * pages know their earliest moment, so that far ones lie on disk until theirs comes.
 */
export class Schedule implements Appointment {
  readonly line: Line
  dueAtMs = Number.POSITIVE_INFINITY
  readonly #shard: Shard
  readonly #host: ScheduleHost
  /** Ids of messages that are due, taken, in order. */
  #due: number[] = []
  #nextDue = 0
  #arriving = false
  #gone = false

  constructor(shard: Shard, host: ScheduleHost, lineId: number) {
    this.#shard = shard
    this.#host = host
    this.line = new Line(shard, lineId, true, () => this.#appoint())
    shard.lines.set(lineId, this.line)
  }

  /** How many messages wait. */
  get size(): number {
    return this.line.live
  }

  /** Puts a stored message on the schedule. Durable with the open frame. */
  add(position: number, size: number, dueAtMs: number, target: number, attempts: number): number {
    const id = this.#shard.place(this.line, position, size, dueAtMs, target, attempts)
    if (dueAtMs < this.dueAtMs) this.#appoint()
    return id
  }

  /**
   * Takes a message off the schedule for good; durable with the next frame. `false`: it is not there any
   * more, or on its way already.
   */
  async cancel(id: number): Promise<boolean> {
    const page = await this.#find(id)
    return page !== null && this.line.settle(id)
  }

  /**
   * Has a message come at another moment and returns its new id: what came later in time or was moved is at
   * the end. Durable with the next frame, old and new place in one. Null: it is not there any more, or on its way already.
   */
  async reschedule(id: number, dueAtMs: number): Promise<number | null> {
    const page = await this.#find(id)
    if (page === null) return null
    const index = id - page.base
    const attempts = page.attempts === null ? 0 : page.attempts[index]!
    const moved = this.add(page.positions[index]!, page.sizes[index]!, dueAtMs, page.targets?.[index] ?? 0, attempts)
    this.line.settle(id)
    return moved
  }

  /** The messages that wait, from `fromId` on, in the order in which they came. */
  async list(fromId: number, limit: number): Promise<Scheduled[]> {
    const found: Scheduled[] = []
    let id = fromId
    for (let page = this.#pageFrom(id); page !== undefined && found.length < limit; page = this.#pageFrom(id)) {
      const wasCold = !page.resident
      await this.line.load(page)
      for (id = Math.max(id, page.base); page.resident && id < page.end && found.length < limit; id++) {
        const index = id - page.base
        if (page.isSettled(index) || page.isTaken(index)) continue
        found.push({ id, position: page.positions[index]!, dueAtMs: page.ats?.[index] ?? 0 })
      }
      if (wasCold) this.line.evictPage(page)
    }
    return found
  }

  #pageFrom(id: number): Page | undefined {
    return this.line.pages.find((page) => page.count > 0 && page.end > id)
  }

  /** The page of a message that waits, in memory; null: it waits no longer. */
  async #find(id: number): Promise<Page | null> {
    for (;;) {
      const page = this.line.pageOf(id)
      if (page === null) return null
      if (page.resident) return page.isSettled(id - page.base) || page.isTaken(id - page.base) ? null : page
      await this.line.load(page)
    }
  }

  recovered(): void {
    this.#appoint()
  }

  dispose(): void {
    this.#gone = true
    this.#due = []
    this.dueAtMs = Number.POSITIVE_INFINITY
    this.#shard.agenda.remove(this)
    this.line.abandon()
    this.#shard.lines.delete(this.line.id)
  }

  run(nowMs: number): void {
    if (this.#arriving) return
    let pages = PAGES_AT_ONCE
    for (const page of this.line.pages.slice()) {
      if (page.earliest > nowMs) continue
      if (!page.resident) {
        this.#arriving = true
        this.#after(this.line.load(page))
        break
      }
      this.#runPage(page, nowMs)
      if (--pages === 0) break
    }
    this.#arrive()
    this.#appoint()
  }

  #runPage(page: Page, nowMs: number): void {
    const { base, count, ats } = page
    // A page that is read back without anything to wait for holds what was lost with the last stop.
    if (ats === null) return
    for (let i = 0; i < count && page.base === base; i++) {
      const at = ats[i]!
      if (at === 0 || at > nowMs || page.isSettled(i) || page.isTaken(i)) continue
      if (base + i >= this.line.visible && (page.sizes[i]! & TRANSIENT) === 0) continue
      this.line.takeAt(page, i)
      this.#due.push(base + i)
    }
    page.refreshEarliest()
    // What is due and not taken waits for the disk.
    if (page.earliest <= nowMs) page.earliest = nowMs + RETRY_MS
  }

  /** Hands over what is due in its order: one whose body is on disk only holds up the others. */
  #arrive(): void {
    if (this.#arriving) return
    this.#arriving = true
    for (; this.#nextDue < this.#due.length; this.#nextDue++) {
      const id = this.#due[this.#nextDue]!
      const page = this.line.pageOf(id)
      if (page === null) continue
      const index = id - page.base
      const position = page.positions[index]!
      const message = this.#shard.peek(position)
      if (message === null) return this.#after(this.#shard.load(position))
      const target = page.targets === null ? 0 : page.targets[index]!
      const attempts = page.attempts === null ? 0 : page.attempts[index]!
      this.#host.arrive(message, page.sizes[index]!, target, attempts)
      this.line.settle(id)
    }
    this.#arriving = false
    this.#due = []
    this.#nextDue = 0
  }

  /** Goes on when something was read from disk. */
  #after(loaded: Promise<void>): void {
    loaded.then(
      () => {
        this.#arriving = false
        if (this.#gone) return
        this.#arrive()
        this.#appoint()
      },
      (error: unknown) => this.#shard.fail(error),
    )
  }

  #appoint(): void {
    // While something is read, nothing further is begun.
    const earliest = this.#arriving ? Number.POSITIVE_INFINITY : this.line.earliest()
    if (earliest === this.dueAtMs) return
    this.dueAtMs = earliest
    this.#shard.agenda.set(this)
  }
}
