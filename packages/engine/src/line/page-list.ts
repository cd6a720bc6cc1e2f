import { Page } from './page.ts'

/** The pages of a line, by sequence number: at least one, and the last one takes new entries. */
export class PageList {
  readonly #pages: Page[]
  #hint: Page
  tail: Page

  /** @param pages ascending, without overlap, at least one */
  constructor(pages: Page[]) {
    this.#pages = pages
    this.#hint = pages[0]!
    this.tail = pages.at(-1)!
  }

  get all(): readonly Page[] {
    return this.#pages
  }

  get first(): Page {
    return this.#pages[0]!
  }

  /** A new last page whose first entry will be `base`. */
  grow(base: number): Page {
    const page = new Page(base)
    this.#pages.push(page)
    this.tail = page
    return page
  }

  /** The page of an entry; null when all of that page is settled and gone. */
  of(seq: number): Page | null {
    const hint = this.#hint
    if (seq >= hint.base && seq < hint.base + hint.count) return hint
    const page = this.#pages[this.#search(seq)]!
    if (seq < page.base || seq >= page.base + page.count) return null
    this.#hint = page
    return page
  }

  /** How many pages are before it; -1 when it is gone. */
  indexOf(page: Page): number {
    const pages = this.#pages
    if (pages[0] === page) return 0
    const at = this.#search(page.base)
    return pages[at] === page ? at : pages.indexOf(page)
  }

  /** The page behind a page; undefined: it is the last one. */
  after(page: Page): Page | undefined {
    return this.#pages[this.indexOf(page) + 1]
  }

  /** Takes out a page that is not the last one, and returns the one behind it; undefined: it was gone. */
  remove(page: Page): Page | undefined {
    const at = this.indexOf(page)
    if (at < 0) return undefined
    this.#pages.splice(at, 1)
    const following = this.#pages[at]!
    if (this.#hint === page) this.#hint = following
    return following
  }

  /** The last page that does not begin behind `seq`, or the first. */
  #search(seq: number): number {
    const pages = this.#pages
    let low = 0
    let high = pages.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (pages[middle]!.base <= seq) low = middle
      else high = middle - 1
    }
    return low
  }
}
