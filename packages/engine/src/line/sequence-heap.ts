/** Sequence numbers, lowest first. */
export class SequenceHeap {
  readonly #items: number[] = []

  get size(): number {
    return this.#items.length
  }

  /** The lowest; only when {@link size} is not 0. */
  peek(): number {
    return this.#items[0]!
  }

  push(value: number): void {
    const items = this.#items
    let at = items.length
    items.push(value)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (items[parent]! <= value) break
      items[at] = items[parent]!
      at = parent
    }
    items[at] = value
  }

  pop(): number {
    const items = this.#items
    const lowest = items[0]!
    const last = items.pop()!
    const size = items.length
    if (size > 0) {
      let at = 0
      for (;;) {
        let child = at * 2 + 1
        if (child >= size) break
        if (child + 1 < size && items[child + 1]! < items[child]!) child++
        if (items[child]! >= last) break
        items[at] = items[child]!
        at = child
      }
      items[at] = last
    }
    return lowest
  }
}
