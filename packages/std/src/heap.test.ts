import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Heap } from './heap.ts'

const drain = (heap: Heap<number>): number[] => {
  const items: number[] = []
  while (heap.size > 0) items.push(heap.pop()!)
  return items
}

test('items come out in order, whatever the order in which they came', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (items) => {
      const heap = new Heap<number>((one, other) => one < other)
      for (const item of items) heap.push(item)
      expect(heap.peek()).toBe(items.length === 0 ? undefined : Math.min(...items))
      expect(drain(heap)).toEqual(items.toSorted((one, other) => one - other))
    }),
  )
})

test('the order holds for what is left after some items were dropped', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.array(fc.integer()), (before, after) => {
      const heap = new Heap<number>((one, other) => one < other)
      for (const item of before) heap.push(item)
      heap.keep((item) => item % 2 === 0)
      for (const item of after) heap.push(item)
      const expected = [...before.filter((item) => item % 2 === 0), ...after]
      expect(drain(heap)).toEqual(expected.toSorted((one, other) => one - other))
    }),
  )
})

test('an empty heap has nothing to give', () => {
  const heap = new Heap<number>((one, other) => one < other)
  expect(heap.pop()).toBeUndefined()
  heap.push(1)
  expect(heap.pop()).toBe(1)
  expect(heap.pop()).toBeUndefined()
})
