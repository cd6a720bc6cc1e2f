import { seededRandom, systemClock, type Clock } from '@stathmos/std'
import { beforeEach, expect, test } from 'vitest'
import { silentLog, type Log } from '../log/log.ts'
import { GuessLimiter } from './guess-limiter.ts'

const GUESSER = '10.0.0.1'
const OTHER = '10.0.0.2'

let now: number
let timers: { at: number; action: () => void }[]
let warnings: unknown[]
let limiter: GuessLimiter
let checks: number

const clock: Clock = {
  ...systemClock,
  monotonic: () => now,
  after(delay, action) {
    const timer = { at: now + delay, action }
    timers.push(timer)
    return { cancel: () => void timers.splice(timers.indexOf(timer), 1) }
  },
}
const log: Log = { ...silentLog, warn: (message, fields) => warnings.push([message, fields]) }

/** A check that takes 50 ms and finds the password wrong. */
const wrong = (): Promise<boolean> => {
  checks++
  now += 50
  return Promise.resolve(false)
}
const right = (): Promise<boolean> => Promise.resolve(true)

/** Lets what is due run, and what follows from it in microtasks. */
async function advance(ms: number): Promise<void> {
  now += ms
  for (const timer of timers.filter(({ at }) => at <= now)) {
    timers.splice(timers.indexOf(timer), 1)
    timer.action()
  }
  await new Promise((resolve) => setImmediate(resolve))
}

async function becomeSuspect(): Promise<void> {
  for (let guess = 0; guess <= 5; guess++) expect(await limiter.run(GUESSER, 'ann', wrong)).toBe(false)
}

beforeEach(() => {
  now = 0
  timers = []
  warnings = []
  checks = 0
  limiter = new GuessLimiter(clock, seededRandom(1), log)
})

test('five wrong passwords are forgiven; one more slows the address, and the log says so once', async () => {
  await becomeSuspect()
  expect(timers).toEqual([])
  expect(await limiter.run(GUESSER, 'ann', wrong)).toBe(false)
  expect(timers).toHaveLength(1)
  expect(warnings).toEqual([['logins slowed: too many wrong passwords', { peer: GUESSER }]])
})

test('a slowed address gets one check at a time, and a rest of 119 times as long after each', async () => {
  await becomeSuspect()
  const answers = [limiter.run(GUESSER, 'ann', wrong), limiter.run(GUESSER, 'ann', wrong)]
  await advance(0)
  expect(checks).toBe(7)
  await advance(5949)
  expect(checks).toBe(7)
  await advance(1)
  expect(checks).toBe(8)
  const last = limiter.run(GUESSER, 'ann', right)
  await advance(5950)
  expect(await Promise.all(answers.map((answer) => Promise.resolve(answer)))).toEqual([false, false])
  expect(await last).toBe(true)
})

test('of many slowed logins one waits and the others are turned away unchecked', async () => {
  await becomeSuspect()
  const answers = Array.from({ length: 20 }, () => limiter.run(GUESSER, 'ann', wrong))
  // One is being checked and another waits.
  expect(new Set(answers.slice(2))).toEqual(new Set([null]))
  expect(checks).toBe(7)
})

test('logins that came before their address was slowed are slowed with it', async () => {
  const answers = Array.from({ length: 100 }, () => limiter.run(GUESSER, 'ann', wrong))
  expect(new Set(await Promise.all(answers.slice(7).map((answer) => Promise.resolve(answer))))).toEqual(new Set([null]))
  await advance(0)
  // Six were checked at full speed; the seventh is the first of the slowed ones.
  expect(checks).toBe(7)
})

test('other addresses are not slowed', async () => {
  await becomeSuspect()
  for (let guess = 0; guess < 20; guess++) void limiter.run(GUESSER, 'ann', wrong)
  expect(await limiter.run(OTHER, 'ann', right)).toBe(true)
  expect(checks).toBe(7)
})

test('of the other users at that address most are not slowed', async () => {
  await becomeSuspect()
  for (let guess = 0; guess < 20; guess++) void limiter.run(GUESSER, 'ann', wrong)
  const answers = Array.from({ length: 64 }, (_, user) => limiter.run(GUESSER, `user-${user}`, right))
  const letIn = await Promise.all(answers.filter((answer) => answer !== null))
  expect(letIn.length).toBeGreaterThan(48)
  expect(letIn.length).toBeLessThan(64)
})

test('right passwords never slow an address', async () => {
  for (let login = 0; login < 100; login++) expect(await limiter.run(OTHER, 'ann', right)).toBe(true)
  expect(timers).toEqual([])
})

test('an address that gives no wrong password for a minute is trusted again', async () => {
  await becomeSuspect()
  now += 60_000
  await limiter.run(GUESSER, 'ann', wrong)
  expect(timers).toEqual([])
})

test('more logins at once than can be served in time are turned away, the last ones first', async () => {
  let finish: (answer: boolean) => void = () => {}
  const slow = (): Promise<boolean> => new Promise((resolve) => (finish = resolve))
  const first = limiter.run(OTHER, 'ann', slow)
  const answers = Array.from({ length: 129 }, (_, index) => limiter.run(`10.1.0.${index}`, 'ann', right))
  expect(answers.at(-1)).toBeNull()
  finish(true)
  expect(await first).toBe(true)
  expect(new Set(await Promise.all(answers.slice(0, -1).map((answer) => Promise.resolve(answer))))).toEqual(
    new Set([true]),
  )
})

test('a check that fails lets the next one have its turn', async () => {
  await becomeSuspect()
  const failing = limiter.run(GUESSER, 'ann', () => Promise.reject(new Error('no thread')))
  const next = limiter.run(GUESSER, 'ann', right)
  await expect(failing).rejects.toThrow('no thread')
  await advance(0)
  expect(await next).toBe(true)
})
