import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Lanes, type Portion } from './lanes.ts'

interface Item {
  readonly key: string | null
  readonly number: number
}

const step = fc.oneof(
  fc.record({ do: fc.constant('push' as const), key: fc.constantFrom('a', 'b', 'c', null) }),
  fc.record({ do: fc.constant('take' as const), max: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constantFrom('free' as const, 'back' as const), index: fc.nat(5) }),
)

test('whatever is pushed comes out once, in the order of its key, and never two portions of one key at a time', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const lanes = new Lanes<Item>()
      const out: Portion<Item>[] = []
      const done: Item[] = []
      let pushed = 0
      const end = (portion: Portion<Item>): void => {
        done.push(...portion.items)
        lanes.free(portion)
      }
      const take = (max: number): void => {
        const before = lanes.readyCount
        const portion = lanes.take(max)
        expect(portion.items.length).toBe(Math.min(max, before))
        if (portion.items.length > 0) out.push(portion)
        const keys = out.flatMap(({ items }) => [...new Set(items.map(({ key }) => key))]).filter((key) => key !== null)
        expect(new Set(keys).size).toBe(keys.length)
      }
      for (const action of steps) {
        if (action.do === 'push') lanes.push({ key: action.key, number: ++pushed })
        else if (action.do === 'take') take(action.max)
        else {
          const [portion] = out.splice(action.index % Math.max(out.length, 1), 1)
          if (portion !== undefined && action.do === 'free') end(portion)
          else if (portion !== undefined) lanes.putBack(portion)
        }
      }
      for (const portion of out.splice(0)) end(portion)
      while (lanes.readyCount > 0) {
        take(4)
        for (const portion of out.splice(0)) end(portion)
      }
      expect(done.map(({ number }) => number).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: pushed }, (_, index) => index + 1),
      )
      for (const key of ['a', 'b', 'c']) {
        const numbers = done.filter((item) => item.key === key).map(({ number }) => number)
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
      }
    }),
  )
})

test('clearing takes what waits, also behind what is out, and leaves nothing to be had', () => {
  const lanes = new Lanes<Item>()
  for (const [key, number] of [
    ['a', 1],
    ['a', 2],
    ['b', 3],
    [null, 4],
  ] as const)
    lanes.push({ key, number })
  const portion = lanes.take(1)
  expect(portion.items.map(({ number }) => number)).toEqual([1])
  expect(lanes.clear().map(({ number }) => number)).toEqual([3, 4, 2])
  lanes.free(portion)
  expect(lanes.readyCount).toBe(0)
  lanes.push({ key: 'a', number: 5 })
  expect(lanes.take(4).items.map(({ number }) => number)).toEqual([5])
})
