import { expect, test } from 'vitest'
import { portionsOf } from './portions.ts'

const portions = (...sizes: number[]): readonly (readonly number[])[] => portionsOf(sizes, 10, (size) => size)

test('a portion takes what fits, in its order, and what is larger goes alone', () => {
  expect(portions()).toEqual([])
  expect(portions(4, 6, 1)).toEqual([[4, 6], [1]])
  expect(portions(1, 40, 2, 3)).toEqual([[1], [40], [2, 3]])
  expect(portions(40)).toEqual([[40]])
})
