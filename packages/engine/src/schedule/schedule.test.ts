import { EngineWorld } from '@stathmos/testkit'
import { expect, test } from 'vitest'

const SMALL = {
  pageEntries: 8,
  ringBytes: 1024,
  coldBytes: 512,
  blockBytes: 256,
  fileBytes: 6144,
  checkpointBytes: 512,
}
const LATER = {
  name: 'later',
  type: 'direct',
  durable: true,
  autoDelete: false,
  internal: false,
  delayed: true,
  opaque: '',
} as const

async function open(options: Parameters<typeof EngineWorld.open>[0] = {}) {
  const world = await EngineWorld.open(options)
  world.queue('q')
  world.vhost.declareExchange(LATER)
  world.vhost.bind('later', { kind: 'queue', name: 'q' }, 'k')
  return world
}

const later = (world: EngineWorld, text: string, delayMs: number, options = {}): number =>
  world.publish('k', text, { exchange: 'later', delayMs, ...options })
const texts = (world: EngineWorld): Promise<string[]> => world.texts(world.vhost.queue('q')!)

test('messages come at their moments, whatever the order in which they were sent', async () => {
  const world = await open()
  for (const [text, delay] of [
    ['c', 300],
    ['a', 100],
    ['b', 200],
  ] as const)
    later(world, text, delay)
  await world.settle()
  await world.simulation.elapse(98)
  expect(await texts(world)).toEqual([])
  await world.simulation.elapse(10)
  expect(await texts(world)).toEqual(['a'])
  await world.simulation.elapse(200)
  expect(await texts(world)).toEqual(['a', 'b', 'c'])
  expect(world.vhost.schedule.size).toBe(0)
})

test('what was scheduled outlives a stop and a crash, and comes at once when its moment has passed', async () => {
  const world = await open()
  later(world, 'kept', 1000)
  later(world, 'transient', 1000, { persistent: false })
  later(world, 'far', 100_000)
  await world.settle()
  await world.reopen()
  expect(world.vhost.schedule.size).toBe(2)
  await world.kill()
  expect(world.vhost.schedule.size).toBe(2)
  await world.simulation.elapse(5000)
  expect(await texts(world)).toEqual(['kept'])
  await world.kill()
  expect(await texts(world)).toEqual(['kept'])
  expect(world.vhost.schedule.size).toBe(1)
})

test('a time to live begins when the message comes', async () => {
  const world = await open()
  later(world, 'a', 500, { ttlMs: 100 })
  await world.settle()
  await world.simulation.elapse(550)
  expect(await texts(world)).toEqual(['a'])
  await world.simulation.elapse(100)
  expect(await texts(world)).toEqual([])
})

test('a message that is due and is refused becomes a dead letter where the queue says so', async () => {
  const world = await open()
  const dead = world.queue('dead')
  for (const overflow of ['reject', 'reject-dead-letter'] as const) {
    world.queue(overflow, { lengthMax: 0, overflow, deadLetterExchange: '', deadLetterKey: 'dead' })
    world.vhost.bind('later', { kind: 'queue', name: overflow }, 'k')
  }
  later(world, 'a', 10)
  await world.settle()
  await world.simulation.elapse(20)
  expect(await texts(world)).toEqual(['a'])
  expect(await world.texts(dead)).toEqual(['a'])
  await world.kill()
  expect(await world.texts(world.vhost.queue('dead')!)).toEqual(['a'])
})

test('a limit of bytes is no matter for a transient message that is due', async () => {
  const world = await open()
  const queue = world.queue('bytes', { bytesMax: 100, overflow: 'reject' })
  world.vhost.bind('later', { kind: 'queue', name: 'bytes' }, 'k')
  later(world, 'a', 10, { persistent: false })
  await world.settle()
  await world.simulation.elapse(20)
  expect(await world.texts(queue)).toEqual(['a'])
  expect(queue.bytes).toBe(1)
})

// ---- list, cancel, move

test('what waits can be listed from any place', async () => {
  const world = await open()
  const now = world.simulation.nowMs
  for (let i = 0; i < 5; i++) later(world, `${i}`, 1000 - i)
  const { schedule } = world.vhost
  const all = await world.simulation.finish(schedule.list(0, 10))
  expect(all.map(({ dueAtMs }) => dueAtMs - now)).toEqual([1000, 999, 998, 997, 996])
  const part = await world.simulation.finish(schedule.list(all[1]!.id + 1, 2))
  expect(part).toEqual(all.slice(2, 4))
  expect(await world.simulation.finish(schedule.list(99, 2))).toEqual([])
})

test('a cancelled message does not come, not after a crash either; cancelling twice does nothing', async () => {
  const world = await open()
  for (const text of ['a', 'b']) later(world, text, 100)
  const [a] = await world.simulation.finish(world.vhost.schedule.list(0, 10))
  expect(await world.simulation.finish(world.vhost.schedule.cancel(a!.id))).toBe(true)
  expect(await world.simulation.finish(world.vhost.schedule.cancel(a!.id))).toBe(false)
  expect(await world.simulation.finish(world.vhost.schedule.cancel(77))).toBe(false)
  await world.settle()
  await world.kill()
  await world.simulation.elapse(200)
  expect(await texts(world)).toEqual(['b'])
})

test('a moved message comes once, at its new moment, also after a crash', async () => {
  const world = await open()
  const now = world.simulation.nowMs
  for (const text of ['a', 'b', 'c']) later(world, text, 1000)
  const { schedule } = world.vhost
  const [a, b] = await world.simulation.finish(schedule.list(0, 10))
  const moved = await world.simulation.finish(schedule.reschedule(a!.id, now + 5000))
  expect(moved).toBeGreaterThan(a!.id)
  expect(await world.simulation.finish(schedule.reschedule(a!.id, now))).toBeNull()
  await world.simulation.finish(schedule.reschedule(b!.id, now + 100))
  await world.simulation.elapse(150)
  expect(await texts(world)).toEqual(['b'])
  expect(await world.simulation.finish(schedule.cancel(b!.id))).toBe(false)
  await world.kill()
  await world.simulation.elapse(1000)
  expect(await texts(world)).toEqual(['b', 'c'])
  await world.reopen()
  await world.simulation.elapse(4000)
  expect(await texts(world)).toEqual(['b', 'c', 'a'])
})

test('a retry that waits can be moved, and keeps its queue and its attempts', async () => {
  const world = await open()
  world.publish('q', 'a')
  await world.settle()
  const queue = world.vhost.queue('q')!
  queue.release((await world.get(queue))!.ticket, { failed: true, delayMs: 60_000 })
  const [waiting] = await world.simulation.finish(world.vhost.schedule.list(0, 1))
  await world.simulation.finish(world.vhost.schedule.reschedule(waiting!.id, world.simulation.nowMs))
  await world.settle()
  expect(await world.get(queue)).toMatchObject({ text: 'a', attempts: 1, redelivered: true })
})

test('a long schedule lies on disk; it is listed, cancelled, moved and kept from there', async () => {
  const world = await open({ limits: SMALL })
  for (let i = 0; i < 150; i++) {
    later(world, `${i}`, 10_000 + i)
    if (i % 5 === 4) await world.settle()
  }
  await world.simulation.elapse(50)
  await world.reopen()
  const { schedule } = world.vhost
  const resident = (): number => schedule.line.pages.filter((page) => page.resident).length
  expect(resident()).toBe(1)
  const all = await world.simulation.finish(schedule.list(0, 1000))
  expect(all).toHaveLength(150)
  expect(resident()).toBeLessThan(4)
  expect(await world.simulation.finish(schedule.cancel(all[40]!.id))).toBe(true)
  expect(await world.simulation.finish(schedule.cancel(all[40]!.id))).toBe(false)
  await world.simulation.finish(schedule.reschedule(all[50]!.id, world.simulation.nowMs + 1))
  await world.simulation.elapse(50)
  expect(await texts(world)).toEqual(['50'])
  await world.settle()
  await world.kill()
  await world.simulation.elapse(15_000)
  for (let i = 0; i < 50; i++) await world.settle()
  const rest = Array.from({ length: 150 }, (_, i) => `${i}`).filter((text) => text !== '40' && text !== '50')
  expect(await texts(world)).toEqual(['50', ...rest])
  expect(world.vhost.schedule.size).toBe(0)
})

test('a vhost that is deleted while its schedule is being read takes it along', async () => {
  const world = await open({ limits: SMALL, slowDisk: true })
  for (let i = 0; i < 60; i++) {
    later(world, `${i}`, 500)
    if (i % 5 === 4) await world.settle()
  }
  await world.reopen()
  await world.simulation.elapse(450)
  for (let i = 0; i < 15; i++) await world.simulation.step()
  world.engine.deleteVHost('/')
  await world.simulation.elapse(1000)
  expect(world.engine.failed).toBeNull()
  await world.reopen()
  expect(world.engine.vhost('/')).toBeUndefined()
})
