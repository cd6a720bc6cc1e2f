import { EngineWorld, SimulatedDisk } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { Draft, openEngine } from './index.ts'

const TINY = {
  fileBytes: 4096,
  blockBytes: 512,
  ringBytes: 2048,
  coldBytes: 1024,
  checkpointBytes: 4096,
  pageEntries: 8,
  reserveBytes: 0,
}

/** A draft whose bytes lie somewhere in a larger buffer, as they do when they come from a socket. */
function draftInBuffer(text: string): Draft {
  const chunk = Buffer.from(`some other frame${text}and the next one`)
  const draft = new Draft()
  draft.body = chunk
  draft.bodyView = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
  draft.bodyStart = 16
  draft.bodyEnd = 16 + Buffer.byteLength(text)
  return draft
}

test('a transaction keeps its own copy of what lies in the middle of a socket’s buffer', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const draft = draftInBuffer('what was meant')
  const transaction = world.vhost.begin()
  transaction.publish(world.vhost.route('', 'q')!, draft)
  draft.body.fill(0)
  await world.simulation.finish(transaction.commit())
  await world.settle()
  expect(await world.get(queue)).toMatchObject({ text: 'what was meant' })
})

test('a dead letter has the bytes of its original, wherever that was read from', async () => {
  const world = await EngineWorld.open({ limits: TINY })
  const queue = world.queue('q', { deadLetterExchange: '', deadLetterKey: 'dead' })
  const dead = world.queue('dead')
  for (let i = 0; i < 60; i++) {
    world.publish('q', `number ${i} ${'.'.repeat(i)}`)
    await world.settle()
  }
  await world.kill()
  const again = world.vhost.queue(queue.name)!
  for (let i = 0; i < 60; i++) again.reject((await world.get(again))!.ticket, 'rejected')
  await world.settle()
  const texts = await world.texts(world.vhost.queue(dead.name)!)
  expect(texts.sort()).toEqual(Array.from({ length: 60 }, (_, i) => `number ${i} ${'.'.repeat(i)}`).sort())
})

test('an answer to a rejection waits for a dead letter whose original must be read from disk', async () => {
  const world = await EngineWorld.open({ limits: TINY, slowDisk: true })
  const queue = world.queue('q', { deadLetterExchange: '', deadLetterKey: 'dead' })
  world.queue('dead')
  for (let i = 0; i < 60; i++) {
    world.publish('q', `number ${i} ${'.'.repeat(100)}`)
    await world.settle()
  }
  const { ticket } = (await world.get(queue))!
  // The others push the first one out of memory.
  for (let i = 0; i < 59; i++) await world.get(queue)
  queue.reject(ticket, 'rejected')
  await world.simulation.finish(world.engine.durably())
  await world.kill()
  expect(await world.texts(world.vhost.queue('dead')!)).toEqual([`number 0 ${'.'.repeat(100)}`])
  expect(world.vhost.queue('q')!.ready).toBe(59)
})

test('a message is delivered only when it is on disk, also while frames follow one another without a pause', async () => {
  const world = await EngineWorld.open({ slowDisk: true })
  const queue = world.queue('q')
  await world.settle()
  const early: string[] = []
  let delivered = 0
  queue.subscribe({
    credit: Number.POSITIVE_INFINITY,
    autoAccept: true,
    receiver: {
      deliver: (_consumer, _ticket, message) => {
        delivered++
        if (message.position >= world.engine.durablePosition) early.push(Buffer.from(message.body()).toString())
      },
      flush: () => {},
      cancelled: () => {},
    },
  })
  for (let i = 0; i < 300; i++) {
    world.publish('q', `${i}`)
    await world.simulation.step()
  }
  await world.settle()
  expect(delivered).toBe(300)
  expect(early).toEqual([])
})

test('an index file stays as long as the checkpoint on disk names it', async () => {
  for (let moment = 1; moment < 150; moment++) {
    const world = await EngineWorld.open({ limits: TINY, slowDisk: true })
    const queue = world.queue('q')
    for (let i = 0; i < moment; i++) {
      world.publish('q', `${i} ${'.'.repeat(100)}`)
      await world.simulation.step()
      await world.simulation.step()
    }
    // Everything that a checkpoint under way is writing down dies before it is done.
    queue.purge()
    await world.simulation.elapse(8)
    await world.kill()
    expect(world.engine.recovery.fresh).toBe(false)
  }
})

test('a directory whose repair was interrupted is refused', async () => {
  const world = await EngineWorld.open()
  await world.close()
  await world.files.makeDirectory('/data/repaired')
  const file = await world.files.open('/data/repaired/READY', 'create')
  await file.write([Buffer.from('{"fresh":[],"aside":"/data/damaged"}')], 0)
  const files = new SimulatedDisk(world.files, world.simulation)
  const opening = openEngine({ dataDir: '/data', files, clock: world.simulation.clock })
  await expect(world.simulation.finish(opening)).rejects.toThrow(/stathmos repair/)
})

test('a disk that fails while the reserve is taken again stops the broker', async () => {
  const failures: Error[] = []
  const world = await EngineWorld.open({
    limits: { reserveBytes: 1000 },
    onFatal: (error) => failures.push(error),
    disk: {
      beforeCall: (_, name, path) => {
        if (name === 'open' && path.endsWith('/reserve')) throw Object.assign(new Error('EROFS'), { code: 'EROFS' })
      },
    },
  })
  await world.simulation.elapse(world.engine.limits.watchMs)
  expect(failures).toEqual([])
  world.engine.flow.diskFull(true)
  await world.simulation.elapse(world.engine.limits.watchMs)
  expect(failures).toMatchObject([{ code: 'EROFS' }])
  await world.close()
})
