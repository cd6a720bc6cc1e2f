import type { MessageView } from '../message/message-view.ts'
import { Line } from '../queue/line.ts'
import { type Page, TRANSIENT } from '../queue/page.ts'
import type { Shard } from '../shard.ts'
import type { Appointment } from './agenda.ts'

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

/**
 * Messages that are to come later, as many and as late as anybody likes: an index like a queue's, whose
 * pages know their earliest moment, so that far ones lie on disk until theirs comes.
 */
export class Schedule implements Appointment {
  readonly line: Line
  dueAtMs = Number.POSITIVE_INFINITY
  readonly #shard: Shard
  readonly #host: ScheduleHost

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

  /** Takes a message off the schedule for good. `false`: it is not there any more. */
  cancel(id: number): boolean {
    return this.line.settle(id)
  }

  /** The messages that wait, from `fromId` on, in the order in which they came. */
  async list(fromId: number, limit: number): Promise<Scheduled[]> {
    const found: Scheduled[] = []
    for (const page of [...this.line.pages]) {
      if (page.end <= fromId || found.length >= limit) continue
      await this.line.load(page)
      for (let i = Math.max(0, fromId - page.base); i < page.count && found.length < limit; i++) {
        if (page.isSettled(i)) continue
        found.push({ id: page.base + i, position: page.positions[i]!, dueAtMs: page.ats?.[i] ?? 0 })
      }
    }
    return found
  }

  recovered(): void {
    this.#appoint()
  }

  dispose(): void {
    this.dueAtMs = Number.POSITIVE_INFINITY
    this.#shard.agenda.remove(this)
    this.line.abandon()
    this.#shard.lines.delete(this.line.id)
  }

  run(nowMs: number): void {
    for (const page of [...this.line.pages]) if (page.earliest <= nowMs) this.#runPage(page, nowMs)
    this.#appoint()
  }

  #runPage(page: Page, nowMs: number): void {
    if (!page.resident) {
      page.earliest = nowMs + RETRY_MS
      this.line.load(page).then(
        () => {
          page.refreshEarliest()
          this.#appoint()
        },
        (error: unknown) => this.#shard.fail(error),
      )
      return
    }
    const { base, count, ats } = page
    if (ats === null) return
    for (let i = 0; i < count && page.base === base; i++) {
      const at = ats[i]!
      if (at === 0 || at > nowMs || page.isSettled(i) || page.isTaken(i)) continue
      if (base + i >= this.line.visible && (page.sizes[i]! & TRANSIENT) === 0) continue
      this.#arrive(page, i)
    }
    if (page.base !== base) return
    page.refreshEarliest()
    // What is due and not settled waits for the disk: for its own place, or for its body.
    if (page.earliest <= nowMs) page.earliest = nowMs + RETRY_MS
  }

  #arrive(page: Page, index: number): void {
    const size = page.sizes[index]!
    const target = page.targets === null ? 0 : page.targets[index]!
    const attempts = page.attempts === null ? 0 : page.attempts[index]!
    const position = page.positions[index]!
    const id = this.line.takeAt(page, index)
    this.#shard.withMessage(position, (message) => {
      if (this.#shard.lines.get(this.line.id) !== this.line) return
      this.#host.arrive(message, size, target, attempts)
      this.line.settle(id)
    })
  }

  #appoint(): void {
    const earliest = this.line.earliest()
    if (earliest === this.dueAtMs) return
    this.dueAtMs = earliest
    this.#shard.agenda.set(this)
  }
}
