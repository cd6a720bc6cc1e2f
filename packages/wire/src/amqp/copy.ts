/**
 * Up to this many octets a loop over words is faster than the native copy, which needs a view of the source first
 * (an allocation).
 */
const WORD_LOOP_MAX = 256

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
  if (size > WORD_LOOP_MAX) {
    out.set(source.subarray(start, end), at)
    return at + size
  }
  let from = start
  let to = at
  for (; from + 4 <= end; from += 4, to += 4) outView.setUint32(to, sourceView.getUint32(from))
  while (from < end) out[to++] = source[from++] as number
  return to
}
