import { seededRandom } from '@stathmos/std'
import { expect, test } from 'vitest'
import { FaultyFiles } from './faulty-files.ts'
import { MemoryFiles } from './memory-files.ts'

async function world(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  await files.makeDirectory('/d')
  await files.syncDirectory('/')
  return files
}

/** What 100 power cuts leave of a file: its content, or null where it is gone. */
async function afterCuts(files: MemoryFiles, path: string): Promise<Set<string | null>> {
  const outcomes = new Set<string | null>()
  for (let seed = 0; seed < 100; seed++) {
    const content = await files
      .crash(seededRandom(seed))
      .read(path)
      .catch(() => null)
    outcomes.add(content === null ? null : Buffer.from(content).toString('latin1'))
  }
  return outcomes
}

test('a synced file with a synced name survives every power cut', async () => {
  const files = await world()
  const file = await files.open('/d/a', 'create')
  await file.write([Buffer.from('content')], 0)
  await file.sync()
  await files.syncDirectory('/d')
  expect(await afterCuts(files, '/d/a')).toEqual(new Set(['content']))
})

test('without a sync of its directory a new file may be gone, with its content synced or not', async () => {
  const files = await world()
  const file = await files.open('/d/a', 'create')
  await file.write([Buffer.from('content')], 0)
  await file.sync()
  expect(await afterCuts(files, '/d/a')).toEqual(new Set(['content', null]))
})

test('of unsynced sectors any subset survives, and of one sector all or nothing', async () => {
  const files = await world()
  const file = await files.open('/d/a', 'create')
  await file.write([Buffer.alloc(1536, 'o')], 0)
  await file.sync()
  await files.syncDirectory('/d')
  await file.write([Buffer.alloc(1536, 'n')], 0)
  const seen = new Set<string>()
  for (const content of await afterCuts(files, '/d/a')) {
    const sectors = [0, 512, 1024].map((at) => new Set(content!.slice(at, at + 512)))
    for (const sector of sectors) expect(sector.size).toBe(1)
    seen.add(sectors.map((sector) => [...sector][0]).join(''))
  }
  expect([...seen].toSorted()).toEqual(['nnn', 'nno', 'non', 'noo', 'onn', 'ono', 'oon', 'ooo'])
})

test('a rename is there whole or not at all', async () => {
  const files = await world()
  for (const name of ['old', 'new']) {
    const file = await files.open(`/d/${name}`, 'create')
    await file.write([Buffer.from(name)], 0)
    await file.sync()
  }
  await files.syncDirectory('/d')
  await files.rename('/d/new', '/d/old')
  expect(await afterCuts(files, '/d/old')).toEqual(new Set(['old', 'new']))
})

test('the death of a process alone loses nothing that was written', async () => {
  const files = await world()
  const file = await files.open('/d/a', 'create')
  await file.write([Buffer.from('content')], 0)
  const next = files.kill()
  await file.write([Buffer.from('CONTENT')], 0)
  expect(Buffer.from(await next.read('/d/a')).toString()).toBe('content')
  // It is as unsynced as before.
  expect(await afterCuts(next, '/d/a')).toContain(null)
})

test('a failed sync loses what it was to store, though the next one succeeds', async () => {
  const memory = await world()
  const files = new FaultyFiles(memory, [{ kind: 'sync-error', nth: 1 }])
  const file = await files.open('/d/a', 'create')
  await files.syncDirectory('/d')
  await file.write([Buffer.from('content')], 0)
  await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' })
  await file.sync()
  const outcomes = await afterCuts(memory, '/d/a')
  expect(outcomes).not.toContain('content')
})

test('a full disk takes what it has room for, then nothing', async () => {
  const files = new MemoryFiles({ capacityBytes: 10 })
  await files.makeDirectory('/d')
  const file = await files.open('/d/a', 'create')
  expect(await file.write([Buffer.from('12345678'), Buffer.from('90ab')], 0)).toBe(10)
  await expect(file.write([Buffer.from('x')], 10)).rejects.toMatchObject({ code: 'ENOSPC' })
  expect(await files.freeBytes('/d')).toBe(0)
  expect(await file.write([Buffer.from('X')], 9)).toBe(1)
})

test('every call is counted and may be made to fail', async () => {
  const calls: string[] = []
  const files = new MemoryFiles({ beforeCall: (call, name) => void calls.push(`${call} ${name}`) })
  await files.makeDirectory('/d')
  const file = await files.open('/d/a', 'create')
  await file.write([Buffer.from('x')], 0)
  await file.sync()
  expect(calls).toEqual(['1 makeDirectory', '2 open', '3 write', '4 sync'])
  expect(files.steps).toBe(4)
})
