import { draftOf, EngineWorld, textOf } from '@stathmos/testkit'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openEngine } from './index.ts'

const SMALL = {
  pageEntries: 8,
  ringBytes: 1024,
  coldBytes: 512,
  blockBytes: 256,
  fileBytes: 6144,
  checkpointBytes: 512,
}

test('starting and stopping in any order, also without any work between, leaves a directory that opens', async () => {
  const world = await EngineWorld.open()
  for (let i = 0; i < 12; i++) {
    if (i % 3 === 2) await world.kill()
    else await world.reopen()
    expect(world.engine.recovery.clean).toBe(i % 3 !== 2)
  }
})

test('on the disk of this machine, what was confirmed is there again', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'engine-'))
  try {
    const engine = await openEngine({ dataDir, limits: { reserveBytes: 0 } })
    const vhost = engine.vhost('/')!
    const settings = { overflow: 'drop-head' as const }
    vhost.declareQueue({ name: 'q', durable: true, exclusive: false, autoDelete: false, settings, opaque: 'x' }, null)
    const position = vhost.publish(vhost.route('', 'q')!, draftOf('hello'))
    expect(engine.durablePosition).toBeLessThanOrEqual(position)
    await engine.durably()
    expect(engine.durablePosition).toBeGreaterThan(position)
    await engine.close()
    const again = await openEngine({ dataDir, limits: { reserveBytes: 0 } })
    expect(again.recovery).toMatchObject({ fresh: false, clean: true, messages: 1 })
    const queue = again.vhost('/')!.queue('q')!
    expect(queue.definition.opaque).toBe('x')
    expect((await queue.browse({ limit: 1 })).map(({ body }) => textOf(body))).toEqual(['hello'])
    await again.close()
  } finally {
    await rm(dataDir, { recursive: true })
  }
})

test('what was in somebody’s hands comes again marked as a repeat, after a crash and after a stop', async () => {
  const world = await EngineWorld.open()
  world.queue('q')
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  await world.get(world.vhost.queue('q')!)
  await world.reopen()
  expect(await world.get(world.vhost.queue('q')!)).toMatchObject({ text: 'a', redelivered: true })
  expect(await world.get(world.vhost.queue('q')!)).toMatchObject({ text: 'b', redelivered: false })
  await world.kill()
  for (const text of ['a', 'b']) {
    expect(await world.get(world.vhost.queue('q')!)).toMatchObject({ text, redelivered: true })
  }
})

test('transient messages and queues without durability do not outlive a stop', async () => {
  const world = await EngineWorld.open()
  world.queue('q')
  world.queue('gone', {}, { durable: false })
  world.publish('q', 'kept')
  world.publish('q', 'lost', { persistent: false })
  world.publish('gone', 'lost')
  await world.settle()
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['kept', 'lost'])
  await world.reopen()
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['kept'])
  expect(world.vhost.queue('gone')).toBeUndefined()
})

test('a waiter is told once, of a position behind what was published before', async () => {
  const world = await EngineWorld.open({ slowDisk: true })
  world.queue('q')
  const position = world.publish('q', 'a')
  const told: number[] = []
  world.engine.awaitDurable({ durable: (reached) => void told.push(reached) })
  await world.settle()
  world.publish('q', 'b')
  await world.settle()
  expect(told).toHaveLength(1)
  expect(told[0]!).toBeGreaterThan(position)
})

test('senders are told to wait while too much is on its way to the disk, and then to go on', async () => {
  const world = await EngineWorld.open({ slowDisk: true, limits: { pendingBytesMax: 1000 } })
  world.queue('q')
  await world.settle()
  expect(world.engine.canAccept()).toBe(true)
  for (let i = 0; i < 20; i++) world.publish('q', 'x'.repeat(100))
  expect(world.engine.canAccept()).toBe(false)
  let resumed = 0
  world.engine.onAccept(() => resumed++)
  await world.settle()
  expect([world.engine.canAccept(), resumed]).toEqual([true, 1])
})

test('a full disk holds up checkpoints, not the engine; they follow when there is room', async () => {
  let full = false
  const isCheckpoint = (path: string): boolean => path.includes('/index') || path.includes('CHECKPOINT')
  const world = await EngineWorld.open({
    limits: SMALL,
    disk: {
      beforeCall: (_call, name, path) => {
        if (full && (name === 'write' || name === 'open') && isCheckpoint(path)) {
          throw Object.assign(new Error(`ENOSPC: ${path}`), { code: 'ENOSPC' })
        }
      },
    },
  })
  const queue = world.queue('q')
  const publish = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      world.publish('q', `${i}`)
      await world.settle()
    }
  }
  full = true
  await publish(200)
  expect(world.engine.failed).toBeNull()
  const during = world.engine.storedBytes
  expect((await world.get(queue, true))!.text).toBe('0')
  full = false
  await world.simulation.elapse(2000)
  queue.purge()
  await publish(40)
  expect(world.engine.storedBytes).toBeLessThan(during)
  full = true
  await publish(40)
  await world.close()
  full = false
  await world.kill()
  expect(world.engine.recovery.clean).toBe(false)
  expect(world.vhost.queue('q')!.ready).toBe(80)
})

test('an engine that stops while something is read from disk stops in order', async () => {
  for (let steps = 0; steps < 25; steps++) {
    const world = await EngineWorld.open({ limits: SMALL, slowDisk: true })
    world.queue('q')
    for (let i = 0; i < 40; i++) {
      world.publish('q', `${i}`)
      if (i % 5 === 4) await world.settle()
    }
    await world.reopen()
    const queue = world.vhost.queue('q')!
    world.subscribe(queue, { autoAccept: true })
    queue.browse({ limit: 50 }).catch(() => {})
    for (let i = 0; i < steps; i++) await world.simulation.step()
    await world.close()
    await world.simulation.elapse(100)
    expect(world.engine.failed).toBeNull()
  }
})

test('vhosts are apart, and go with everything in them', async () => {
  const world = await EngineWorld.open()
  world.engine.createVHost('other')
  expect(world.engine.createVHost('other')).toBe(world.engine.vhost('other'))
  world.queue('q')
  expect(world.engine.vhost('other')!.queue('q')).toBeUndefined()
  const settings = { overflow: 'drop-head' as const }
  const definition = { name: 'q', durable: true, exclusive: false, autoDelete: false, settings, opaque: '' }
  world.engine.vhost('other')!.declareQueue(definition, null)
  world.engine.deleteVHost('other')
  expect(() => world.engine.deleteVHost('other')).toThrow(expect.objectContaining({ code: 'vhost_not_found' }))
  await world.settle()
  await world.kill()
  expect([...world.engine.vhosts()].map(({ name }) => name)).toEqual(['/'])
  expect(world.vhost.queue('q')).toBeDefined()
})

test('a queue that expires while the engine recovers goes when it has', async () => {
  const world = await EngineWorld.open({ slowDisk: true, limits: SMALL })
  world.queue('gone', { expiresMs: 1 })
  world.queue('q')
  for (let i = 0; i < 40; i++) world.publish('q', `${i}`)
  await world.simulation.finish(world.engine.durably())
  await world.kill()
  await world.simulation.elapse(10)
  expect(world.engine.failed).toBeNull()
  expect(world.vhost.queue('gone')).toBeUndefined()
})

test('what is asked after the storage has failed is refused, not left waiting', async () => {
  let broken = false
  const failures: Error[] = []
  const world = await EngineWorld.open({
    onFatal: (error) => void failures.push(error),
    disk: {
      beforeCall: (_call, name) => {
        if (broken && name === 'sync') throw Object.assign(new Error('EIO'), { code: 'EIO' })
      },
    },
  })
  world.queue('q')
  await world.settle()
  broken = true
  world.publish('q', 'a')
  await expect(world.simulation.finish(world.engine.durably())).rejects.toThrow('synced')
  world.publish('q', 'b')
  await expect(world.simulation.finish(world.engine.durably())).rejects.toThrow('synced')
  expect(failures).toHaveLength(1)
  expect(world.engine.failed).toBe(failures[0])
})
