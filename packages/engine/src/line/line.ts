import { RECORD_RELEASE, RECORD_SETTLE, RELEASE_BYTES, SETTLE_BYTES } from '../storage/record.ts'
import { ATTEMPTS_MAX, decodePage, Page, SIZE_MASK, TRANSIENT } from './page.ts'
import { SequenceHeap } from './sequence-heap.ts'
import type { Shard } from './shard.ts'

/** What {@link Line.next} found. */
export const NOTHING = 0
export const FOUND = 1
/** The page must come from disk first ({@link Line.load}). */
export const COLD = 2

/** The queue of a line, for those who know the line only. */
export interface LineOwner {
  /** When a message that comes now and lives for `ttlMs` (-1: for ever) expires, as an entry says it. */
  momentOf(nowMs: number, ttlMs: number): number
  /** The schedule put a message onto the line. */
  arrived(line: Line): void
}

/**
 * An ordered index of stored messages: the one structure under queues (one line for each priority) and
 * the schedule. Entries are numbered from 0 without gaps and are ready, taken or settled; only settled
 * ones are gone. Pages in the middle of a long line live on disk.
 *
 * Order: entries come out by sequence number; one that is released comes out again before all later ones.
 * Durability: settlements ride in the next frame, merged into ranges; {@link visible} follows the journal.
 */
export class Line {
  readonly id: number
  readonly #shard: Shard
  /** Whether entries and settlements are recorded. */
  readonly durable: boolean
  readonly onVisible: (line: Line) => void
  /** Who takes messages that come back from the schedule; null: nobody does. */
  owner: LineOwner | null = null

  nextSeq = 0
  /** Longest stay of an entry by its owner's settings, ms; -1: for ever. */
  ttlMs = -1
  /** Entries below are on disk, with this place. */
  visible = 0
  /** Entries below may have been delivered before an unclean stop. */
  suspect = 0
  live = 0
  taken = 0
  /** Bytes of live entries. */
  bytes = 0
  /** Bytes of taken entries. */
  takenBytes = 0

  pages: Page[]
  #tail: Page
  #cursorPage: Page
  #cursorIndex = 0
  #hint: Page
  #returned = new SequenceHeap()
  #foundReturned = false

  touched = false
  /** Entries below are in the frame cut last, or in earlier ones. */
  cutSeq = 0
  /** Entries below are in the frame written last, or in earlier ones. */
  durableSeq = 0

  #settleFrom = -1
  #settleCount = 0

  /** Set by {@link next}. */
  page: Page
  index = 0

  constructor(shard: Shard, id: number, durable: boolean, onVisible: (line: Line) => void) {
    this.#shard = shard
    this.id = id
    this.durable = durable
    this.onVisible = onVisible
    const first = new Page(0)
    this.pages = [first]
    this.#tail = this.#cursorPage = this.#hint = this.page = first
  }

  /** Entries that wait. */
  get ready(): number {
    return this.live - this.taken
  }

  /** Appends an entry for the message at `position`; its place becomes durable with the open frame. */
  push(position: number, size: number, at: number): number {
    let tail = this.#tail
    if (tail.count === this.#shard.pageEntries) {
      tail = new Page(this.nextSeq)
      this.pages.push(tail)
      this.#tail = tail
    }
    tail.push(position, size, at)
    tail.dirty = true
    this.live++
    this.bytes += size & SIZE_MASK
    this.#shard.space.hold(position, 1)
    if (!this.touched) {
      this.touched = true
      this.#shard.touched.push(this)
    }
    return this.nextSeq++
  }

  /**
   * Looks for the first entry that may be handed out: {@link FOUND} sets {@link page} and {@link index}.
   * Changes nothing; {@link take} does.
   */
  next(): number {
    const returned = this.#returned
    while (returned.size > 0) {
      const seq = returned.peek()
      const page = this.pageOf(seq)
      if (page !== null && page.resident) {
        const index = seq - page.base
        if (!page.isSettled(index) && !page.isTaken(index)) {
          this.page = page
          this.index = index
          this.#foundReturned = true
          return FOUND
        }
      }
      returned.pop()
    }
    this.#foundReturned = false
    let page = this.#cursorPage
    let index = this.#cursorIndex
    for (;;) {
      if (index >= page.count) {
        if (page === this.#tail) {
          this.#cursorIndex = index
          return NOTHING
        }
        page = this.pages[this.#indexOf(page) + 1]!
        index = 0
        this.#cursorPage = page
        this.#cursorIndex = 0
        this.#readAhead(page)
      }
      if (!page.resident) {
        this.page = page
        return COLD
      }
      const bit = 1 << (index & 31)
      const word = index >> 5
      if (((page.settled[word]! | page.takenBits[word]!) & bit) !== 0) {
        index++
        continue
      }
      this.#cursorIndex = index
      if (page.base + index >= this.visible && (page.sizes[index]! & TRANSIENT) === 0) return NOTHING
      this.page = page
      this.index = index
      return FOUND
    }
  }

  /** Puts the entry that {@link next} found in somebody's hands; returns its sequence number. */
  take(): number {
    const { page, index } = this
    page.takenBits[index >> 5]! |= 1 << (index & 31)
    page.taken++
    this.taken++
    this.takenBytes += page.sizes[index]! & SIZE_MASK
    if (this.#foundReturned) this.#returned.pop()
    else this.#cursorIndex = index + 1
    return page.base + index
  }

  /** Puts a given ready entry in somebody's hands, wherever it is in the line. */
  takeAt(page: Page, index: number): number {
    page.takenBits[index >> 5]! |= 1 << (index & 31)
    page.taken++
    this.taken++
    this.takenBytes += page.sizes[index]! & SIZE_MASK
    return page.base + index
  }

  /** Ends an entry for good. `false`: it was settled before, or never was, or its page is on disk. */
  settle(seq: number): boolean {
    const page = this.pageOf(seq)
    if (page === null || !page.resident) return false
    const index = seq - page.base
    const word = index >> 5
    const bit = 1 << (index & 31)
    if ((page.settled[word]! & bit) !== 0) return false
    page.settled[word]! |= bit
    const size = page.sizes[index]! & SIZE_MASK
    if ((page.takenBits[word]! & bit) !== 0) {
      page.takenBits[word]! &= ~bit
      page.taken--
      this.taken--
      this.takenBytes -= size
    }
    page.dirty = true
    page.live--
    this.live--
    this.bytes -= size
    this.#shard.space.letGo(page.positions[index]!, 1)
    if (this.durable) this.#recordSettle(seq)
    if (page.live === 0) this.#emptied(page)
    return true
  }

  /** Ends every entry that waits, in memory or not, and returns how many there were. */
  settleReady(): number {
    const before = this.live
    for (const page of [...this.pages]) {
      if (page.resident) {
        const { base, count } = page
        for (let i = 0; i < count && page.base === base; i++) {
          if (!page.isSettled(i) && !page.isTaken(i)) this.settle(base + i)
        }
      } else this.#settleCold(page)
    }
    return before - this.live
  }

  /** The line is gone: lets go of everything it holds, records nothing. */
  abandon(): void {
    for (const page of this.pages) {
      if (page.resident) this.#letGoLive(page)
      else this.#letGoCold(page)
      this.#forget(page)
    }
    const first = new Page(this.nextSeq)
    this.pages = [first]
    this.#tail = this.#cursorPage = this.#hint = this.page = first
    this.#cursorIndex = this.live = this.taken = this.bytes = this.takenBytes = 0
    this.#returned = new SequenceHeap()
    this.#settleFrom = -1
  }

  /** Gives a taken entry back to its own place. */
  release(seq: number, attempts: number): void {
    const page = this.pageOf(seq)
    if (page === null) return
    const index = seq - page.base
    const word = index >> 5
    const bit = 1 << (index & 31)
    if ((page.takenBits[word]! & bit) === 0) return
    page.takenBits[word]! &= ~bit
    page.taken--
    this.taken--
    this.takenBytes -= page.sizes[index]! & SIZE_MASK
    const at = page.ats === null ? 0 : page.ats[index]!
    if (at !== 0 && at < page.earliest) page.earliest = at
    const value = Math.min(attempts, ATTEMPTS_MAX) + 1
    if (page.attempts === null || page.attempts[index] !== value) {
      page.setAttempts(index, value)
      page.dirty = true
      if (this.durable) this.#recordRelease(seq, value)
    }
    this.#returned.push(seq)
  }

  /** Failed attempts of an entry so far. */
  attemptsOf(page: Page, index: number): number {
    const value = page.attempts === null ? 0 : page.attempts[index]!
    return value === 0 ? 0 : value - 1
  }

  /** Whether an entry may have been delivered before. */
  isRepeat(page: Page, index: number): boolean {
    return page.base + index < this.suspect || (page.attempts !== null && page.attempts[index] !== 0)
  }

  /** The page of an entry; null when all of that page is settled and gone. */
  pageOf(seq: number): Page | null {
    const hint = this.#hint
    if (seq >= hint.base && seq < hint.base + hint.count) return hint
    const pages = this.pages
    let low = 0
    let high = pages.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (pages[middle]!.base <= seq) low = middle
      else high = middle - 1
    }
    const page = pages[low]!
    if (seq < page.base || seq >= page.base + page.count) return null
    this.#hint = page
    return page
  }

  /**
   * Reads a page back from disk. It may be on disk again, or gone from the line, when the caller gets its
   * turn: look at {@link Page.resident}.
   */
  load(page: Page): Promise<void> {
    if (page.resident) return Promise.resolve()
    page.loading ??= this.#read(page).finally(() => {
      page.loading = null
    })
    return page.loading
  }

  async #read(page: Page): Promise<void> {
    const { stored } = page
    if (stored === null) return
    let bytes: Uint8Array
    try {
      bytes = await this.#shard.pages.read(stored)
    } catch (error) {
      // The file goes soon after the page did, whoever reads it.
      if (page.stored !== stored) return
      throw error
    }
    if (page.stored !== stored) return
    decodePage(bytes, page)
    const { late, lateAttempts } = page
    page.late = page.lateAttempts = null
    if (late !== null) {
      for (let i = 0; i < late.length; i += 2) {
        for (let seq = late[i]!; seq < late[i]! + late[i + 1]!; seq++) {
          if (!page.isSettled(seq - page.base)) this.#markSettled(page, seq - page.base)
        }
      }
      page.refreshEarliest()
    }
    if (lateAttempts !== null) {
      for (let i = 0; i < lateAttempts.length; i += 2)
        page.setAttempts(lateAttempts[i]! - page.base, lateAttempts[i + 1]!)
      page.dirty = true
    }
  }

  /** Appends to the journal what is settled and not yet recorded. */
  flushSettled(): void {
    if (this.#settleFrom < 0) return
    const from = this.#settleFrom
    this.#settleFrom = -1
    this.#recordRange(from, this.#settleCount)
  }

  #recordRange(from: number, count: number): void {
    const { journal } = this.#shard
    journal.reserve(SETTLE_BYTES)
    const { view, at } = journal
    view.setUint32(at, RECORD_SETTLE, true)
    view.setUint32(at + 4, SETTLE_BYTES, true)
    view.setUint32(at + 8, this.id, true)
    view.setFloat64(at + 12, from, true)
    view.setFloat64(at + 20, count, true)
    journal.commit(SETTLE_BYTES)
  }

  /** Marks what is still in somebody's hands: it comes again after the stop that is about to be written down. */
  markTaken(): void {
    for (const page of this.pages) {
      for (let i = 0; page.taken > 0 && i < page.count; i++) {
        if (!page.isTaken(i) || (page.attempts !== null && page.attempts[i] !== 0)) continue
        page.setAttempts(i, 1)
        page.dirty = true
      }
    }
  }

  /** Drops from memory the written pages that nobody works on. */
  evict(): void {
    for (const page of this.pages) this.evictPage(page)
  }

  /** Drops one page from memory, if it is on disk as it is and nobody works on it. */
  evictPage(page: Page): void {
    if (!page.resident || page.dirty || page.taken > 0 || page === this.#tail || this.#hasReturned(page)) return
    const ahead = this.#indexOf(page) - this.#indexOf(this.#cursorPage)
    if (ahead !== 0 && ahead !== 1) page.evict()
  }

  /** Lowest moment of any unsettled entry. */
  earliest(): number {
    let earliest = Number.POSITIVE_INFINITY
    for (const page of this.pages) if (page.earliest < earliest) earliest = page.earliest
    return earliest
  }

  // ---- recovery

  /** Takes over what the checkpoint says; pages are read when somebody needs them. */
  restore(nextSeq: number, pages: Page[]): void {
    this.nextSeq = this.visible = nextSeq
    const last = pages[pages.length - 1]
    if (last === undefined || !last.resident) pages.push(new Page(nextSeq))
    this.pages = pages
    this.#tail = pages[pages.length - 1]!
    this.#cursorPage = this.#hint = this.page = pages[0]!
    this.#cursorIndex = 0
    this.live = this.taken = this.bytes = this.takenBytes = 0
    for (const page of pages) {
      this.live += page.live
      this.bytes += page.bytes
    }
  }

  /** A settlement read from the journal. */
  replaySettle(from: number, count: number): void {
    let seq = from
    const end = from + count
    while (seq < end) {
      const page = this.pageOf(seq)
      if (page === null) {
        seq++
        continue
      }
      const upTo = Math.min(end, page.base + page.count)
      if (page.resident) {
        for (; seq < upTo; seq++) {
          const index = seq - page.base
          if (!page.isSettled(index)) this.#markSettled(page, index)
        }
        if (page.live === 0) this.#emptied(page)
      } else {
        // Some of them may be settled already in what the page will show.
        page.late ??= []
        page.late.push(seq, upTo - seq)
        seq = upTo
      }
    }
  }

  /** A release read from the journal. */
  replayRelease(seq: number, value: number): void {
    const page = this.pageOf(seq)
    if (page === null) return
    if (page.resident) {
      page.setAttempts(seq - page.base, value)
      page.dirty = true
    } else {
      page.lateAttempts ??= []
      page.lateAttempts.push(seq, value)
    }
  }

  /** Pages whose columns are needed to finish recovery. */
  *unfinished(): Iterable<Page> {
    for (const page of this.pages) if (page.late !== null || page.lateAttempts !== null) yield page
  }

  /** Drops pages that recovery found to be wholly settled. */
  sweep(): void {
    for (const page of [...this.pages]) if (page.live === 0 && page.count > 0) this.#emptied(page)
  }

  #settleCold(page: Page): void {
    if (this.durable) {
      this.flushSettled()
      this.#recordRange(page.base, page.count)
    }
    this.live -= page.live
    this.bytes -= page.bytes
    const at = this.#indexOf(page)
    const following = this.pages[at + 1]!
    this.pages.splice(at, 1)
    if (this.#cursorPage === page) {
      this.#cursorPage = following
      this.#cursorIndex = 0
    }
    if (this.#hint === page) this.#hint = following
    this.#letGoCold(page)
    this.#forget(page)
  }

  /** A page on disk is as it was written, and its summary says what it holds. */
  #letGoCold({ holds }: Page): void {
    for (let i = 0; i < holds.length; i += 2) this.#shard.space.letGo(holds[i]!, holds[i + 1]!)
  }

  #letGoLive(page: Page): void {
    for (let i = 0; i < page.count; i++) {
      if (!page.isSettled(i)) this.#shard.space.letGo(page.positions[i]!, 1)
    }
  }

  /** The page is no longer part of the line. */
  #forget(page: Page): void {
    if (page.stored !== null) this.#shard.pages.drop(page.stored)
    page.stored = null
  }

  #markSettled(page: Page, index: number): void {
    page.settled[index >> 5]! |= 1 << (index & 31)
    page.dirty = true
    page.live--
    this.live--
    this.bytes -= page.sizes[index]! & SIZE_MASK
    this.#shard.space.letGo(page.positions[index]!, 1)
  }

  #recordSettle(seq: number): void {
    if (this.#settleFrom >= 0) {
      if (seq === this.#settleFrom + this.#settleCount) {
        this.#settleCount++
        return
      }
      this.flushSettled()
    } else this.#shard.settles(this)
    this.#settleFrom = seq
    this.#settleCount = 1
  }

  #recordRelease(seq: number, value: number): void {
    const { journal } = this.#shard
    journal.reserve(RELEASE_BYTES)
    const { view, at } = journal
    view.setUint16(at, RECORD_RELEASE, true)
    view.setUint16(at + 2, value, true)
    view.setUint32(at + 4, RELEASE_BYTES, true)
    view.setUint32(at + 8, this.id, true)
    view.setFloat64(at + 12, seq, true)
    journal.commit(RELEASE_BYTES)
  }

  #emptied(page: Page): void {
    if (page === this.#tail) {
      if (page.stored !== null) this.#shard.pages.drop(page.stored)
      page.restart()
      if (page === this.#cursorPage) this.#cursorIndex = 0
      return
    }
    const at = this.#indexOf(page)
    if (at < 0) return
    this.pages.splice(at, 1)
    this.#forget(page)
    const following = this.pages[at]!
    if (this.#cursorPage === page) {
      this.#cursorPage = following
      this.#cursorIndex = 0
      this.#readAhead(following)
    }
    if (this.#hint === page) this.#hint = following
  }

  #indexOf(page: Page): number {
    if (this.pages[0] === page) return 0
    const pages = this.pages
    let low = 0
    let high = pages.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (pages[middle]!.base <= page.base) low = middle
      else high = middle - 1
    }
    return pages[low] === page ? low : pages.indexOf(page)
  }

  #hasReturned(page: Page): boolean {
    return this.#returned.size > 0 && page.attempts !== null
  }

  #readAhead(page: Page): void {
    const following = this.pages[this.#indexOf(page) + 1]
    if (following !== undefined && !following.resident) {
      void this.load(following).catch((error: unknown) => this.#shard.fail(error))
    }
  }
}
