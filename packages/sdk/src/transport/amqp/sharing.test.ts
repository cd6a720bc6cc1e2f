import { expect, test } from 'vitest'
import { partitionsToLeave } from './sharing.ts'

test('who has everything leaves what is beyond its share', () => {
  expect(partitionsToLeave([2, 2, 2, 2], [true, true, true, true])).toEqual([2, 3])
  expect(partitionsToLeave([3, 3, 3, 3, 3], [true, true, true, true, true])).toEqual([2, 3, 4])
})

test('who has its share or less leaves nothing', () => {
  expect(partitionsToLeave([2, 2, 2, 2], [false, true, false, true])).toEqual([])
  expect(partitionsToLeave([2, 2, 2], [true, true, false])).toEqual([])
  expect(partitionsToLeave([1, 1, 1], [true, true, true])).toEqual([])
})

test('a partition that nobody else waits for is kept', () => {
  expect(partitionsToLeave([2, 2, 2, 1], [true, true, true, true])).toEqual([2])
})
