import { expect, test } from 'vitest'
import { die, type History, NO_HISTORY, wouldCycle } from './death.ts'

type Reason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit'
const after = (...deaths: [queue: string, reason: Reason][]): History =>
  deaths.reduce(
    (history, [queue, reason], i) =>
      die(history, { queue, reason, timeMs: i, exchange: `x${i}`, routingKeys: [`k${i}`] }),
    NO_HISTORY,
  )

test('the newest death is first, and each queue and reason is listed once, with its count', () => {
  const history = after(['a', 'expired'], ['b', 'rejected'], ['a', 'expired'], ['a', 'maxlen'])
  expect(history.deaths.map(({ queue, reason, count }) => [queue, reason, count])).toEqual([
    ['a', 'maxlen', 1],
    ['a', 'expired', 2],
    ['b', 'rejected', 1],
  ])
})

test('a repeated death keeps where it was published at first, and takes the time of the last', () => {
  const [again] = after(['a', 'expired'], ['a', 'expired']).deaths
  expect(again).toMatchObject({ exchange: 'x0', routingKeys: ['k0'], timeMs: 1, count: 2 })
})

test('the first death is remembered for ever, the last one until the next', () => {
  const history = after(['a', 'expired'], ['b', 'rejected'], ['c', 'maxlen'])
  expect(history.first).toEqual({ queue: 'a', reason: 'expired', exchange: 'x0' })
  expect(history.last).toEqual({ queue: 'c', reason: 'maxlen', exchange: 'x2' })
})

test('a message would cycle when it comes back to where it died and nobody has rejected it since', () => {
  expect(wouldCycle(NO_HISTORY, 'a')).toBe(false)
  expect(wouldCycle(after(['a', 'expired']), 'a')).toBe(true)
  expect(wouldCycle(after(['a', 'expired']), 'b')).toBe(false)
  expect(wouldCycle(after(['a', 'expired'], ['b', 'maxlen']), 'a')).toBe(true)
  expect(wouldCycle(after(['a', 'expired'], ['b', 'rejected']), 'a')).toBe(false)
  expect(wouldCycle(after(['a', 'rejected'], ['b', 'expired']), 'b')).toBe(true)
})
