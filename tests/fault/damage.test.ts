import { repairDirectory, type RepairReport, verifyDirectory } from '@stathmos/engine'
import { seededRandom } from '@stathmos/std'
import { EngineWorld, MemoryFiles } from '@stathmos/testkit'
import { beforeAll, expect, test } from 'vitest'
import { History, type Inventory, inventory, live } from '../simulation/life.ts'

const DRY = { dryRun: true }
const WET = { dryRun: false, random: seededRandom(3) }

/** So small that there are several files, a rewritten one among them, and several index pages. */
const TINY = {
  fileBytes: 4096,
  blockBytes: 512,
  ringBytes: 2048,
  coldBytes: 1024,
  checkpointBytes: 4096,
  pageEntries: 8,
}

interface Sample {
  readonly files: MemoryFiles
  readonly nowMs: number
  readonly expected: Inventory
}

const samples: Sample[] = []

beforeAll(async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const history = new History(seed, new MemoryFiles())
    for (let life = 0; life < 3; life++) {
      await live(history, { actions: 150, crashAtCall: 400, closes: seed % 3 === 0 })
      history.cutPower()
    }
    const nowMs = history.simulation.nowMs
    samples.push({ files: history.files, nowMs, expected: await inventory(history.files.kill(), nowMs) })
  }
})

test('a directory that a crash left has no problems, and repair leaves it alone', async () => {
  for (const { files } of samples) {
    const { steps } = files
    const report = await verifyDirectory(files, '/data')
    expect(report.problems).toEqual([])
    expect(report.entries).toBeGreaterThan(20)
    expect(report.pages).toBeGreaterThan(3)
    expect(await repairDirectory(files, '/data', WET)).toMatchObject({ problems: [], dropped: [], movedTo: null })
    expect(files.steps).toBeGreaterThan(steps)
    expect((await files.list('/data')).filter((name) => name.startsWith('damaged'))).toEqual([])
  }
})

test('a bit that turned over anywhere is found, and after the repair the broker starts with all the rest', async () => {
  const random = seededRandom(99)
  const seen = { found: 0, torn: 0, harmless: 0, lost: 0 }
  for (let round = 0; round < 400; round++) {
    const { files, nowMs, expected } = samples[round % samples.length]!
    const paths = await pathsOf(files)
    const path = paths[random.uint32() % paths.length]!
    const damaged = files.kill()
    const { length } = await files.read(path)
    const bit = random.uint32() % (length * 8)
    damaged.flip(path, bit)
    const where = `round ${round}: bit ${bit} of ${path}`
    const report = await verifyDirectory(damaged, '/data')
    if (report.problems.length === 0) {
      const after = await inventory(damaged.kill(), nowMs)
      // What nobody refers to harms nobody; the very last frame may be one that was never confirmed.
      if (report.torn === null) expect(bodies(after), where).toEqual(bodies(expected))
      seen[report.torn === null ? 'harmless' : 'torn']++
      continue
    }
    seen.found++
    expect(report.problems[0]!.file, where).toContain('/data')
    // Where nothing alive lies, the broker may not have looked.
    const without = await inventory(damaged.kill(), nowMs).catch((error: unknown) => error as Error)
    if (without instanceof Error) expect(without.name, where).toBe('CorruptionError')
    else expect(bodies(without), where).toEqual(bodies(expected))
    const planned = await repairDirectory(damaged, '/data', DRY)
    expect(await pathsOf(damaged), where).toEqual(paths)
    const done = await repairDirectory(damaged, '/data', WET)
    expect({ ...done, movedTo: null }).toEqual(planned)
    expect(done.dropped.length, where).toBeGreaterThan(0)
    expect(done.movedTo, where).toBe('/data/damaged')
    expect((await verifyDirectory(damaged, '/data')).problems, where).toEqual([])
    seen.lost += await requireTheRest(expected, await inventory(damaged, nowMs), await files.read(path), where)
  }
  expect(seen.found).toBeGreaterThan(150)
  expect(seen.lost).toBeGreaterThan(0)
})

test('a repair that is cut off at any point is finished by the next one', async () => {
  const { files, nowMs } = samples[0]!
  const damaged = files.kill()
  damaged.flip((await pathsOf(files))[1]!, 5000 * 8)
  const whole = damaged.kill()
  const { steps } = whole
  await repairDirectory(whole, '/data', WET)
  const expected = bodies(await inventory(whole.kill(), nowMs))
  const calls = whole.steps - steps
  const random = seededRandom(5)
  for (let call = 1; call <= calls; call++) {
    const cut = damaged.kill({
      beforeCall: (number) => {
        if (number >= call) throw new Error('cut off')
      },
    })
    await expect(repairDirectory(cut, '/data', WET)).rejects.toThrow(/cut off|no write|could not/)
    for (const after of [cut.kill(), cut.crash(random)]) {
      await repairDirectory(after, '/data', WET)
      expect(bodies(await inventory(after, nowMs)), `call ${call}`).toEqual(expected)
    }
  }
})

test('a checkpoint that is damaged or gone costs no message, and none its queue', async () => {
  for (const [i, { files, nowMs, expected }] of samples.entries()) {
    for (const loss of ['damaged', 'gone', 'gone, and a broker tried to start']) {
      const where = `sample ${i}, ${loss}`
      const damaged = files.kill()
      if (loss === 'damaged') damaged.flip('/data/CHECKPOINT', 300)
      else await damaged.remove('/data/CHECKPOINT')
      if (loss.endsWith('start')) await expect(inventory(damaged, nowMs), where).rejects.toThrow(/stathmos repair/)
      const report = await repairDirectory(damaged, '/data', WET)
      expect(report.problems[0], where).toMatchObject({ file: '/data/CHECKPOINT' })
      expect(report.definitionsFrom, where).toBe('/data/DEFINITIONS')
      const after = await inventory(damaged, nowMs)
      for (const line of bodies(expected)) expect(bodies(after), where).toContain(line)
      for (const name of expected.present) expect(after.present, where).toContain(name)
    }
  }
})

test('a checkpoint and its definitions that are gone cost no message: what has lost its queue gets one', async () => {
  for (const [i, { files, nowMs, expected }] of samples.entries()) {
    const damaged = files.kill()
    for (const name of ['CHECKPOINT', 'DEFINITIONS']) await damaged.remove(`/data/${name}`)
    const report = await repairDirectory(damaged, '/data', WET)
    expect(report.definitionsFrom, `sample ${i}`).toBeNull()
    const after = new Set(bodies(await inventory(damaged, nowMs)).map((line) => line.split(' ')[1]))
    for (const body of bodies(expected)) expect(after, `sample ${i}`).toContain(body.split(' ')[1])
  }
})

test.each(['damaged', 'gone'] as const)(
  'everything that was declared outlives a checkpoint that is %s',
  async (loss) => {
    const world = await EngineWorld.open({ limits: TINY })
    world.queue('first')
    world.vhost.deleteQueue(world.vhost.queue('first')!)
    const exchange = {
      name: 'x',
      type: 'topic',
      durable: true,
      autoDelete: false,
      internal: false,
      delayed: true,
    } as const
    world.vhost.declareExchange({ ...exchange, opaque: 'as told' })
    world.queue('waits')
    world.vhost.bind('x', { kind: 'queue', name: 'waits' }, 'later.#')
    for (let i = 0; i < 60; i++) world.queue(`q${i}`, { messageTtlMs: 1e9 + i })
    world.engine.createVHost('second')
    world.engine.access.setUser({ name: 'ada', passwordHash: 'hash', tags: ['administrator'] })
    world.engine.access.setPermission('ada', '/', { configure: 'a', write: 'b', read: 'c' })
    for (const name of ['q7', 'q8']) world.publish(name, `in ${name}`)
    world.publish('later.on', 'tomorrow', { exchange: 'x', delayMs: 1e8 })
    await churn(world)
    // These are in the journal only.
    world.queue('last')
    world.publish('last', 'in last')
    world.vhost.deleteQueue(world.vhost.queue('q59')!)
    await world.settle()
    if (loss === 'damaged') world.files.flip('/data/CHECKPOINT', 300)
    const report = await loseCheckpoint(world, loss === 'gone' ? ['CHECKPOINT'] : [])
    expect(report).toMatchObject({ queuesMade: [], definitionsFrom: '/data/DEFINITIONS' })
    // What a repair writes can be repaired in the same way.
    expect(await loseCheckpoint(world, ['CHECKPOINT'])).toMatchObject({
      queuesMade: [],
      messagesKept: report.messagesKept,
    })
    expect((await verifyDirectory(world.files, '/data')).problems).toEqual([])
    await world.kill()
    const { vhost, engine } = world
    expect([...engine.vhosts()].map(({ name }) => name)).toEqual(['/', 'second'])
    const names = ['waits', ...Array.from({ length: 59 }, (_, i) => `q${i}`), 'passing', 'last']
    expect([...vhost.queues()].map(({ name }) => name)).toEqual(names)
    expect(vhost.queue('q41')!.definition.settings).toEqual({ overflow: 'drop-head', messageTtlMs: 1e9 + 41 })
    expect(vhost.exchange('x')!.definition).toEqual({ ...exchange, opaque: 'as told' })
    expect([...vhost.bindings()]).toContainEqual(expect.objectContaining({ source: 'x', key: 'later.#' }))
    expect(engine.access.user('ada')).toMatchObject({ passwordHash: 'hash', tags: ['administrator'] })
    expect(engine.access.permits('ada', '/', 'write', 'b')).toBe(true)
    for (const name of ['q7', 'q8', 'last']) expect(await world.texts(vhost.queue(name)!)).toEqual([`in ${name}`])
    await world.simulation.elapse(1e8)
    expect(await world.texts(vhost.queue('waits')!)).toEqual(['tomorrow'])
  },
)

test('without a checkpoint the index tells what was settled, after the records of that are gone', async () => {
  const world = await EngineWorld.open({ limits: TINY })
  await fill(world, 'q', 40)
  const tickets = []
  for (let i = 0; i < 40; i++) tickets.push((await world.get(world.vhost.queue('q')!))!.ticket)
  await churn(world)
  for (const ticket of tickets) if (ticket % 4 === 1) world.vhost.queue('q')!.accept(ticket)
  await churn(world)
  await loseCheckpoint(world)
  const left = Array.from({ length: 40 }, (_, i) => `q ${i}`).filter((_, i) => i % 4 !== 1)
  // The definition of the queue is gone with the checkpoint.
  expect(await textsOf(world, 'recovered.2')).toEqual(left)
})

test('without a checkpoint the index tells the line of messages that carry no places', async () => {
  const world = await EngineWorld.open({ limits: TINY })
  await fill(world, 'q', 40)
  await world.close()
  // Messages that a repair has stored anew have their places in records of their own …
  const [first] = await world.files.list('/data/index')
  world.files.flip(`/data/index/${first!}`, 12 * 8)
  expect((await repairDirectory(world.files, '/data', WET)).dropped).not.toEqual([])
  await world.kill()
  const queue = world.vhost.queue('q')!
  // … which do not come along when the journal is rewritten.
  for (let i = 0; i < 36; i++) await world.get(queue, true)
  await churn(world)
  const { queuesMade } = await loseCheckpoint(world)
  expect(queuesMade).toEqual(['recovered.2'])
  expect(await textsOf(world, 'recovered.2')).toEqual(['q 36', 'q 37', 'q 38', 'q 39'])
})

test('an index page in the place of another is damage, though its checksum is right', async () => {
  const world = await EngineWorld.open({ limits: TINY })
  await fill(world, 'q', 3)
  await fill(world, 'r', 3)
  await world.close()
  const [name] = await world.files.list('/data/index')
  const path = `/data/index/${name!}`
  const bytes = await world.files.read(path)
  const half = bytes.length / 2
  await overwrite(world.files, path, Buffer.concat([bytes.subarray(half), bytes.subarray(0, half)]))
  const { problems } = await verifyDirectory(world.files, '/data')
  expect(problems.map(({ what }) => what)).toEqual([
    expect.stringContaining('should have entries 0 to 3 of line 2, and has 0 to 3 of line 3'),
    expect.stringContaining('should have entries 0 to 3 of line 3, and has 0 to 3 of line 2'),
  ])
  await repairDirectory(world.files, '/data', WET)
  expect(await textsOf(world, 'q')).toEqual(['q 0', 'q 1', 'q 2'])
  expect(await textsOf(world, 'r')).toEqual(['r 0', 'r 1', 'r 2'])
})

async function fill(world: EngineWorld, name: string, count: number): Promise<void> {
  world.queue(name)
  for (let i = 0; i < count; i++) world.publish(name, `${name} ${i}`)
  await world.settle()
}

/** Makes the journal roll, with checkpoints and rewriting, until nothing of an earlier moment is needed any more. */
async function churn(world: EngineWorld): Promise<void> {
  const passing = world.queue('passing')
  for (let i = 0; i < 100; i++) {
    world.publish('passing', '.'.repeat(500))
    await world.settle()
    await world.get(passing, true)
    await world.simulation.elapse(20)
  }
}

/** Both files of it, unless told otherwise. */
async function loseCheckpoint(world: EngineWorld, names = ['CHECKPOINT', 'DEFINITIONS']): Promise<RepairReport> {
  world.simulation.forgetAll()
  world.files = world.files.kill()
  for (const name of names) await world.files.remove(`/data/${name}`)
  return repairDirectory(world.files, '/data', WET)
}

async function textsOf(world: EngineWorld, queue: string): Promise<string[]> {
  await world.kill()
  return world.texts(world.vhost.queue(queue)!)
}

async function overwrite(files: MemoryFiles, path: string, bytes: Uint8Array): Promise<void> {
  await files.remove(path)
  const file = await files.open(path, 'create')
  await file.write([bytes], 0)
  await file.close()
}

/** Files whose content counts. */
async function pathsOf(files: MemoryFiles): Promise<string[]> {
  const paths = ['/data/CHECKPOINT', '/data/DEFINITIONS']
  for (const directory of ['/data/journal', '/data/index']) {
    for (const name of await files.list(directory)) {
      if (name !== 'reserve') paths.push(`${directory}/${name}`)
    }
  }
  return paths
}

/** Whatever is missing was in the file that was damaged. Returns how much that is. */
async function requireTheRest(before: Inventory, after: Inventory, file: Uint8Array, where: string): Promise<number> {
  const there = new Set(bodies(after).map((line) => line.split(' ')[1]))
  const missing = bodies(before).filter((line) => !there.has(line.split(' ')[1]))
  for (const line of missing) {
    const body = Buffer.from(line.split(' ')[1]!, 'base64')
    expect(Buffer.from(file).includes(body), `${where}: ${line} is missing`).toBe(true)
  }
  expect(missing.length, where).toBeLessThan(bodies(before).length / 2 + 1)
  return missing.length
}

function bodies({ found }: Inventory): string[] {
  return [...found].flatMap(([queue, sightings]) =>
    sightings.map(({ body }) => `${queue} ${Buffer.from(body).toString('base64')}`),
  )
}
