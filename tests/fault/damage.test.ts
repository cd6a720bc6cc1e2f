import { repairDirectory, verifyDirectory } from '@stathmos/engine'
import { seededRandom } from '@stathmos/std'
import { MemoryFiles } from '@stathmos/testkit'
import { beforeAll, expect, test } from 'vitest'
import { History, type Inventory, inventory, live } from '../simulation/life.ts'

const DRY = { dryRun: true }
const WET = { dryRun: false, random: seededRandom(3) }

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

test('a lost checkpoint costs no message: what has lost its queue gets one', async () => {
  const { files, nowMs, expected } = samples[1]!
  const damaged = files.kill()
  damaged.flip('/data/CHECKPOINT', 300)
  const report = await repairDirectory(damaged, '/data', WET)
  expect(report.problems.some(({ file }) => file.endsWith('CHECKPOINT'))).toBe(true)
  const after = new Set(bodies(await inventory(damaged, nowMs)).map((line) => line.split(' ')[1]))
  for (const body of bodies(expected)) expect(after).toContain(body.split(' ')[1])
})

/** Files whose content counts. */
async function pathsOf(files: MemoryFiles): Promise<string[]> {
  const paths = ['/data/CHECKPOINT']
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
