import { type Page, TRANSIENT } from './page.ts'
import type { PageList } from './page-list.ts'
import { SequenceHeap } from './sequence-heap.ts'

/** What {@link Cursor.next} found. */
const NOTHING = 0
export const FOUND = 1
/** The page must come from disk first. */
export const COLD = 2

/** Where a line goes on: first at what was given back, then behind what was handed out last. */
export class Cursor {
  readonly #pages: PageList
  /** Called with the page that the cursor came to: the one behind it will be needed. */
  readonly #onMoved: (page: Page) => void
  #at: Page
  #atIndex = 0
  readonly #returned = new SequenceHeap()
  #foundReturned = false
  /** What {@link next} found. */
  page: Page
  index = 0

  constructor(pages: PageList, onMoved: (page: Page) => void) {
    this.#pages = pages
    this.#onMoved = onMoved
    this.#at = this.page = pages.first
  }

  /** The page that it is on. */
  get at(): Page {
    return this.#at
  }

  /**
   * Looks for the first entry that may be handed out, those from `visible` on only where they need no disk:
   * {@link FOUND} sets {@link page} and {@link index}. Changes nothing; {@link took} does.
   */
  next(visible: number): number {
    if (this.#returned.size > 0 && this.#nextReturned()) return FOUND
    this.#foundReturned = false
    let page = this.#at
    let index = this.#atIndex
    for (;;) {
      if (index >= page.count) {
        if (page === this.#pages.tail) {
          this.#atIndex = index
          return NOTHING
        }
        page = this.#pages.after(page)!
        index = 0
        this.moveTo(page)
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
      this.#atIndex = index
      if (page.base + index >= visible && (page.sizes[index]! & TRANSIENT) === 0) return NOTHING
      this.page = page
      this.index = index
      return FOUND
    }
  }

  /** The entry that {@link next} found is handed out. */
  took(): void {
    if (this.#foundReturned) this.#returned.pop()
    else this.#atIndex = this.index + 1
  }

  /** The entry was handed out and comes again, before all later ones. */
  giveBack(seq: number): void {
    this.#returned.push(seq)
  }

  /** Whether entries of the page may come again: their place in it must stay in memory. */
  mayReturnTo(page: Page): boolean {
    return this.#returned.size > 0 && page.attempts !== null
  }

  /** Goes to the start of a page. */
  moveTo(page: Page): void {
    this.#at = page
    this.#atIndex = 0
    this.#onMoved(page)
  }

  /** The page that it is on has started over. */
  restart(): void {
    this.#atIndex = 0
  }

  #nextReturned(): boolean {
    const returned = this.#returned
    do {
      const seq = returned.peek()
      const page = this.#pages.of(seq)
      if (page !== null && page.resident) {
        const index = seq - page.base
        if (!page.isSettled(index) && !page.isTaken(index)) {
          this.page = page
          this.index = index
          this.#foundReturned = true
          return true
        }
      }
      returned.pop()
    } while (returned.size > 0)
    return false
  }
}
