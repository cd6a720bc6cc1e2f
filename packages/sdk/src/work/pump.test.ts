import { AsyncLocalStorage } from 'node:async_hooks'
import { beforeEach, expect, test } from 'vitest'
import { silentLog } from '../log.ts'
import type { Clock } from '../time/clock.ts'
import { Activity } from './activity.ts'
import { Pump } from './pump.ts'

let now: number
let timers: { at: number; fire: () => void }[]
let activity: Activity
let turns: number
let next: () => Promise<number>

const clock: Clock = {
  now: () => now,
  monotonic: () => now,
  after(delayMs, fire) {
    const timer = { at: now + delayMs, fire }
    timers.push(timer)
    return { cancel: () => void (timers = timers.filter((other) => other !== timer)) }
  },
}

const pump = (): Pump =>
  new Pump({
    name: 'test',
    clock,
    activity,
    log: silentLog,
    turn() {
      turns++
      return next()
    },
  })

async function advance(ms: number): Promise<void> {
  now += ms
  for (const timer of timers.filter(({ at }) => at <= now)) {
    timers = timers.filter((other) => other !== timer)
    timer.fire()
  }
  await activity.whenIdle()
}

beforeEach(() => {
  now = 0
  timers = []
  turns = 0
  activity = new Activity()
  next = () => Promise.resolve(1000)
})

test('turns follow each other at once as long as there is more, and then after a pause', async () => {
  const pauses = [0, 0, 500]
  next = () => Promise.resolve(pauses.shift() ?? 1000)
  pump().start()
  await activity.whenIdle()
  expect(turns).toBe(3)
  await advance(499)
  expect(turns).toBe(3)
  await advance(1)
  expect(turns).toBe(4)
})

test('being woken ends the pause, however often', async () => {
  const woken = pump()
  woken.start()
  await activity.whenIdle()
  for (let i = 0; i < 10; i++) woken.wake()
  await activity.whenIdle()
  // One turn for the first wake, and one for those that came while it was under way.
  expect(turns).toBe(3)
  expect(timers).toHaveLength(1)
})

test('being woken for later brings the next turn forward and does not put it off', async () => {
  const woken = pump()
  woken.start()
  await activity.whenIdle()
  woken.wakeIn(10)
  woken.wakeIn(5000)
  await advance(10)
  expect(turns).toBe(2)
  expect(timers).toHaveLength(1)
})

test('a turn that fails is repeated after a pause that doubles, and being woken does not shorten it', async () => {
  next = () => Promise.reject(new Error('no store'))
  const failing = pump()
  failing.start()
  await activity.whenIdle()
  expect(timers[0]?.at).toBe(100)
  await advance(100)
  expect(timers[0]?.at).toBe(300)
  next = () => Promise.resolve(1000)
  await advance(200)
  expect(timers[0]?.at).toBe(1300)
})

test('stopping waits for the turn that is under way, and nothing begins after it', async () => {
  let finish: (pause: number) => void = () => {}
  next = () => new Promise((resolve) => (finish = resolve))
  const stopping = pump()
  stopping.start()
  let stopped = false
  const done = stopping.stop().then(() => (stopped = true))
  await Promise.resolve()
  expect(stopped).toBe(false)
  finish(0)
  await done
  stopping.wake()
  expect(turns).toBe(1)
  expect(timers).toEqual([])
})

test('an endless pause waits for being woken alone', async () => {
  next = () => Promise.resolve(Infinity)
  pump().start()
  await activity.whenIdle()
  expect(timers).toEqual([])
})

test('turns run in the async context of the start, whoever wakes, and whoever set the timer', async () => {
  const requests = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  next = async () => {
    seen.push(requests.getStore())
    return 1000
  }
  const woken = pump()
  requests.run('start', () => woken.start())
  await activity.whenIdle()
  requests.run('one request', () => woken.wake())
  await activity.whenIdle()
  requests.run('another', () => woken.wakeIn(5))
  await advance(5)
  await advance(1000)
  expect(seen).toEqual(['start', 'start', 'start', 'start'])
})
