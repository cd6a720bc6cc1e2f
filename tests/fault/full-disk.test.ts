import { Draft, type Engine, type Files, type Limits, openEngine, type Queue } from '@stathmos/engine'
import { bodyOf, FaultyFiles, MemoryFiles, SimulatedDisk, type Simulation, simulate } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { STANDARD_EXCHANGES } from '../simulation/topology.ts'

const SMALL: Partial<Limits> = {
  fileBytes: 16 * 1024,
  blockBytes: 1024,
  ringBytes: 8 * 1024,
  coldBytes: 8 * 1024,
  checkpointBytes: 16 * 1024,
  reserveBytes: 40_000,
  diskFreeMin: 0,
}

interface World {
  readonly simulation: Simulation
  readonly engine: Engine
  readonly queue: Queue
  readonly fatal: Error[]
  /** Numbers of the messages that are confirmed and not accepted. */
  readonly owed: Set<number>
  publish(id: number): void
  /** Takes up to `count` messages and accepts them; resolves when the broker has it on disk. */
  drain(count: number): Promise<void>
}

async function open(files: Files, limits: Partial<Limits> = {}, simulation = simulate({ seed: 5 })): Promise<World> {
  const fatal: Error[] = []
  const opening = openEngine({
    dataDir: '/data',
    files: new SimulatedDisk(files, simulation),
    clock: simulation.clock,
    random: simulation.random,
    limits: { ...SMALL, ...limits },
    standardExchanges: STANDARD_EXCHANGES,
    onFatal: (error) => void fatal.push(error),
  })
  const engine = await simulation.finish(opening)
  const vhost = engine.vhost('/')!
  const settings = { overflow: 'drop-head' } as const
  const definition = { name: 'work', durable: true, exclusive: false, autoDelete: false, settings, opaque: '' }
  const { queue } = vhost.declareQueue(definition, null)
  const owed = new Set<number>()
  const publish = (id: number): void => {
    const draft = new Draft()
    draft.body = messageOf(id)
    draft.bodyView = new DataView(draft.body.buffer)
    draft.bodyEnd = draft.body.length
    const position = vhost.publish(vhost.route('', 'work')!, draft)
    const waiter = {
      durable: (durable: number): void => {
        if (position < durable) owed.add(id)
        else engine.awaitDurable(waiter)
      },
    }
    engine.awaitDurable(waiter)
  }
  const drain = async (count: number): Promise<void> => {
    const accepted: number[] = []
    for (let i = 0; i < count; i++) {
      let answered = false
      queue.get(true, (_ticket, message) => {
        answered = true
        if (message !== null) accepted.push(numberOf(message.body()))
      })
      await simulation.until(() => answered)
    }
    await simulation.finish(engine.durably())
    for (const id of accepted) owed.delete(id)
  }
  return { simulation, engine, queue, fatal, owed, publish, drain }
}

/** Some 500 bytes that only this number has. */
function messageOf(id: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(500)
  new DataView(bytes.buffer).setUint32(0, id)
  bytes.set(bodyOf(id).subarray(0, 400), 4)
  return bytes
}

function numberOf(body: Uint8Array): number {
  const id = Buffer.from(body).readUInt32BE(0)
  expect(Buffer.from(body).equals(messageOf(id))).toBe(true)
  return id
}

/** Publishes until the broker wants no more. */
async function fill(world: World, first = 1): Promise<number> {
  let id = first
  for (; world.engine.flow.blocked === null && id < first + 5000; id++) {
    world.publish(id)
    await world.simulation.elapse(20)
  }
  expect(world.engine.flow.blocked).toBe('disk')
  return id
}

/** What a broker finds in the queue that starts on these files. */
async function found(files: MemoryFiles): Promise<number[]> {
  const world = await open(files.kill({}))
  const ids: number[] = []
  for (let empty = false; !empty;) {
    let answered = false
    world.queue.get(false, (_ticket, message) => {
      answered = true
      empty = message === null
      if (message !== null) ids.push(numberOf(message.body()))
    })
    await world.simulation.until(() => answered)
  }
  return ids
}

test.each([
  ['at the wall', 0],
  ['before the wall', 60_000],
])(
  'a full disk, noticed %s: publishers are blocked, consumers drain, and it recovers by itself',
  async (_, diskFreeMin) => {
    const files = new MemoryFiles({ capacityBytes: 300_000 })
    const world = await open(files, { diskFreeMin })
    const next = await fill(world)
    await world.simulation.elapse(5000)
    expect(world.engine.flow.blocked).toBe('disk')
    expect(world.owed.size).toBeGreaterThan(200)

    await world.drain(world.queue.ready - 20)
    await world.simulation.elapse(10_000)
    expect(world.fatal).toEqual([])
    expect(world.engine.flow.blocked).toBeNull()

    for (let id = next; id < next + 30; id++) world.publish(id)
    await world.simulation.finish(world.engine.durably())
    expect(world.owed.size).toBeGreaterThanOrEqual(50)
    const after = await found(files)
    expect(new Set(after).size).toBe(after.length)
    expect([...world.owed].filter((id) => !after.includes(id))).toEqual([])
  },
)

test('a disk that runs low within one journal file: what was drained gives its room back all the same', async () => {
  const files = new MemoryFiles({ capacityBytes: 300_000 })
  const world = await open(files, { diskFreeMin: 100_000, fileBytes: 10_000_000, checkpointBytes: 10_000_000 })
  await fill(world)
  await world.drain(world.queue.ready)
  await world.simulation.elapse(10_000)
  expect(world.fatal).toEqual([])
  expect(world.engine.flow.blocked).toBeNull()
})

test('a full disk loses nothing that was confirmed when the power goes, too', async () => {
  const files = new MemoryFiles({ capacityBytes: 300_000 })
  const world = await open(files)
  await fill(world)
  for (let round = 0; round < 20; round++) {
    const owed = new Set(world.owed)
    const after = await found(files.crash(world.simulation.random))
    expect([...owed].filter((id) => !after.includes(id))).toEqual([])
    world.publish(9000 + round)
    await world.simulation.elapse(50 * round)
  }
  expect(world.fatal).toEqual([])
})

test('a broker starts on a disk that is full', async () => {
  const files = new MemoryFiles({ capacityBytes: 300_000 })
  const world = await open(files)
  await fill(world)
  const owed = new Set(world.owed)
  const again = await open(files.kill({ capacityBytes: 300_000 }))
  expect(again.queue.ready).toBeGreaterThanOrEqual(owed.size)
  await again.drain(again.queue.ready - 10)
  await again.simulation.elapse(10_000)
  expect(again.fatal).toEqual([])
  expect(again.engine.flow.blocked).toBeNull()
})

test('the disk is full for a while: what waited is stored when there is room, in order', async () => {
  const files = new MemoryFiles()
  const faulty = new FaultyFiles(files)
  const world = await open(faulty)
  for (let id = 1; id < 20; id++) world.publish(id)
  await world.simulation.finish(world.engine.durably())
  const room = faulty.arm({ kind: 'full', nth: 1, takenBytes: 7 })
  for (let id = 20; id < 40; id++) world.publish(id)
  await world.simulation.elapse(3000)
  expect(world.owed.size).toBe(19)
  expect(world.engine.flow.blocked).toBe('disk')
  room()
  await world.simulation.elapse(3000)
  expect(world.engine.flow.blocked).toBeNull()
  expect(await found(files)).toEqual(Array.from({ length: 39 }, (_, i) => i + 1))
  expect(world.owed.size).toBe(39)
})

test('a broker on a full disk can be stopped, and nothing confirmed is lost', async () => {
  const files = new MemoryFiles()
  const faulty = new FaultyFiles(files)
  const world = await open(faulty, { reserveBytes: 0 })
  for (let id = 1; id < 20; id++) world.publish(id)
  await world.simulation.finish(world.engine.durably())
  faulty.arm({ kind: 'full', nth: 1, takenBytes: 7 })
  for (let id = 20; id < 40; id++) world.publish(id)
  await world.simulation.elapse(3000)
  await world.simulation.finish(world.engine.close())
  expect(world.fatal).toEqual([])
  expect(world.owed.size).toBe(19)
  expect((await found(files)).slice(0, 19)).toEqual(Array.from({ length: 19 }, (_, i) => i + 1))
})

test('publishers are blocked before the disk is full, however fast they are', async () => {
  const files = new MemoryFiles({ capacityBytes: 16_000_000 })
  const world = await open(files, { diskFreeMin: 8_000_000, reserveBytes: 0, fileBytes: 1_000_000 })
  // Within the second between two looks they would fill it.
  for (let id = 1; world.engine.flow.blocked === null && id < 40_000; id++) {
    world.publish(id)
    if (id % 200 === 0) await world.simulation.finish(world.engine.durably())
  }
  expect(world.engine.flow.blocked).toBe('disk')
  expect(await files.freeBytes('/data')).toBeGreaterThan(4_000_000)
  expect(world.fatal).toEqual([])
})

test.each([
  ['the journal', /\.jnl$/],
  ['index pages', /\.idx$/],
  ['checkpoints', /CHECKPOINT/],
  ['anything', /./],
])('a disk that refuses writes of %s for a while blocks publishers, and it recovers by itself', async (_, path) => {
  const files = new MemoryFiles()
  const faulty = new FaultyFiles(files)
  const world = await open(faulty)
  for (let id = 1; id < 20; id++) world.publish(id)
  await world.simulation.finish(world.engine.durably())
  const well = faulty.arm({ kind: 'write-error', nth: 1, times: Infinity, path })
  for (let id = 20; id < 100; id++) {
    world.publish(id)
    await world.simulation.elapse(20)
  }
  await world.simulation.elapse(3000)
  expect(world.engine.flow.blocked).toBe('disk')
  const taken: number[] = []
  world.queue.get(true, (_ticket, message) => void (message !== null && taken.push(numberOf(message.body()))))
  await world.simulation.elapse(100)
  expect(taken).toEqual([1])
  well()
  await world.simulation.elapse(5000)
  expect(world.fatal).toEqual([])
  expect(world.engine.flow.blocked).toBeNull()
  expect(world.owed.size).toBe(99)
  const after = await found(files.crash(world.simulation.random))
  expect(after.filter((id) => id !== 1)).toEqual(Array.from({ length: 98 }, (_entry, i) => i + 2))
})

test.each([
  ['a failed sync', { kind: 'sync-error', nth: 3, path: /\.jnl$/ }],
  ['a failed sync of a directory', { kind: 'directory-sync-error', nth: 1, path: /journal$/ }],
] as const)('%s stops the broker: nothing is confirmed or answered after it', async (_, fault) => {
  const files = new MemoryFiles()
  const faulty = new FaultyFiles(files)
  const world = await open(faulty)
  faulty.arm(fault)
  let id = 1
  for (; world.fatal.length === 0 && id < 1000; id++) {
    world.publish(id)
    await world.simulation.elapse(10)
  }
  expect(world.fatal.length).toBe(1)
  const owed = new Set(world.owed)
  for (let more = 0; more < 20; more++) {
    world.publish(id + more)
    await world.simulation.elapse(10)
  }
  await expect(world.simulation.finish(world.engine.durably())).rejects.toThrow(/journal|could not|no write/)
  expect(world.owed).toEqual(owed)
  expect(world.fatal.length).toBe(1)
  const after = await found(files.crash(world.simulation.random))
  expect([...owed].filter((one) => !after.includes(one))).toEqual([])
})
