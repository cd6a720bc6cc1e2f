import { expect, test } from 'vitest'
import { Polling } from './polling.ts'

/** The pauses between looks that find nothing. */
function pausesOf(polling: Polling, count: number): readonly number[] {
  return Array.from({ length: count }, () => polling.next())
}

test('looks become rare while nothing is found, up to the longest pause', () => {
  expect(pausesOf(new Polling(1000), 7)).toEqual([50, 100, 200, 400, 800, 1000, 1000])
})

test('what is about to be committed is looked for in a millisecond, and then less and less often', () => {
  const polling = new Polling(1000)
  expect(polling.expect()).toBe(1)
  expect(pausesOf(polling, 6)).toEqual([1, 2, 4, 8, 16, 32])
})

test('under load what is expected waits for the next look, which is 4 ms away, so that batches form', () => {
  const polling = new Polling(1000)
  polling.expect()
  polling.found()
  expect(polling.next()).toBe(4)
  expect(polling.expect()).toBeNull()
})

test('a steady, modest rate is looked for as soon as the first message: no look before has made the next one late', () => {
  const polling = new Polling(1000)
  for (let message = 0; message < 3; message++) {
    expect(polling.expect()).toBe(1)
    expect(pausesOf(polling, 2)).toEqual([1, 2])
    polling.found()
    expect(pausesOf(polling, 2)).toEqual([4, 8])
  }
})

test('a look that another process asked for too early is repeated in a millisecond, and then less and less often', () => {
  const polling = new Polling(1000)
  pausesOf(polling, 7)
  polling.told()
  expect(pausesOf(polling, 7)).toEqual([1, 2, 4, 8, 16, 32, 64])
})

test('after a look that another process asked for, the next one comes soon: its messages come one after the other', () => {
  const polling = new Polling(1000)
  polling.told()
  polling.found()
  expect(pausesOf(polling, 3)).toEqual([4, 8, 16])
})
