import { InputBytes, type InputPool } from '../../session/input-pool.ts'

const NOTHING = new InputBytes(0)

/**
 * The bytes that could not be handled in place: the beginning of a frame whose rest is in a later
 * chunk, and what arrives while the connection waits for something. Costs nothing while empty.
 */
export class Carry {
  bytes: Uint8Array = NOTHING.bytes
  view: DataView = NOTHING.view
  start = 0
  end = 0
  readonly #pool: InputPool
  #held: InputBytes = NOTHING

  constructor(pool: InputPool) {
    this.#pool = pool
  }

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
    this.#hold(NOTHING)
    this.start = this.end = 0
  }

  #makeRoom(count: number): void {
    const held = this.length
    const larger = this.#pool.take(held + count)
    larger.bytes.set(this.bytes.subarray(this.start, this.end))
    this.#hold(larger)
    this.start = 0
    this.end = held
  }

  #hold(input: InputBytes): void {
    if (this.#held !== NOTHING) this.#pool.give(this.#held)
    this.#held = input
    this.bytes = input.bytes
    this.view = input.view
  }
}
