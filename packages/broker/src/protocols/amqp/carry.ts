const NOTHING = new Uint8Array(0)
const NOTHING_VIEW = new DataView(NOTHING.buffer)

/**
 * The bytes that could not be handled in place: the beginning of a frame whose rest is in a later
 * chunk, and what arrives while the connection waits for something. Costs nothing while empty.
 */
export class Carry {
  bytes: Uint8Array = NOTHING
  view: DataView = NOTHING_VIEW
  start = 0
  end = 0

  get length(): number {
    return this.end - this.start
  }

  /** Adds `chunk` from `from` to `to`. Grows with what arrives, never with what is announced. */
  append(chunk: Uint8Array, from: number, to: number): void {
    const count = to - from
    if (count === 0) return
    if (this.end + count > this.bytes.length) this.#makeRoom(count)
    this.bytes.set(chunk.subarray(from, to), this.end)
    this.end += count
  }

  /** Adds from the chunk until `wanted` bytes are here, or the chunk is used up. Returns how far it was used. */
  fill(chunk: Uint8Array, from: number, to: number, wanted: number): number {
    const missing = wanted - this.length
    if (missing <= 0) return from
    const upTo = Math.min(from + missing, to)
    this.append(chunk, from, upTo)
    return upTo
  }

  /** Everything before `at` has been handled. */
  dropTo(at: number): void {
    this.start = at
    if (this.start === this.end) this.clear()
  }

  clear(): void {
    this.bytes = NOTHING
    this.view = NOTHING_VIEW
    this.start = this.end = 0
  }

  #makeRoom(count: number): void {
    const held = this.length
    // The old array may be the one that is being read, so what is held moves to a new one.
    const larger = new Uint8Array(Math.max(64, held + count, held * 2))
    larger.set(this.bytes.subarray(this.start, this.end))
    this.bytes = larger
    this.view = new DataView(larger.buffer)
    this.start = 0
    this.end = held
  }
}
