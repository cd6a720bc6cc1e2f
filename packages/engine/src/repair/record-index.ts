/** Where in the files a message record lies. */
export interface RecordPlace {
  /** Number of the file in {@link RecordIndex.files}. */
  readonly file: number
  readonly offset: number
  readonly length: number
}

/** All message records that are whole, by their positions. */
export class RecordIndex {
  /** Paths. */
  readonly files: string[] = []
  #positions: number[] = []
  #places: RecordPlace[] = []
  #sorted = true

  get size(): number {
    return this.#positions.length
  }

  add(position: number, place: RecordPlace): void {
    if (position <= (this.#positions.at(-1) ?? -1)) this.#sorted = false
    this.#positions.push(position)
    this.#places.push(place)
  }

  /** The number of the record in the order of positions; -1: there is none. */
  find(position: number): number {
    this.#sort()
    let low = 0
    let high = this.#positions.length - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const found = this.#positions[middle]!
      if (found === position) return middle
      if (found < position) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  place(number: number): RecordPlace {
    return this.#places[number]!
  }

  /** Files overlap only where a rewrite was cut off; either copy will do. */
  #sort(): void {
    if (this.#sorted) return
    const order = this.#positions.map((_, i) => i).sort((a, b) => this.#positions[a]! - this.#positions[b]!)
    const unique = order.filter((at, i) => i === 0 || this.#positions[at] !== this.#positions[order[i - 1]!])
    this.#positions = unique.map((at) => this.#positions[at]!)
    this.#places = unique.map((at) => this.#places[at]!)
    this.#sorted = true
  }
}
