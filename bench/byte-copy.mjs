/**
 * Up to which size does a loop over words copy faster than the native copy, which needs a view of the source first?
 * Decides LOOP_MAX in packages/std/src/bytes.ts.
 *
 *     node bench/byte-copy.mjs [loop|native]     one kind per process, or the first spoils the other's compilation
 */
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

const sourceSize = 16 << 20
const outSize = 1 << 20
const rounds = 5
const copies = 400_000

const kinds = {
  loop(out, outView, at, source, sourceView, start, end) {
    let from = start
    let to = at
    for (; from + 16 <= end; from += 16, to += 16) {
      outView.setInt32(to, sourceView.getInt32(from))
      outView.setInt32(to + 4, sourceView.getInt32(from + 4))
      outView.setInt32(to + 8, sourceView.getInt32(from + 8))
      outView.setInt32(to + 12, sourceView.getInt32(from + 12))
    }
    for (; from + 4 <= end; from += 4, to += 4) outView.setInt32(to, sourceView.getInt32(from))
    while (from < end) out[to++] = source[from++]
    return to
  },
  native(out, outView, at, source, sourceView, start, end) {
    out.set(source.subarray(start, end), at)
    return at + end - start
  },
}

function measure(copy, size) {
  const source = new Uint8Array(sourceSize)
  const sourceView = new DataView(source.buffer)
  const out = new Uint8Array(outSize)
  const outView = new DataView(out.buffer)
  let best = Infinity
  for (let round = 0; round < rounds; round++) {
    let to = 1
    let from = 3
    const start = performance.now()
    for (let i = 0; i < copies; i++) {
      to = copy(out, outView, to, source, sourceView, from, from + size) + 13
      from += size + 21
      if (to + size > outSize) to = 1
      if (from + size > sourceSize) from = 3
    }
    best = Math.min(best, ((performance.now() - start) * 1e6) / copies)
  }
  return best.toFixed(1)
}

const kind = process.argv[2]
if (kind === undefined) {
  console.log(`${cpus()[0]?.model}, Node ${process.version}; ns per copy, best of ${rounds} rounds of ${copies}`)
  for (const each of Object.keys(kinds)) {
    process.stdout.write(execFileSync(process.execPath, [fileURLToPath(import.meta.url), each]))
  }
} else {
  const sizes = [8, 23, 64, 96, 128, 160, 192, 256, 512]
  console.log(kind.padEnd(8), sizes.map((size) => `${size}: ${measure(kinds[kind], size)}`).join('  '))
}
