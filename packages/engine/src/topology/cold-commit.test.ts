// Commits that make dead letters of messages which have left memory.
import { draftOf, EngineWorld, FaultyFiles, type Fault, MemoryFiles, SimulatedDisk, simulate } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { openEngine, type Queue, type Transaction } from '../index.ts'

/** So little memory that a message leaves it soon. */
const TINY = {
  fileBytes: 4096,
  blockBytes: 512,
  ringBytes: 2048,
  coldBytes: 1024,
  checkpointBytes: 4096,
  pageEntries: 8,
}

const COUNT = 60
const textOf = (i: number): string => `number ${i} ${'.'.repeat(100)}`
const texts = (from: number, to = COUNT): string[] => Array.from({ length: to - from }, (_, i) => textOf(from + i))

interface Held {
  readonly world: EngineWorld
  readonly queue: Queue
  readonly dead: Queue
  readonly transaction: Transaction
  /** Of the messages in order; only the last ones are in memory. */
  readonly tickets: number[]
}

/** A queue of which every message is in our hands, and the first ones are on disk only. */
async function held(settings: Parameters<EngineWorld['queue']>[1] = {}, leaseMs?: number): Promise<Held> {
  const world = await EngineWorld.open({ limits: TINY, slowDisk: true })
  const dead = world.queue('dead')
  world.queue('out')
  const queue = world.queue('q', { deadLetterExchange: '', deadLetterKey: 'dead', ...settings })
  for (let i = 0; i < COUNT; i++) {
    world.publish('q', textOf(i))
    await world.settle()
  }
  const tickets: number[] = []
  for (let i = 0; i < COUNT; i++) tickets.push((await world.get(queue, false, leaseMs))!.ticket)
  return { world, queue, dead, transaction: world.vhost.begin(), tickets }
}

test('nothing of a commit has happened until every message that it rejects has been read', async () => {
  const { world, queue, dead, transaction, tickets } = await held()
  transaction.publish(world.vhost.route('', 'out')!, draftOf('new'))
  for (const i of [30, 0, 59]) transaction.reject(queue, tickets[i]!, 'rejected')
  transaction.accept(queue, tickets[1]!)
  let applied = 0
  const end = world.engine.durablePosition
  const committed = transaction.commit(() => applied++)
  expect([applied, queue.inFlight, dead.ready, world.vhost.queue('out')!.ready]).toEqual([0, COUNT, 0, 0])
  await world.simulation.until(() => applied > 0)
  expect([applied, queue.inFlight, dead.ready, world.vhost.queue('out')!.ready]).toEqual([1, COUNT - 4, 3, 1])
  expect(world.engine.durablePosition).toBe(end)
  expect(await world.simulation.finish(committed)).toBe(true)
  await world.kill()
  expect(await world.texts(world.vhost.queue('dead')!)).toEqual([textOf(30), textOf(0), textOf(59)])
  expect(world.vhost.queue('q')!.ready).toBe(COUNT - 4)
})

test('a failed attempt too many is part of the commit like a rejection', async () => {
  const { world, queue, dead, transaction, tickets } = await held({ deliveryLimit: 0 })
  transaction.release(queue, tickets[0]!, { failed: true })
  transaction.publish(world.vhost.route('', 'out')!, draftOf('new'))
  let applied = false
  const committed = transaction.commit(() => (applied = true))
  expect(applied).toBe(false)
  await world.simulation.finish(committed)
  expect(await world.texts(dead)).toEqual([textOf(0)])
})

test('a rejected message that is in memory does not wait for others of its queue that are on disk only', async () => {
  const { world, queue, dead, transaction, tickets } = await held()
  queue.reject(tickets[0]!, 'rejected')
  transaction.reject(queue, tickets[59]!, 'rejected')
  let applied = false
  const committed = transaction.commit(() => (applied = true))
  expect([applied, dead.ready]).toEqual([true, 1])
  await world.simulation.finish(committed)
  await world.settle()
  expect(await world.texts(dead)).toEqual([textOf(59), textOf(0)])
})

test('what is done with the same transaction while its commit reads comes after it', async () => {
  const { world, queue, transaction, tickets } = await held()
  const order: string[] = []
  const route = world.vhost.route('', 'out')!
  transaction.publish(route, draftOf('first'))
  transaction.reject(queue, tickets[0]!, 'rejected')
  const first = transaction.commit(() => order.push('first'))
  transaction.publish(route, draftOf('second'))
  const second = transaction.commit(() => order.push('second'))
  expect(order).toEqual([])
  await world.simulation.finish(second)
  expect(order).toEqual(['first', 'second'])
  expect(await first).toBe(true)
  expect(await world.texts(world.vhost.queue('out')!)).toEqual(['first', 'second'])
  // Nothing has to be read any more.
  transaction.publish(route, draftOf('third'))
  void transaction.commit(() => order.push('third'))
  expect(order).toEqual(['first', 'second', 'third'])
})

test('a rollback takes back a commit that still reads, and leaves its deliveries with their holder', async () => {
  const { world, queue, dead, transaction, tickets } = await held()
  transaction.publish(world.vhost.route('', 'out')!, draftOf('new'))
  transaction.reject(queue, tickets[0]!, 'rejected')
  const committed = transaction.commit(() => expect.unreachable())
  transaction.rollback()
  expect(await world.simulation.finish(committed)).toBe(false)
  await world.settle()
  expect([queue.inFlight, dead.ready, world.vhost.queue('out')!.ready]).toEqual([COUNT, 0, 0])
  queue.release(tickets[0]!)
  expect(await world.get(queue)).toMatchObject({ text: textOf(0) })
})

test('a queue that is deleted while a commit reads takes its messages with it, and the rest takes effect', async () => {
  const { world, queue, dead, transaction, tickets } = await held()
  transaction.publish(world.vhost.route('', 'out')!, draftOf('new'))
  for (const ticket of tickets.slice(0, 40)) transaction.reject(queue, ticket, 'rejected')
  const committed = transaction.commit()
  await world.simulation.step()
  world.vhost.deleteQueue(queue)
  expect(await world.simulation.finish(committed)).toBe(true)
  await world.settle()
  expect([dead.ready, world.vhost.queue('out')!.ready]).toEqual([0, 1])
})

test('a purge and the end of a lease leave a delivery to the commit that ends it', async () => {
  const { world, queue, dead, transaction, tickets } = await held({}, 60_000)
  transaction.reject(queue, tickets[0]!, 'rejected')
  // Both leases run out before anything can be read.
  for (const ticket of tickets.slice(0, 2)) queue.renew(ticket, 0)
  let applied = false
  const committed = transaction.commit(() => (applied = true))
  await world.simulation.until(() => queue.ready > 0)
  expect([applied, queue.ready, queue.inFlight]).toEqual([false, 1, COUNT - 1])
  queue.purge()
  expect(await world.simulation.finish(committed)).toBe(true)
  expect(await world.texts(dead)).toEqual([textOf(0)])
})

test('a transaction refuses to reject more than transactionBytesMax bytes, and keeps the rest', async () => {
  const world = await EngineWorld.open({ limits: { transactionBytesMax: 10 } })
  const dead = world.queue('dead')
  const queue = world.queue('q', { deadLetterExchange: '', deadLetterKey: 'dead' })
  const dropping = world.queue('dropping')
  for (const name of ['q', 'q', 'dropping']) world.publish(name, '123456')
  await world.settle()
  const transaction = world.vhost.begin()
  transaction.reject(queue, (await world.get(queue))!.ticket, 'rejected')
  const { ticket } = (await world.get(queue))!
  expect(() => transaction.reject(queue, ticket, 'rejected')).toThrow(
    expect.objectContaining({ code: 'limit_reached' }),
  )
  // No dead letter, no bytes.
  transaction.reject(dropping, (await world.get(dropping))!.ticket, 'rejected')
  await world.simulation.finish(transaction.commit())
  expect([dead.ready, queue.inFlight, dropping.inFlight]).toEqual([1, 1, 0])
})

test('a stop waits for a commit that still reads', async () => {
  const { world, queue, transaction, tickets } = await held()
  transaction.reject(queue, tickets[0]!, 'rejected')
  const committed = transaction.commit()
  await world.reopen()
  expect(await committed).toBe(true)
  expect(await world.texts(world.vhost.queue('dead')!)).toEqual([textOf(0)])
})

// ---- at every call to the disk

/** Lets a commit with rejected messages that are on disk only run into the call of this number, and a crash. */
async function crashAt(crashAtCall: number | null, power: boolean, faults: readonly Fault[] = []) {
  const simulation = simulate({ seed: 3 })
  const { clock, random } = simulation
  const files = new MemoryFiles()
  const faulty = new FaultyFiles(files)
  const disk = new SimulatedDisk(faulty, simulation, crashAtCall === null ? {} : { crashAtCall })
  const failures: Error[] = []
  const limits = { ...TINY, reserveBytes: 0, diskFreeMin: 0 }
  const options = { dataDir: '/data', clock, random, limits }
  const onFatal = (error: Error): void => void failures.push(error)
  const engine = await simulation.finish(openEngine({ ...options, files: disk, onFatal }))
  const vhost = engine.vhost('/')!
  const settings = { overflow: 'drop-head' as const, deadLetterExchange: '', deadLetterKey: 'dead' }
  const definition = { durable: true, exclusive: false, autoDelete: false, opaque: '', settings }
  for (const name of ['dead', 'out', 'q', 'old']) vhost.declareQueue({ ...definition, name }, null)
  const store = async (queue: string, text: string): Promise<void> => {
    vhost.publish(vhost.route('', queue)!, draftOf(text))
    await simulation.finish(engine.durably())
  }
  await store('old', 'old')
  for (let i = 0; i < COUNT; i++) await store('q', textOf(i))
  const take = async (name: string): Promise<number> => {
    let taken = -1
    vhost.queue(name)!.get(false, (ticket) => (taken = ticket))
    await simulation.until(() => taken >= 0)
    return taken
  }
  const old = await take('old')
  const tickets: number[] = []
  for (let i = 0; i < COUNT; i++) tickets.push(await take('q'))
  for (const fault of faults) faulty.arm(fault)
  const before = disk.calls
  const transaction = vhost.begin()
  transaction.publish(vhost.route('', 'out')!, draftOf('new'))
  transaction.accept(vhost.queue('old')!, old)
  for (const i of [0, 20, 59, 40]) transaction.reject(vhost.queue('q')!, tickets[i]!, 'rejected')
  let answer: boolean | Error | null = null
  let applied: number | null = null
  transaction
    .commit(() => (applied = disk.calls))
    .then(
      (done) => (answer = done),
      (error: unknown) => (answer = error as Error),
    )
  await simulation.until(() => answer !== null || disk.dead)
  const { calls } = disk
  simulation.forgetAll()
  const left = power ? files.crash(random) : files.kill()
  const again = await simulation.finish(openEngine({ ...options, files: left }))
  const found: Record<string, string[]> = {}
  for (const { name, browse } of [...again.vhost('/')!.queues()].map((queue) => ({
    name: queue.name,
    browse: queue.browse({ limit: COUNT }),
  }))) {
    found[name] = (await simulation.finish(browse)).map(({ body }) => new TextDecoder().decode(body))
  }
  await simulation.finish(again.close())
  return { found, before, applied, calls, answer: answer as boolean | Error | null, failures }
}

const NOTHING = { q: texts(0), old: ['old'], dead: [], out: [] }
const ALL = {
  q: texts(0).filter((_, i) => ![0, 20, 40, 59].includes(i)),
  old: [],
  dead: [textOf(0), textOf(20), textOf(59), textOf(40)],
  out: ['new'],
}

test('a crash at every call of a commit that reads first finds all of it or nothing', async () => {
  const whole = await crashAt(null, false)
  expect(whole).toMatchObject({ answer: true, found: ALL })
  // Three of the four were read, each from a block of its own.
  expect(whole.applied! - whole.before).toBeGreaterThanOrEqual(3)
  const seen = { nothing: 0, all: 0 }
  for (let call = whole.before + 1; call <= whole.calls; call++) {
    for (const power of [false, true]) {
      const { found, answer } = await crashAt(call, power)
      expect([NOTHING, ALL], `call ${call}`).toContainEqual(found)
      if (answer === true) expect(found).toEqual(ALL)
      seen[found['out']!.length === 0 ? 'nothing' : 'all']++
    }
  }
  expect(seen.nothing).toBeGreaterThan(0)
})

test('a commit that cannot read a message which it rejects fails with the engine, and nothing of it is on disk', async () => {
  const { found, answer, failures, applied } = await crashAt(null, false, [
    { kind: 'bit-flip', nth: 1, bit: 1000, path: /journal/ },
  ])
  expect(answer).toBeInstanceOf(Error)
  expect(failures).toHaveLength(1)
  expect(applied).toBeNull()
  expect(found).toEqual(NOTHING)
})
