import type { Queue } from '../index.ts'
import { EngineWorld } from '@stathmos/testkit'
import { expect, test } from 'vitest'

/** So small that a hundred messages are a long queue: nearly all of it is on disk. */
const SMALL = {
  pageEntries: 8,
  ringBytes: 1024,
  coldBytes: 512,
  blockBytes: 256,
  fileBytes: 6144,
  checkpointBytes: 512,
}

/** A queue of `count` messages, its middle on disk. */
async function backlog(
  count: number,
  options: { slowDisk?: boolean; settings?: Parameters<EngineWorld['queue']>[1] } = {},
) {
  const world = await EngineWorld.open({ limits: SMALL, slowDisk: options.slowDisk ?? false })
  const dead = world.queue('dead')
  const queue = world.queue('q', options.settings)
  await fill(world, count)
  return { world, queue, dead }
}

async function fill(world: EngineWorld, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    world.publish('q', `${i}`)
    if (i % 5 === 4) await world.settle()
  }
  await world.settle()
  await world.simulation.elapse(50)
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `${from + i}`)
const residentPages = (queue: Queue): number => queue.lines[0]!.pages.filter((page) => page.resident).length

test('a long queue is on disk but for its ends, and is delivered whole and in order', async () => {
  const { world, queue } = await backlog(300)
  expect(queue.lines[0]!.pages.length).toBeGreaterThan(30)
  expect(residentPages(queue)).toBeLessThan(8)
  const { inbox } = world.subscribe(queue, { autoAccept: true })
  await world.simulation.elapse(100)
  expect(inbox.texts).toEqual(numbers(300))
})

test('a released message that lies far behind is delivered next, whatever was written to disk meanwhile', async () => {
  const { world, queue } = await backlog(100)
  const { inbox, consumer } = world.subscribe(queue, { credit: 60 })
  await world.simulation.elapse(20)
  consumer.cancel()
  queue.release(inbox.got[3]!.ticket)
  queue.release(inbox.got[20]!.ticket)
  for (let i = 0; i < 60; i++) if (i !== 3 && i !== 20) queue.accept(inbox.got[i]!.ticket)
  // Checkpoints come and go.
  for (let i = 0; i < 100; i++) {
    world.publish('dead', 'filler'.repeat(10))
    await world.settle()
  }
  expect((await world.get(queue))!.text).toBe('3')
  expect((await world.get(queue))!.text).toBe('20')
  expect((await world.get(queue))!.text).toBe('60')
})

test('settling out of order over many pages frees each page when its last entry goes', async () => {
  const { world, queue } = await backlog(200)
  const { inbox } = world.subscribe(queue)
  await world.simulation.elapse(50)
  expect(inbox.texts).toEqual(numbers(200))
  const tickets = inbox.got.map(({ ticket }) => ticket)
  for (const ticket of tickets.filter((each) => each % 3 === 1)) queue.accept(ticket)
  await world.settle()
  for (const ticket of tickets.toReversed().filter((each) => each % 3 === 0)) queue.accept(ticket)
  await world.settle()
  expect(queue.inFlight).toBe(66)
  await world.simulation.elapse(20)
  await world.kill()
  const again = world.vhost.queue('q')!
  expect(await world.texts(again)).toEqual(numbers(200).filter((_, i) => i % 3 === 2))
  const rest = world.subscribe(again, { autoAccept: true })
  await world.simulation.elapse(50)
  expect(rest.inbox.got).toHaveLength(66)
  expect(again.lines[0]!.pages).toHaveLength(1)
})

test('purging what is on disk counts it, survives a crash, and frees the disk', async () => {
  const { world, queue } = await backlog(200)
  // Some of the pages on disk have settled entries too.
  const { inbox, consumer } = world.subscribe(queue, { credit: 50 })
  await world.simulation.elapse(20)
  consumer.cancel()
  for (const { ticket } of inbox.got) if (ticket % 2 === 0) queue.accept(ticket)
  for (const { ticket } of inbox.got) if (ticket % 2 === 1) queue.release(ticket)
  for (let i = 0; i < 40; i++) {
    world.publish('dead', 'filler'.repeat(10))
    await world.settle()
  }
  await world.reopen()
  const before = world.vhost.queue('q')!
  expect(before.ready).toBe(175)
  const stored = world.engine.storedBytes
  expect(residentPages(before)).toBe(1)
  expect(before.purge()).toBe(175)
  expect([before.ready, before.bytes]).toEqual([0, 0])
  world.vhost.queue('dead')!.purge()
  for (let i = 0; i < 20; i++) {
    world.publish('dead', 'filler'.repeat(10))
    await world.settle()
  }
  expect(world.engine.storedBytes).toBeLessThan(stored / 2)
  await world.simulation.elapse(20)
  await world.kill()
  const after = world.vhost.queue('q')!
  expect([after.ready, after.inFlight, after.bytes]).toEqual([0, 0, 0])
  world.publish('q', 'next')
  await world.settle()
  expect(await world.texts(after)).toEqual(['next'])
})

test('files with a survivor each are rewritten faster than a load can make them', async () => {
  const fileBytes = 40_000
  const world = await EngineWorld.open({ limits: { ...SMALL, fileBytes } })
  const queue = world.queue('q')
  world.queue('other')
  for (let i = 0; i < 1000; i++) {
    world.publish('q', `${i}`.padEnd(400))
    if (i % 5 === 4) await world.settle()
  }
  const { inbox } = world.subscribe(queue)
  await world.simulation.elapse(200)
  expect(inbox.got).toHaveLength(1000)
  const stored = world.engine.storedBytes
  for (const [i, { ticket }] of inbox.got.entries()) if (i % 100 !== 0) queue.accept(ticket)
  for (let i = 0; i < stored / fileBytes / 2; i++) {
    world.publish('other', 'enough for a checkpoint'.padEnd(600))
    await world.settle()
    await world.simulation.elapse(20)
  }
  expect(world.engine.storedBytes).toBeLessThan(stored / 3)
  await world.kill()
  const left = await world.texts(world.vhost.queue('q')!)
  expect(left.map((text) => text.trim())).toEqual(numbers(10).map((i) => `${Number(i) * 100}`))
})

test('a deleted queue frees what it had on disk, also when a crash comes before the next checkpoint', async () => {
  for (const crash of [false, true]) {
    const { world } = await backlog(200)
    await world.reopen()
    const stored = world.engine.storedBytes
    world.vhost.deleteQueue(world.vhost.queue('q')!)
    await world.settle()
    if (crash) await world.kill()
    expect(world.vhost.queue('q')).toBeUndefined()
    await world.reopen()
    await world.reopen()
    expect(world.engine.storedBytes).toBeLessThan(stored / 2)
    expect(world.engine.failed).toBeNull()
  }
})

test('a queue may be purged or deleted while its messages are being read', async () => {
  for (const end of ['purge', 'delete', 'cancel'] as const) {
    for (let steps = 0; steps < 40; steps += 3) {
      const { world } = await backlog(60, { slowDisk: true })
      await world.reopen()
      const queue = world.vhost.queue('q')!
      const { inbox, consumer } = world.subscribe(queue, { autoAccept: true })
      let got = 0
      queue.get(true, () => void got++)
      const browsing = queue.browse({ limit: 100 })
      for (let i = 0; i < steps; i++) await world.simulation.step()
      if (end === 'purge') queue.purge()
      else if (end === 'delete') world.vhost.deleteQueue(queue)
      else consumer.cancel()
      for (let i = 0; i < 20; i++) {
        world.publish('dead', 'filler'.repeat(10))
        await world.settle()
      }
      await world.simulation.finish(browsing)
      await world.simulation.elapse(50)
      expect(got).toBe(1)
      expect(world.engine.failed).toBeNull()
      if (end === 'cancel') expect(queue.ready).toBe(60 - inbox.got.length - got)
      else expect(queue.ready).toBe(0)
      await world.reopen()
    }
  }
})

test('what expires on disk becomes dead letters in order, each once', async () => {
  const { world, queue, dead } = await backlog(150, {
    settings: { messageTtlMs: 1000, deadLetterExchange: '', deadLetterKey: 'dead' },
  })
  await world.simulation.elapse(1000)
  for (let i = 0; i < 50; i++) await world.settle()
  expect(queue.ready + queue.inFlight).toBe(0)
  expect(await world.texts(dead)).toEqual(numbers(150))
})

test('what a lower limit drops from the disk becomes dead letters in order', async () => {
  const { world, dead } = await backlog(150, {
    settings: { lengthMax: 20, deadLetterExchange: '', deadLetterKey: 'dead' },
  })
  for (let i = 0; i < 50; i++) await world.settle()
  expect(await world.texts(dead)).toEqual(numbers(130))
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(numbers(20, 130))
})

test('a consumer that is slower than a slow disk loses nothing, nor order, through checkpoints', async () => {
  const { world, queue } = await backlog(100, { slowDisk: true })
  const { inbox } = world.subscribe(queue, { credit: 3 })
  inbox.onDeliver = ({ ticket }, consumer) => {
    world.simulation.at(world.simulation.nowMs + 2, () => {
      queue.accept(ticket)
      consumer.grant(1)
    })
  }
  await world.simulation.elapse(1000)
  expect(inbox.texts).toEqual(numbers(100))
  expect(queue.inFlight).toBe(0)
})

test('a single active consumer that leaves while the disk is read hands over to the next', async () => {
  const world = await EngineWorld.open({ limits: SMALL, slowDisk: true })
  world.queue('q', { singleActive: true })
  await fill(world, 60)
  await world.reopen()
  const queue = world.vhost.queue('q')!
  const first = world.subscribe(queue, { autoAccept: true })
  const second = world.subscribe(queue, { autoAccept: true })
  await world.simulation.step()
  first.consumer.cancel()
  await world.simulation.elapse(200)
  expect([...first.inbox.texts, ...second.inbox.texts]).toEqual(numbers(60))
})

// ---- browsing

test('browsing shows any part of a queue, of any state, and disturbs nothing', async () => {
  const { world, queue } = await backlog(200)
  const taken = [await world.get(queue), await world.get(queue), await world.get(queue)]
  queue.accept(taken[1]!.ticket)
  const resident = residentPages(queue)
  const all = await world.simulation.finish(queue.browse({ limit: 1000 }))
  expect(all.map(({ ticket }) => `${ticket}`)).toEqual(numbers(200).filter((text) => text !== '1'))
  expect(residentPages(queue)).toBeLessThanOrEqual(resident + 2)
  expect(all[0]).toMatchObject({ state: 'in_flight', key: 'q', exchange: '', redelivered: false, attempts: 0 })
  expect(all[5]).toMatchObject({ state: 'ready' })

  const part = await world.simulation.finish(queue.browse({ from: 100, limit: 3 }))
  expect(part.map(({ ticket }) => ticket)).toEqual([100, 101, 102])
  const next = await world.simulation.finish(queue.browse({ after: 102, limit: 2, state: 'ready' }))
  expect(next.map(({ ticket }) => ticket)).toEqual([103, 104])
  const held = await world.simulation.finish(queue.browse({ limit: 10, state: 'in_flight' }))
  expect(held.map(({ ticket }) => ticket)).toEqual([0, 2])
  expect(await world.simulation.finish(queue.browse({ from: 500, limit: 1 }))).toEqual([])

  const { inbox } = world.subscribe(queue, { autoAccept: true })
  await world.simulation.elapse(100)
  expect(inbox.texts).toEqual(numbers(197, 3))
  expect(inbox.got.some(({ redelivered, attempts }) => redelivered || attempts > 0)).toBe(false)
})

test('browsing goes through the priorities from the highest down, and on from any place', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { priorityMax: 3 })
  for (let i = 0; i < 8; i++) world.publish('q', `${i}`, { priority: i % 4 })
  await world.settle()
  expect(await world.texts(queue)).toEqual(['3', '7', '2', '6', '1', '5', '0', '4'])
  const texts: string[] = []
  let after: number | undefined
  for (;;) {
    const part = await world.simulation.finish(queue.browse({ limit: 3, ...(after === undefined ? {} : { after }) }))
    texts.push(...part.map(({ body }) => new TextDecoder().decode(body)))
    if (part.length === 0) break
    after = part.at(-1)!.ticket
  }
  expect(texts).toEqual(['3', '7', '2', '6', '1', '5', '0', '4'])
})

test('browsing shows a dead letter with its history, and a message with its end', async () => {
  const world = await EngineWorld.open()
  const dead = world.queue('dead')
  const queue = world.queue('q', { deadLetterExchange: '', deadLetterKey: 'dead' })
  world.publish('q', 'a', { ttlMs: 5000 })
  await world.settle()
  const [waiting] = await world.simulation.finish(queue.browse({ limit: 1 }))
  expect(waiting!.expiresAtMs - waiting!.timestampMs).toBe(5000)
  queue.reject((await world.get(queue))!.ticket, 'rejected')
  await world.settle()
  const [letter] = await world.simulation.finish(dead.browse({ limit: 1 }))
  expect(letter).toMatchObject({ key: 'dead', expiresAtMs: 0 })
  expect(letter!.history.deaths).toMatchObject([{ queue: 'q', reason: 'rejected', originalTtlMs: 5000 }])
})
