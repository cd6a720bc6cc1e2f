/** Items in no order but one: the first comes out first. */
export class Heap<T> {
  readonly #before: (one: T, other: T) => boolean
  #items: T[] = []

  /** @param before whether `one` comes out before `other`; must not change while both are in here */
  constructor(before: (one: T, other: T) => boolean) {
    this.#before = before
  }

  get size(): number {
    return this.#items.length
  }

  /** The first; undefined when there is none. */
  peek(): T | undefined {
    return this.#items[0]
  }

  push(item: T): void {
    const items = this.#items
    let at = items.length
    items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#before(item, items[parent]!)) break
      items[at] = items[parent]!
      at = parent
    }
    items[at] = item
  }

  pop(): T | undefined {
    const items = this.#items
    const first = items[0]
    const last = items.pop()
    if (last !== undefined && items.length > 0) this.#sink(last, 0)
    return first
  }

  /** Drops all items that do not pass. Costs as much as there are items. */
  keep(passes: (item: T) => boolean): void {
    this.#items = this.#items.filter(passes)
    for (let at = (this.#items.length >> 1) - 1; at >= 0; at--) this.#sink(this.#items[at]!, at)
  }

  /** Puts `item` at `start` or below, where it belongs. */
  #sink(item: T, start: number): void {
    const items = this.#items
    let at = start
    for (;;) {
      let child = at * 2 + 1
      if (child >= items.length) break
      if (child + 1 < items.length && this.#before(items[child + 1]!, items[child]!)) child++
      if (!this.#before(items[child]!, item)) break
      items[at] = items[child]!
      at = child
    }
    items[at] = item
  }
}
