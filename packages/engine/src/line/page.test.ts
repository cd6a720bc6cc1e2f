import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { CorruptionError } from '../storage/storage-errors.ts'
import { decodePage, encodePage, Page, TRANSIENT } from './page.ts'

interface Row {
  readonly position: number
  readonly size: number
  readonly transient: boolean
  readonly at: number
  readonly attempts: number
  readonly target: number
  readonly settled: boolean
}

const rows = fc.array(
  fc.record({
    position: fc.nat({ max: 2 ** 45 }),
    size: fc.nat({ max: 2 ** 31 - 1 }),
    transient: fc.boolean(),
    at: fc.oneof(fc.constant(0), fc.constant(-1), fc.nat({ max: 2 ** 43 })),
    attempts: fc.oneof(fc.constant(0), fc.nat({ max: 0xffff })),
    target: fc.oneof(fc.constant(0), fc.nat({ max: 2 ** 32 - 1 })),
    settled: fc.boolean(),
  }),
  { minLength: 1, maxLength: 200 },
)

function pageOf(entries: readonly Row[], base = 0): Page {
  const page = new Page(base)
  for (const { position, size, transient, at, attempts, target, settled } of entries) {
    const index = page.push(position, transient ? (size | TRANSIENT) >>> 0 : size, at)
    if (attempts > 0) page.setAttempts(index, attempts)
    if (target > 0) page.setTarget(index, target)
    if (settled) page.settled[index >> 5]! |= 1 << (index & 31)
  }
  return page
}

test('a page that was written and read back is what it was', () => {
  fc.assert(
    fc.property(rows, fc.nat({ max: 2 ** 45 }), fc.nat({ max: 2 ** 32 - 1 }), (entries, base, line) => {
      const page = pageOf(entries, base)
      const bytes = encodePage(page, line)
      const again = new Page(base)
      again.count = page.count
      again.resident = false
      // Whatever lies before and behind it in the file.
      const file = new Uint8Array(bytes.length + 7)
      file.set(bytes, 3)
      decodePage(file.subarray(3, 3 + bytes.length), again, line)
      for (const [i, { position, size, transient, at, attempts, target, settled }] of entries.entries()) {
        expect(again.positions[i]).toBe(position)
        expect(again.sizes[i]).toBe(transient ? (size | TRANSIENT) >>> 0 : size)
        expect(again.ats?.[i] ?? 0).toBe(at)
        expect(again.attempts?.[i] ?? 0).toBe(attempts)
        expect(again.targets?.[i] ?? 0).toBe(target)
        expect(again.isSettled(i)).toBe(settled)
        expect(again.isTaken(i)).toBe(false)
      }
      expect(again.resident).toBe(true)
    }),
  )
})

test('a page that belongs to another line, or has other entries, is not taken for the one that was asked for', () => {
  const entry = { position: 9, size: 5, transient: false, at: 0, attempts: 0, target: 0, settled: false }
  const bytes = encodePage(pageOf([entry, entry], 40), 7)
  const asked = (line: number, base: number, count: number) => () => {
    const page = new Page(base)
    page.count = count
    decodePage(bytes, page, line)
  }
  expect(asked(8, 40, 2)).toThrow('should have entries 40 to 42 of line 8, and has 40 to 42 of line 7')
  for (const [line, base, count] of [
    [8, 40, 2],
    [7, 41, 2],
    [7, 40, 1],
  ] as const) {
    expect(asked(line, base, count)).toThrow(CorruptionError)
  }
  expect(asked(7, 40, 2)).not.toThrow()
})

test('a page knows the earliest moment of what waits, and that of all that is not settled', () => {
  const page = new Page(0)
  for (const at of [0, 50, 20, 30]) page.push(1, 1, at)
  expect(page.earliest).toBe(20)
  page.takenBits[0] = 1 << 2
  page.taken = 1
  page.refreshEarliest()
  expect([page.earliest, page.earliestUnsettled]).toEqual([30, 20])
  page.settled[0] = 0b1110
  page.refreshEarliest()
  expect(page.earliest).toBe(Number.POSITIVE_INFINITY)
})

test('a page that starts over has nothing of what it held', () => {
  const page = pageOf(
    Array.from({ length: 100 }, (_, i) => ({
      position: i,
      size: 5,
      transient: false,
      at: i + 1,
      attempts: 3,
      target: 9,
      settled: true,
    })),
  )
  page.restart()
  expect([page.base, page.count, page.live, page.earliest]).toEqual([100, 0, 0, Number.POSITIVE_INFINITY])
  const index = page.push(7, 1, 0)
  expect([page.isSettled(index), page.isTaken(index), page.attempts![index], page.targets![index]]).toEqual([
    false,
    false,
    0,
    0,
  ])
  expect(page.ats).toBeNull()
  expect([page.positionLow, page.positionHigh]).toEqual([7, 7])
})

test('a page that left memory keeps its summary', () => {
  const page = pageOf([{ position: 9, size: 5, transient: false, at: 4, attempts: 0, target: 0, settled: false }], 40)
  page.evict()
  expect(page).toMatchObject({
    resident: false,
    base: 40,
    end: 41,
    live: 1,
    earliest: 4,
    positionLow: 9,
    positionHigh: 9,
  })
  expect(page.positions).toHaveLength(0)
})
