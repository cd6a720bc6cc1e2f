/** Sizes that are kept: the start of a frame, a small one, half a read, a frame of the largest usual size. */
const SIZES: readonly number[] = [256, 4 * 1024, 32 * 1024, 136 * 1024]

/** Buffers of each size that are kept for later, about 1 MiB of each and 4 MiB of the largest. */
const KEPT_MAX: readonly number[] = [4096, 256, 32, 32]

/** Bytes with a view over all of them. */
export class InputBytes {
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
  }
}

/**
 * Memory for input that could not be handled where it was read. Shared by all connections, so that an
 * idle one holds none, and used again, so that a busy one costs no fresh pages.
 */
export class InputPool {
  readonly #kept: InputBytes[][] = SIZES.map(() => [])

  /** At least `size` bytes of unknown content. */
  take(size: number): InputBytes {
    const at = SIZES.findIndex((candidate) => candidate >= size)
    if (at < 0) return new InputBytes(size)
    return this.#kept[at]!.pop() ?? new InputBytes(SIZES[at]!)
  }

  /** The caller reads and writes it no more. */
  give(input: InputBytes): void {
    const at = SIZES.indexOf(input.bytes.length)
    if (at >= 0 && this.#kept[at]!.length < KEPT_MAX[at]!) this.#kept[at]!.push(input)
  }
}
