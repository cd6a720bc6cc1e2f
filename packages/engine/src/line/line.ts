import { ATTEMPTS_MAX, decodePage, Page, SIZE_MASK } from './page.ts'
import { Cursor } from './cursor.ts'
import { PageList } from './page-list.ts'
import type { PageStore } from './page-store.ts'
import { type RecorderHost, SettlementRecorder } from './settlement-recorder.ts'
import type { Space } from './space.ts'

/** What a line asks of its shard. */
export interface LineHost extends RecorderHost {
  readonly space: Space
  readonly pages: PageStore
  /** Entries of a full page. */
  readonly pageEntries: number
  /** The line has entries in the open frame; told once for each frame. */
  touches(line: Line): void
  fail(error: unknown): void
}

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
  readonly #shard: LineHost
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

  #pages: PageList
  readonly #recorder: SettlementRecorder
  #cursor: Cursor

  touched = false
  /** Entries below are in the frame cut last, or in earlier ones. */
  cutSeq = 0
  /** Entries below are in the frame written last, or in earlier ones. */
  durableSeq = 0

  constructor(shard: LineHost, id: number, durable: boolean, onVisible: (line: Line) => void) {
    this.#shard = shard
    this.id = id
    this.durable = durable
    this.onVisible = onVisible
    this.#pages = new PageList([new Page(0)])
    this.#recorder = new SettlementRecorder(shard, id)
    this.#cursor = this.#newCursor()
  }

  /** By sequence number; the last one takes new entries. */
  get pages(): readonly Page[] {
    return this.#pages.all
  }

  /** Entries that wait. */
  get ready(): number {
    return this.live - this.taken
  }

  /** Appends an entry for the message at `position`; its place becomes durable with the open frame. */
  push(position: number, size: number, at: number): number {
    let { tail } = this.#pages
    if (tail.count === this.#shard.pageEntries) tail = this.#pages.grow(this.nextSeq)
    tail.push(position, size, at)
    tail.dirty = true
    this.live++
    this.bytes += size & SIZE_MASK
    this.#shard.space.hold(position, 1)
    if (!this.touched) {
      this.touched = true
      this.#shard.touches(this)
    }
    return this.nextSeq++
  }

  /**
   * Looks for the first entry that may be handed out: {@link FOUND} sets {@link page} and {@link index}.
   * Changes nothing; {@link take} does.
   */
  next(): number {
    return this.#cursor.next(this.visible)
  }

  /** The page of the entry that {@link next} found, or the one to be read. */
  get page(): Page {
    return this.#cursor.page
  }

  /** The entry that {@link next} found, in its page. */
  get index(): number {
    return this.#cursor.index
  }

  /** Puts the entry that {@link next} found in somebody's hands; returns its sequence number. */
  take(): number {
    this.#cursor.took()
    return this.takeAt(this.#cursor.page, this.#cursor.index)
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
    if (this.durable) this.#recorder.settle(seq)
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
    this.#pages = new PageList([new Page(this.nextSeq)])
    this.#cursor = this.#newCursor()
    this.live = this.taken = this.bytes = this.takenBytes = 0
    this.#recorder.forget()
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
      if (this.durable) this.#recorder.release(seq, value)
    }
    this.#cursor.giveBack(seq)
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
    return this.#pages.of(seq)
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
    decodePage(bytes, page, this.id)
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
    if (!page.resident || page.dirty || page.taken > 0 || page === this.#pages.tail) return
    if (this.#cursor.mayReturnTo(page)) return
    const ahead = this.#pages.indexOf(page) - this.#pages.indexOf(this.#cursor.at)
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
    this.#pages = new PageList(pages)
    this.#cursor = this.#newCursor()
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
    if (this.durable) this.#recorder.settleRange(page.base, page.count)
    this.live -= page.live
    this.bytes -= page.bytes
    this.#remove(page)
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

  #emptied(page: Page): void {
    if (page === this.#pages.tail) {
      if (page.stored !== null) this.#shard.pages.drop(page.stored)
      page.restart()
      if (page === this.#cursor.at) this.#cursor.restart()
    } else if (this.#remove(page)) this.#forget(page)
  }

  /** Takes a page that is not the last one out of the line. `false`: it was gone. */
  #remove(page: Page): boolean {
    const following = this.#pages.remove(page)
    if (following === undefined) return false
    if (this.#cursor.at === page) this.#cursor.moveTo(following)
    return true
  }

  #newCursor(): Cursor {
    return new Cursor(this.#pages, (page) => this.#readAhead(page))
  }

  #readAhead(page: Page): void {
    const following = this.#pages.after(page)
    if (following !== undefined && !following.resident) {
      void this.load(following).catch((error: unknown) => this.#shard.fail(error))
    }
  }
}
