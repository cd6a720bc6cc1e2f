/** The items of one key, or a single item without one. */
interface Lane<Item> {
  readonly key: string | null
  items: Item[]
  /** What of it was taken; null while nobody has it. */
  out: readonly Item[] | null
}

/** Items that were taken, and the lanes that nobody else gets until they are returned. */
export interface Portion<Item> {
  readonly items: readonly Item[]
  readonly lanes: readonly Lane<Item>[]
}

/**
 * What waits in this process, one lane for each key: the items of a lane are handed out in their order, and none while
 * earlier ones of it are out. Lanes take turns. Costs the same however many lanes there are.
 */
export class Lanes<Item extends { readonly key: string | null }> {
  readonly #byKey = new Map<string, Lane<Item>>()
  /** Lanes with items that are not taken, in the order of their turns. */
  #ready = new Set<Lane<Item>>()
  #readyCount = 0

  /** Items that could be taken now. */
  get readyCount(): number {
    return this.#readyCount
  }

  push(item: Item): void {
    const { key } = item
    let lane = key === null ? undefined : this.#byKey.get(key)
    if (lane === undefined) {
      lane = { key, items: [], out: null }
      if (key !== null) this.#byKey.set(key, lane)
    }
    lane.items.push(item)
    if (lane.out !== null) return
    this.#readyCount++
    this.#ready.add(lane)
  }

  /** Takes items of as many lanes as it needs, at most `max`. */
  take(max: number): Portion<Item> {
    const items: Item[] = []
    const lanes: Lane<Item>[] = []
    for (const lane of this.#ready) {
      if (items.length >= max) break
      this.#ready.delete(lane)
      lanes.push(lane)
      this.#readyCount -= lane.items.length
      const share = lane.items.length <= max - items.length ? lane.items : lane.items.slice(0, max - items.length)
      lane.items = share === lane.items ? [] : lane.items.slice(share.length)
      lane.out = share
      items.push(...share)
    }
    return { items, lanes }
  }

  /** The portion is done with: its lanes may have their next turn. */
  free(portion: Portion<Item>): void {
    for (const lane of portion.lanes) {
      lane.out = null
      if (lane.items.length > 0) {
        this.#readyCount += lane.items.length
        this.#ready.add(lane)
      } else if (lane.key !== null) this.#byKey.delete(lane.key)
    }
  }

  /**
   * Of the portion only some items are not done with: their lanes stay out, and all others may have their next turn.
   *
   * @param rest what an item is to be from now on; null when it is done with
   * @returns a portion for each lane that is still out
   */
  retain(portion: Portion<Item>, rest: (item: Item) => Item | null): readonly Portion<Item>[] {
    const retained: Portion<Item>[] = []
    for (const lane of portion.lanes) {
      const items = (lane.out ?? []).map(rest).filter((item) => item !== null)
      const part = { items, lanes: [lane] }
      if (items.length === 0) this.free(part)
      else {
        lane.out = items
        retained.push(part)
      }
    }
    return retained
  }

  /** The portion was not touched: back it goes, in front of what came after it. */
  putBack(portion: Portion<Item>): void {
    for (const lane of portion.lanes) lane.items = [...(lane.out ?? []), ...lane.items]
    this.free(portion)
  }

  /** Takes out everything that waits, also behind portions that are out. */
  clear(): Item[] {
    const items = [...this.#ready].flatMap((lane) => lane.items)
    for (const lane of this.#byKey.values()) {
      if (lane.out === null) this.#byKey.delete(lane.key!)
      else items.push(...lane.items)
      lane.items = []
    }
    this.#ready = new Set()
    this.#readyCount = 0
    return items
  }
}
