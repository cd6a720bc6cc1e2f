import { beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Outbox } from './outbox.ts'
import { StoreTime } from './store-time.ts'

const Close = command('ticket.close', z.object({ ticketId: z.string() }))

let world: OutboxWorld
let outbox: Outbox<MemoryTransaction>

beforeEach(async () => {
  world = new OutboxWorld()
  outbox = new Outbox(world.process())
  await outbox.start()
})

/** Sends later, by another part of the program than the timers'. */
const later = (delay: `${number}${'ms' | 's' | 'd'}`, id: string, by = outbox): Promise<string> =>
  world.store.transaction((tx) => by.in(tx).send(Close, { ticketId: 't' }, { delay, id, cancelKey: id }))

test('a delayed message is sent when it is due, to the millisecond, and not before', async () => {
  await later('5s', 'm1')
  await world.clock.advance('4999ms')
  expect(world.sent()).toEqual([])
  await world.clock.advance('1ms')
  expect(world.sent()).toEqual(['m1'])
  expect(world.telemetry.counts.get(METRIC.timersFired)).toBe(1)
})

test('an earlier one shortens the sleep that a later one began', async () => {
  await later('1d', 'm1')
  await world.clock.advance('10s')
  await later('20ms', 'm2')
  await world.clock.advance('20ms')
  expect(world.sent()).toEqual(['m2'])
  await world.clock.advance('1d')
  expect(world.sent()).toEqual(['m2', 'm1'])
})

test('one that is set while the others are being looked at is not overslept', async () => {
  await outbox.stop()
  const { nextDue } = world.store.timers
  let setMeanwhile = true
  world.store.timers.nextDue = async () => {
    const dueAt = await nextDue.call(world.store.timers)
    if (setMeanwhile) {
      setMeanwhile = false
      await later('1800s', 'm1')
    }
    return dueAt
  }
  outbox = new Outbox(world.process(), { relay: { poll: '1d' } })
  await outbox.start()
  await world.clock.advance('30m')
  expect(world.sent()).toEqual(['m1'])
})

test('one that another process set is found within a second of its time', async () => {
  const other = new Outbox<MemoryTransaction>(world.process('other'), { relay: false })
  await world.clock.advance('1m')
  await later('100ms', 'm1', other)
  await world.clock.advance('1100ms')
  expect(world.sent()).toEqual(['m1'])
})

test('what was cancelled is never sent', async () => {
  await later('1s', 'm1')
  await world.store.transaction((tx) => outbox.in(tx).cancel('m1'))
  await world.clock.advance('1d')
  expect(world.sent()).toEqual([])
})

test('thousands that are due at once are all sent, in the order of their times', async () => {
  await world.store.transaction((tx) =>
    outbox
      .in(tx)
      .publishAll(
        Array.from(
          { length: 1200 },
          (_, i) =>
            [Close, { ticketId: 't' }, { id: `m${i}`, key: 'k', at: new Date(world.clock.now() + 1 + i) }] as const,
        ),
      ),
  )
  await world.clock.advance('5s')
  expect(world.sent()).toEqual(Array.from({ length: 1200 }, (_, i) => `m${i}`))
})

test('a program that ends after each piece of work sends what is due', async () => {
  await outbox.stop()
  await later('1s', 'm1')
  await world.clock.advance('2s')
  expect(world.sent()).toEqual([])
  await outbox.drain()
  expect(world.sent()).toEqual(['m1'])
})

test('how late the timers are is told', async () => {
  await outbox.stop()
  await later('10s', 'm1')
  const writer = new Outbox<MemoryTransaction>(world.process('writer'), { relay: false })
  await writer.start()
  expect(await world.telemetry.gauge(METRIC.timersOverdue)).toBe(0)
  await world.clock.advance('40s')
  expect(await world.telemetry.gauge(METRIC.timersOverdue)).toBe(30)
})

test("a machine's wrong clock moves nothing: the store's is what counts", async () => {
  const store = { now: async () => world.clock.now() + 3_600_000 }
  const time = new StoreTime(store, world.clock)
  expect(time.now()).toBe(world.clock.now())
  await time.refresh()
  expect(time.now()).toBe(world.clock.now() + 3_600_000)
  await world.clock.advance('1500ms')
  expect(time.now()).toBe(world.clock.now() + 3_600_000)
})

test('a key that a transaction holds has only its own timers wait, and nobody asks for them all the time', async () => {
  const timer = (id: string, key: string, afterMs: number) => ({
    draft: world.draft({ id, key }),
    dueAt: world.clock.now() + afterMs,
    cancelKey: null,
  })
  await world.store.transaction((tx) =>
    world.store.timers.set(tx, [timer('held', 'k', 1000), timer('free', 'l', 2000), timer('late', 'l', 30_000)]),
  )
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => (end = resolve))
  const holding = world.store.transaction(async (tx) => {
    await world.store.outbox.add(tx, [world.draft({ id: 'first', key: 'k' })])
    await ended
  })
  let looks = 0
  const { fire } = world.store.timers
  world.store.timers.fire = (limit) => {
    looks++
    return fire.call(world.store.timers, limit)
  }
  await world.clock.advance('60s')
  expect(world.sent()).toEqual(['free', 'late'])
  expect(looks).toBeLessThan(700)
  end()
  await holding
  await world.clock.advance('1s')
  expect(world.sent()).toEqual(['free', 'late', 'first', 'held'])
})
