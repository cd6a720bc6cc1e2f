import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { copyOf, copyRange } from './bytes.ts'

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

test('bytes are copied exactly, short ones and long ones, from any place to any place', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 600 }),
      fc.nat(),
      fc.nat(),
      fc.nat({ max: 20 }),
      (source, one, other, at) => {
        const [start, end] = [one % (source.length + 1), other % (source.length + 1)].toSorted((a, b) => a - b) as [
          number,
          number,
        ]
        const into = new Uint8Array(source.length + 40).fill(0xee)
        expect(copyRange(into, viewOf(into), at, source, viewOf(source), start, end)).toBe(at + end - start)
        expect([...into.subarray(at, at + end - start)]).toEqual([...source.subarray(start, end)])
        const around = [...into.subarray(0, at), ...into.subarray(at + end - start)]
        expect(around.every((byte) => byte === 0xee)).toBe(true)
      },
    ),
  )
})

test('a copy has memory of its own, also of a Buffer', () => {
  const buffer = Buffer.from('abc')
  const copy = copyOf(buffer, 1, 3)
  buffer.fill(0)
  expect([...copy]).toEqual([98, 99])
  expect(copy.buffer.byteLength).toBe(2)
})
