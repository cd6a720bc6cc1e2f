import type { Shard } from '../line/shard.ts'
import type { Line } from '../line/line.ts'
import { type Page, TRANSIENT } from '../line/page.ts'

/** What the moment of an entry says when its message is to be delivered at once or to expire. */
export const AT_ONCE = -1

/** What is due and not on disk yet is looked at again after this time: it had no chance to be delivered. */
const RETRY_MS = 5

/** Expired in one go, at least: a page. The rest has to wait for a turn, and for the disk to follow. */
const ENTRIES_AT_ONCE = 4096

/** The shorter of two times to live, of which -1 is for ever. */
export function lowerTtl(one: number, other: number): number {
  return one < 0 ? other : other < 0 ? one : Math.min(one, other)
}

/** Ends the messages of a queue whose time is over, wherever in the queue they are. */
export class Expiry {
  readonly #shard: Shard
  readonly #lines: readonly Line[]
  readonly #expire: (line: Line, page: Page, index: number) => void
  /** When there is something to do; Infinity: never. */
  dueAtMs = Number.POSITIVE_INFINITY
  /** A page with due entries is being read. */
  #reading = false

  constructor(shard: Shard, lines: readonly Line[], expire: (line: Line, page: Page, index: number) => void) {
    this.#shard = shard
    this.#lines = lines
    this.#expire = expire
  }

  /** Whether some message may be due by now: only then {@link isDue} has to be asked. */
  get possible(): boolean {
    return this.dueAtMs !== Number.POSITIVE_INFINITY || this.#reading
  }

  /** Whether the time of an entry is over. One to be delivered at once has the chance that it is being given. */
  isDue(page: Page, index: number, nowMs: number): boolean {
    const at = page.ats === null ? 0 : page.ats[index]!
    return at > 0 && at <= nowMs
  }

  /** An entry that waits has this moment. `true`: it is earlier than all the others. */
  note(atMs: number): boolean {
    if (atMs >= this.dueAtMs) return false
    this.dueAtMs = atMs
    return true
  }

  /** Looks at the moments of all lines anew. */
  refresh(): void {
    let due = Number.POSITIVE_INFINITY
    for (const line of this.#lines) due = Math.min(due, line.earliest())
    this.dueAtMs = due
  }

  /** Ends what is due. `after` is called when it goes on later, because a page has to be read first. */
  run(nowMs: number, after: () => void): void {
    if (this.#reading) {
      this.dueAtMs = Number.POSITIVE_INFINITY
      return
    }
    let left = ENTRIES_AT_ONCE
    for (const line of this.#lines) {
      for (const page of line.pages.slice()) {
        if (page.earliest > nowMs) continue
        if (left <= 0) break
        if (!page.resident) return this.#read(line, page, after)
        left -= this.#runPage(line, page, nowMs)
      }
    }
    this.refresh()
  }

  #runPage(line: Line, page: Page, nowMs: number): number {
    const { base, count } = page
    let expired = 0
    // The page starts over when its last entry is settled.
    for (let i = 0; i < count && page.base === base && page.ats !== null; i++) {
      const at = page.ats[i]!
      if (at === 0 || at > nowMs || page.isSettled(i) || page.isTaken(i)) continue
      if (base + i >= line.visible && (page.sizes[i]! & TRANSIENT) === 0) continue
      this.#expire(line, page, i)
      expired++
    }
    if (page.base === base) page.refreshEarliest()
    if (page.earliest <= nowMs) page.earliest = nowMs + RETRY_MS
    return expired
  }

  #read(line: Line, page: Page, after: () => void): void {
    this.#reading = true
    this.dueAtMs = Number.POSITIVE_INFINITY
    line.load(page).then(
      () => {
        this.#reading = false
        this.refresh()
        after()
      },
      (error: unknown) => this.#shard.fail(error),
    )
  }
}
