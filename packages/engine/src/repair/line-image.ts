import { Page } from '../line/page.ts'

/** An entry of a line, as it is or was. */
export interface EntryImage {
  readonly position: number
  readonly size: number
  readonly at: number
  readonly target: number
  readonly attempts: number
}

/** Entries whose index page is lost, as far as the journal still has them. */
interface Rebuilt {
  readonly from: number
  readonly to: number
  readonly entries: Map<number, EntryImage>
}

const IMAGE_PAGE_ENTRIES = 4096

/** What a line holds according to the files, in the order of its sequence numbers. Takes damage in its stride. */
export class LineImage {
  readonly id: number
  nextSeq = 0
  /** Longest stay by the settings of its queue, ms; -1: for ever. */
  ttlMs = -1
  #pages: Page[] = []
  readonly #rebuilt: Rebuilt[] = []

  constructor(id: number) {
    this.id = id
  }

  get rebuilds(): boolean {
    return this.#rebuilt.length > 0
  }

  /** Takes over a page of the index. Pages come in the order of their entries. */
  add(page: Page): void {
    this.#pages.push(page)
  }

  /** A page of the index is lost: what the journal says about these entries is gathered instead. */
  lost(from: number, to: number): void {
    this.#rebuilt.push({ from, to, entries: new Map() })
  }

  /** The sequence number that ends in these 32 bits, near the next one. */
  sequenceOf(low: number): number {
    const near = Math.max(this.nextSeq, this.#pages[0]?.base ?? 0)
    return near + ((low - near) | 0)
  }

  /**
   * The entry at the end of the line, or behind a hole that damage left. One that is in a page of the index stays
   * as it is there.
   */
  push(seq: number, entry: EntryImage): void {
    this.nextSeq = seq + 1
    const before = this.#pages.findLastIndex(({ base }) => base <= seq)
    let page = this.#pages[before]
    if (page !== undefined && seq < page.end) return
    if (page === undefined || page.end !== seq || page.count >= IMAGE_PAGE_ENTRIES) {
      page = new Page(seq)
      this.#pages.splice(before + 1, 0, page)
    }
    const index = page.push(entry.position, entry.size, entry.at)
    if (entry.target !== 0) page.setTarget(index, entry.target)
    if (entry.attempts !== 0) page.setAttempts(index, entry.attempts)
  }

  /** What an older part of the journal says about an entry; it counts where the index page is lost. */
  recall(seq: number, entry: EntryImage): void {
    for (const { from, to, entries } of this.#rebuilt) if (seq >= from && seq < to) entries.set(seq, entry)
  }

  settle(from: number, count: number): void {
    const end = from + count
    for (const { entries } of this.#rebuilt) {
      for (const seq of entries.keys()) if (seq >= from && seq < end) entries.delete(seq)
    }
    for (const page of this.#pages) {
      const first = Math.max(from, page.base)
      for (let seq = first; seq < Math.min(end, page.end); seq++) {
        const index = seq - page.base
        if (page.isSettled(index)) continue
        page.settled[index >> 5]! |= 1 << (index & 31)
        page.live--
      }
    }
    this.#pages = this.#pages.filter((page) => page.live > 0 || page.end >= this.nextSeq)
  }

  release(seq: number, attempts: number): void {
    for (const { entries } of this.#rebuilt) {
      const entry = entries.get(seq)
      if (entry !== undefined) entries.set(seq, { ...entry, attempts })
    }
    for (const page of this.#pages) {
      if (seq < page.base || seq >= page.end) continue
      // A page without its checkpoint may be newer than the record.
      page.setAttempts(seq - page.base, Math.max(attempts, page.attempts?.[seq - page.base] ?? 0))
    }
  }

  /** Entries that are not settled, with their sequence numbers. */
  *live(): Iterable<[number, EntryImage]> {
    const rebuilt = this.#rebuilt.toSorted((a, b) => a.from - b.from)
    for (const { entries } of rebuilt) yield* [...entries].sort(([a], [b]) => a - b)
    for (const page of this.#pages) {
      for (let i = 0; i < page.count; i++) {
        if (page.isSettled(i)) continue
        const entry = {
          position: page.positions[i]!,
          size: page.sizes[i]!,
          at: page.ats?.[i] ?? 0,
          target: page.targets?.[i] ?? 0,
          attempts: page.attempts?.[i] ?? 0,
        }
        yield [page.base + i, entry]
      }
    }
  }
}
