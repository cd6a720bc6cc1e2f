import { type Files, type FrameStore, LocalFrameStore, type OpenFile, StorageFullError } from '@stathmos/engine'
import { mutantFiles, type Simulation } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { withoutChecksums } from './ignored-checksums.ts'
import { type Mistake, SUITES } from './suites.ts'

/** The classic mistakes, put in between the engine and the disk through the ports that tests have. */
const MISTAKES: Readonly<Record<string, Mistake>> = {
  'sync removed': { files: (files) => mutantFiles(files, 'no-sync') },
  'confirmed before the sync': { files: hasty },
  'failed sync tried again': { files: (files) => mutantFiles(files, 'sync-error-swallowed') },
  'failed sync ignored': { openStore: async (options) => careless(await LocalFrameStore.open(options)) },
  'directory sync omitted': { files: (files) => mutantFiles(files, 'no-directory-sync') },
  'short writes taken as full': { files: (files) => mutantFiles(files, 'short-write-as-full') },
  'checksums ignored': { files: withoutChecksums },
}

const SEEDS = Array.from({ length: 12 }, (_, i) => 100 + i)

test('sound storage passes every suite', async () => {
  for (const suite of Object.values(SUITES)) for (const seed of SEEDS) await suite(seed, {})
})

const table: Record<string, string[]> = {}

test.each(Object.entries(MISTAKES))('a suite catches the mistake "%s"', async (name, mistake) => {
  const catchers: string[] = []
  for (const [suiteName, suite] of Object.entries(SUITES)) {
    let caught = 0
    for (const seed of SEEDS) {
      await suite(seed, mistake).catch(() => {
        caught++
      })
    }
    if (caught > 0) catchers.push(`${suiteName} (${caught} of ${SEEDS.length})`)
  }
  table[name] = catchers
  expect(catchers).not.toEqual([])
})

test('which suite caught which mistake', () => {
  const lines = Object.entries(table).map(([name, catchers]) => `${name.padEnd(28)}${catchers.join(', ')}`)
  process.stdout.write(`${lines.join('\n')}\n`)
  expect(lines.length).toBe(Object.keys(MISTAKES).length)
})

/** Says at once that a file is on disk, and syncs it a little later. */
function hasty(files: Files, simulation: Simulation): Files {
  return new Proxy(files, {
    get(target, name) {
      const verb: unknown = Reflect.get(target, name, target)
      if (typeof verb !== 'function') return verb
      if (name !== 'open') return verb.bind(target) as unknown
      return async (...args: Parameters<Files['open']>): Promise<OpenFile> => {
        const file = await target.open(...args)
        const sync = (): Promise<void> => {
          void simulation.pause(2).then(() => file.sync().catch(() => {}))
          return Promise.resolve()
        }
        return { ...file, sync }
      }
    },
  })
}

/** Takes a failed sync for a success. */
function careless(store: FrameStore): FrameStore {
  return over(store, {
    write: async (pieces, length) => {
      try {
        await store.write(pieces, length)
      } catch (error) {
        if (error instanceof StorageFullError) throw error
      }
    },
  })
}

/** The store with some of its verbs replaced. */
function over(store: FrameStore, replaced: Partial<FrameStore>): FrameStore {
  return new Proxy(store, {
    get(target, name) {
      const source = name in replaced ? replaced : target
      const value: unknown = Reflect.get(source, name, source)
      return typeof value === 'function' ? (value.bind(source) as unknown) : value
    },
  })
}
