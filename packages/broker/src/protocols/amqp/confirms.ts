const RING_AT_FIRST = 16

/** How a channel tells its publisher. */
export interface ConfirmSink {
  ack(tag: number, multiple: boolean): void
  nack(tag: number): void
}

/**
 * The confirms that a channel still owes. Publishing order is position order, so "acknowledge up to
 * here" is enough: one (position, tag) pair for all that was published in one turn, told with a
 * single `multiple` when the pair's position is on disk.
 */
export class Confirms {
  readonly #sink: ConfirmSink
  /** Pairs of position and tag, a ring from {@link #head} on; `#count` pairs. */
  #ring: Float64Array = new Float64Array(RING_AT_FIRST * 2)
  #head = 0
  #count = 0
  #lastTurn = -1
  /** Tag of the latest publish. */
  #published = 0
  /** Everything up to this tag has been told. */
  #told = 0

  constructor(sink: ConfirmSink) {
    this.#sink = sink
  }

  get published(): number {
    return this.#published
  }

  get outstanding(): number {
    return this.#published - this.#told
  }

  /** Nothing is owed: every publish has been answered. */
  get settled(): boolean {
    return this.#count === 0
  }

  /** The next publish is safe once everything up to `position` is on disk. `turn` names the present turn. */
  owe(position: number, turn: number): void {
    const tag = ++this.#published
    if (this.#lastTurn === turn && this.#count > 0) {
      this.#setLast(position, tag)
      return
    }
    this.#lastTurn = turn
    this.#push(position, tag)
  }

  /** The next publish needs no storage: it is told with those before it, or at the next {@link tell}. */
  oweNothing(turn: number): void {
    this.owe(this.#count === 0 ? -1 : this.#ring[this.#at(this.#count - 1)]!, turn)
  }

  /** The next publish was refused, and its publisher is told now. */
  refuse(): void {
    const tag = ++this.#published
    this.#sink.nack(tag)
    if (this.#count === 0) this.#told = tag
  }

  /** Acknowledges whatever is on disk when everything below `durablePosition` is. */
  tell(durablePosition: number): void {
    let upTo = 0
    while (this.#count > 0 && this.#ring[this.#head * 2]! < durablePosition) {
      upTo = this.#ring[this.#head * 2 + 1]!
      this.#head = (this.#head + 1) % (this.#ring.length / 2)
      this.#count--
    }
    if (upTo <= this.#told) return
    this.#sink.ack(upTo, upTo - this.#told > 1)
    // With nothing left in the ring, what came later was refused and told already.
    this.#told = this.#count === 0 ? this.#published : upTo
  }

  #push(position: number, tag: number): void {
    if (this.#count * 2 === this.#ring.length) this.#grow()
    this.#count++
    this.#setLast(position, tag)
  }

  #setLast(position: number, tag: number): void {
    const at = this.#at(this.#count - 1)
    this.#ring[at] = position
    this.#ring[at + 1] = tag
  }

  #at(index: number): number {
    return ((this.#head + index) % (this.#ring.length / 2)) * 2
  }

  #grow(): void {
    const larger = new Float64Array(this.#ring.length * 2)
    for (let i = 0; i < this.#count; i++) {
      larger[i * 2] = this.#ring[this.#at(i)]!
      larger[i * 2 + 1] = this.#ring[this.#at(i) + 1]!
    }
    this.#ring = larger
    this.#head = 0
  }
}
