import { MemoryFiles, type Sighting } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { type Ground, History, type Inventory, inventory, live } from './life.ts'

const SEEDS = 400

/** Seeds that show a mistake that was made once, when it is made again. */
const ONCE_FAILED: Readonly<Record<number, string>> = {
  126: 'an index file was removed while the checkpoint on disk still named it',
  192: 'a message was delivered before it was on disk, because the next frame was cut in between',
}

/** Several lives of one data directory, most of them cut off at a random call. */
async function livesOf(seed: number, ground: Ground = {}): Promise<History> {
  const history = new History(seed, new MemoryFiles(), ground)
  const { simulation } = history
  for (let life = 0; life < 4; life++) {
    const recovering = simulation.pick(3) === 0
    const crashAtCall = 1 + simulation.pick(recovering ? 60 : 500)
    const { closed } = await live(history, { actions: 120, crashAtCall, closes: simulation.pick(4) === 0 })
    if (simulation.pick(3) > 0 && !closed) history.cutPower()
    else history.kill()
  }
  await live(history, { actions: 0 })
  return history
}

test.each(Object.entries(ONCE_FAILED))('seed %s: %s', async (seed) => {
  await livesOf(Number(seed))
})

test(`${SEEDS} random histories of crashes keep every promise`, async () => {
  const total = { confirmed: 0, delivered: 0, answered: 0, survivors: 0, repeats: 0, deadLetters: 0 }
  const first = Number(process.env['STATHMOS_SEED'] ?? 1000)
  for (let seed = first; seed < first + Number(process.env['STATHMOS_SEEDS'] ?? SEEDS); seed++) {
    const { ledger } = await livesOf(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
    })
    for (const kind of Object.keys(total) as (keyof typeof total)[]) total[kind] += ledger.counts[kind]
  }
  // A simulation in which nothing happens keeps every promise, too.
  expect(Math.min(...Object.values(total))).toBeGreaterThan(SEEDS)
})

test('transactions that reject what has left memory keep every promise', async () => {
  let deadLetters = 0
  for (let seed = 1; seed <= SEEDS / 4; seed++) {
    const { ledger } = await livesOf(seed, { rejects: true }).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
    })
    deadLetters += ledger.counts.deadLetters
  }
  expect(deadLetters).toBeGreaterThan(SEEDS)
})

test.each(['kill', 'cutPower'] as const)('%s at every system call of a life keeps every promise', async (crash) => {
  const whole = await live(new History(7, new MemoryFiles()), { actions: 60, closes: true })
  expect(whole.closed).toBe(true)
  expect(whole.calls).toBeGreaterThan(150)
  for (let call = 1; call <= whole.calls; call++) {
    const history = new History(7, new MemoryFiles())
    await live(history, { actions: 60, closes: true, crashAtCall: call })
    history[crash]()
    await live(history, { actions: 0 }).catch((error: unknown) => {
      throw new Error(`call ${call}: ${String(error)}`, { cause: error })
    })
  }
})

test('a recovery that is cut off at any call, and begun again, comes to the same', async () => {
  const history = new History(11, new MemoryFiles())
  const { simulation } = history
  await live(history, { actions: 150, crashAtCall: 450 })
  history.cutPower()
  const before = history.files
  const expected = summary(await inventory(before.kill(), simulation.nowMs))
  expect(expected.length).toBeGreaterThan(5)
  const { calls } = await live(history, { actions: 0 })
  for (let call = 1; call <= calls; call++) {
    for (const crash of ['kill', 'cutPower'] as const) {
      history.files = before.kill()
      await live(history, { actions: 0, crashAtCall: call })
      history[crash]()
      expect(summary(await inventory(history.files, simulation.nowMs)), `${crash} at call ${call}`).toEqual(expected)
    }
  }
})

/** What is in which queue, in order; not whether it is marked, as each crash may mark more. */
function summary({ found, present }: Inventory): string[] {
  const text = ({ body, attempts }: Sighting): string => `${Buffer.from(body).toString('base64')} ${attempts}`
  return [...[...found].map(([queue, sightings]) => `${queue}: ${sightings.map(text).join()}`), ...present].sort()
}
