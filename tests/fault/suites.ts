import type { EngineOptions } from '@stathmos/engine'
import { BrokenPromise, FaultyFiles, MemoryFiles } from '@stathmos/testkit'
import { type Ground, History, inventory, live } from '../simulation/life.ts'

/** One way of looking for mistakes. It throws when it finds one. */
export type Suite = (seed: number, mistake: Mistake) => Promise<void>

/** What is wrong with the storage under the engine; nothing in it: it is sound. */
export interface Mistake {
  readonly files?: NonNullable<Ground['files']>
  readonly openStore?: EngineOptions['openStore']
}

/** Lives that are cut off by the death of the process alone. */
const kill: Suite = async (seed, mistake) => {
  await cutOff(seed, { ...mistake }, (history) => history.kill())
}

/** Lives that are cut off with the power. */
const powerCut: Suite = async (seed, mistake) => {
  await cutOff(seed, { ...mistake }, (history) => history.cutPower())
}

/** Every now and then the disk takes only a part of a write. */
const shortWrites: Suite = async (seed, mistake) => {
  const files: Ground['files'] = (disk, simulation) => {
    const faulty = new FaultyFiles(disk)
    for (let nth = 1; nth < 400; nth += 1 + simulation.pick(20)) {
      faulty.arm({ kind: 'short-write', nth, takenBytes: 1 + simulation.pick(60) })
    }
    return mistake.files?.(faulty, simulation) ?? faulty
  }
  await cutOff(seed, { ...mistake, files }, (history) => history.kill())
}

/** A sync of the journal fails once, and what it was to store is lost. The broker must stop. */
const failedSync: Suite = async (seed, mistake) => {
  const files: Ground['files'] = (disk, simulation) => {
    const faulty = new FaultyFiles(disk)
    faulty.arm({ kind: 'sync-error', nth: 3 + simulation.pick(20), path: /\.jnl$/ })
    return mistake.files?.(faulty, simulation) ?? faulty
  }
  const history = new History(seed, new MemoryFiles(), { ...mistake, files, fails: true })
  const { failure } = await live(history, { actions: 150 })
  if (failure === null) throw new BrokenPromise('a sync failed, and the broker went on')
  history.cutPower()
  await live(history, { actions: 0 })
}

/** A bit of a file turns over while the broker is down. It must say so, or all must be there as it was. */
const rot: Suite = async (seed, mistake) => {
  const history = new History(seed, new MemoryFiles())
  const { simulation } = history
  await live(history, { actions: 80, crashAtCall: 300 })
  const nowMs = simulation.nowMs
  for (let flips = 0; flips < 20; flips++) {
    const files = history.files.kill()
    const path = await anyFile(files, simulation.pick(1000))
    const { length } = await files.read(path)
    if (length < 4200 && path.endsWith('.jnl')) continue
    files.flip(path, (path.endsWith('.jnl') ? 4096 * 8 : 0) + simulation.pick((length - 4096) * 8))
    const found = await inventory(files, nowMs, { ...mistake }).catch((error: unknown) => error as Error)
    if (found instanceof Error) {
      if (found.name !== 'CorruptionError') throw found
      continue
    }
    // The last frame, damaged, cannot be told from one that was torn: it may be cut, but nothing may be wrong.
    for (const sightings of found.found.values()) {
      for (const { body } of sightings) history.ledger.requireKnown(body)
    }
  }
}

export const SUITES: Readonly<Record<string, Suite>> = {
  kill,
  'power cut': powerCut,
  'short writes': shortWrites,
  'failed sync': failedSync,
  'bit rot': rot,
}

async function cutOff(seed: number, ground: Ground, end: (history: History) => void): Promise<void> {
  const history = new History(seed, new MemoryFiles(), ground)
  for (let life = 0; life < 3; life++) {
    await live(history, { actions: 60, crashAtCall: 30 + history.simulation.pick(300) })
    end(history)
  }
  await live(history, { actions: 0 })
}

async function anyFile(files: MemoryFiles, number: number): Promise<string> {
  const names = (await files.list('/data/journal')).filter((name) => name.endsWith('.jnl'))
  return `/data/journal/${names[number % names.length]}`
}
