/**
 * Up to this many octets the loop below is faster than the native copy, which first needs a view of the source: an
 * allocation of 40 ns (65 ns where the source is a Buffer), whatever the size. `bench/byte-copy.mjs` measures both.
 */
const LOOP_MAX = 128

/** Copies `source` from `start` to `end` to `out` at `at`, and returns where the copy ends. */
export function copyRange(
  out: Uint8Array,
  outView: DataView,
  at: number,
  source: Uint8Array,
  sourceView: DataView,
  start: number,
  end: number,
): number {
  const size = end - start
  if (size > LOOP_MAX) {
    out.set(source.subarray(start, end), at)
    return at + size
  }
  let from = start
  let to = at
  // Four words a turn: a third faster than one. Not float64, which may change the bits of a NaN.
  for (; from + 16 <= end; from += 16, to += 16) {
    outView.setInt32(to, sourceView.getInt32(from))
    outView.setInt32(to + 4, sourceView.getInt32(from + 4))
    outView.setInt32(to + 8, sourceView.getInt32(from + 8))
    outView.setInt32(to + 12, sourceView.getInt32(from + 12))
  }
  for (; from + 4 <= end; from += 4, to += 4) outView.setInt32(to, sourceView.getInt32(from))
  while (from < end) out[to++] = source[from++] as number
  return to
}

/** A copy of `[start, end)` in memory of its own. (The `slice` of a Buffer is no copy.) */
export function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.subarray(start, end))
}
