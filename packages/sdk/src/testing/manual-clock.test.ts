import { expect, test } from 'vitest'
import { manualClock } from './manual-clock.ts'

test('time stands still until it is moved on', async () => {
  const clock = manualClock(1000)
  expect([clock.now(), clock.monotonic()]).toEqual([1000, 0])
  await clock.settle()
  expect(clock.now()).toBe(1000)
  await clock.advance('2s')
  expect([clock.now(), clock.monotonic()]).toEqual([3000, 2000])
})

test('timers fire in the order of their times, each at its own, and of one time in the order of setting', async () => {
  const clock = manualClock(0)
  const fired: [string, number][] = []
  for (const [name, delayMs] of [
    ['c', 30],
    ['a', 10],
    ['b', 20],
    ['b2', 20],
    ['later', 200],
  ] as const)
    clock.after(delayMs, () => fired.push([name, clock.now()]))
  await clock.advance(100)
  expect(fired).toEqual([
    ['a', 10],
    ['b', 20],
    ['b2', 20],
    ['c', 30],
  ])
  expect(clock.now()).toBe(100)
  expect(clock.nextAt).toBe(200)
})

test('what promises do because of a timer is done before the next one fires, timers that they set included', async () => {
  const clock = manualClock(0)
  const story: string[] = []
  clock.after(10, () => {
    void (async () => {
      for (let i = 0; i < 50; i++) await Promise.resolve()
      story.push(`first at ${clock.now()}`)
      clock.after(5, () => story.push(`its own at ${clock.now()}`))
    })()
  })
  clock.after(20, () => story.push(`second at ${clock.now()}`))
  await clock.advance(20)
  expect(story).toEqual(['first at 10', 'its own at 15', 'second at 20'])
})

test('a timer that was cancelled does not fire, not even when another one of its time cancels it', async () => {
  const clock = manualClock(0)
  const fired: string[] = []
  const cancelled = clock.after(10, () => fired.push('cancelled'))
  cancelled.cancel()
  clock.after(10, () => other.cancel())
  const other = clock.after(10, () => fired.push('other'))
  await clock.advance(10)
  expect(fired).toEqual([])
  expect(clock.nextAt).toBeNull()
})

test('time can go from timer to timer', async () => {
  const clock = manualClock(0)
  const fired: number[] = []
  clock.after(86_400_000, () => fired.push(clock.now()))
  expect(await clock.advanceToNext()).toBe(true)
  expect(fired).toEqual([86_400_000])
  expect(await clock.advanceToNext()).toBe(false)
})
