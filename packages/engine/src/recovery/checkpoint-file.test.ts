import { MemoryFiles } from '@stathmos/testkit'
import { seededRandom } from '@stathmos/std'
import { expect, test } from 'vitest'
import {
  type Checkpoint,
  leaveClean,
  readCheckpoint,
  readDefinitions,
  takeClean,
  writeCheckpoint,
} from './checkpoint-file.ts'
import { CorruptionError } from '../storage/storage-errors.ts'

function checkpoint(position: number): Checkpoint {
  const table = { incarnation: 'i', epoch: 1, end: position, current: 1, files: [] }
  return { position, nextLine: 7, table, definitions: [{ kind: 'vhost', vhost: 'ü', scheduleLine: 1 }], lines: [] }
}

async function world(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  await files.makeDirectory('/data')
  await files.syncDirectory('/')
  return files
}

test('a new directory has no checkpoint', async () => {
  expect(await readCheckpoint(await world(), '/data')).toBeNull()
})

test('the newest checkpoint is read, and survives any power cut after it was written', async () => {
  const files = await world()
  await writeCheckpoint(files, '/data', checkpoint(1))
  await writeCheckpoint(files, '/data', checkpoint(2))
  for (let seed = 0; seed < 50; seed++) {
    expect(await readCheckpoint(files.crash(seededRandom(seed)), '/data')).toEqual(checkpoint(2))
  }
})

test('a power cut while one is written leaves the old one or the new one, and definitions that are no older', async () => {
  const calls = async (): Promise<number> => {
    const files = await world()
    await writeCheckpoint(files, '/data', checkpoint(1))
    const before = files.steps
    await writeCheckpoint(files, '/data', checkpoint(2))
    return files.steps - before
  }
  for (let call = 1; call <= (await calls()); call++) {
    let left = Number.POSITIVE_INFINITY
    const files = new MemoryFiles({
      beforeCall: () => {
        if (--left < 0) throw new Error('power cut')
      },
    })
    await files.makeDirectory('/data')
    await files.syncDirectory('/')
    await writeCheckpoint(files, '/data', checkpoint(1))
    left = call - 1
    await expect(writeCheckpoint(files, '/data', checkpoint(2))).rejects.toThrow(/power cut|could not be synced/)
    for (let seed = 0; seed < 10; seed++) {
      const after = files.crash(seededRandom(seed))
      const found = await readCheckpoint(after, '/data')
      expect([1, 2]).toContain(found?.position)
      const beside = await readDefinitions(after, '/data')
      expect([found?.position, 2]).toContain(beside?.position)
      expect(beside?.definitions).toEqual(found?.definitions)
    }
  }
})

test('no flipped bit goes unnoticed, nor is it taken for a later version', async () => {
  const files = await world()
  await writeCheckpoint(files, '/data', checkpoint(1))
  for (const [name, read] of Object.entries({ CHECKPOINT: readCheckpoint, DEFINITIONS: readDefinitions })) {
    const { length } = await files.read(`/data/${name}`)
    for (let bit = 0; bit < length * 8; bit++) {
      files.flip(`/data/${name}`, bit)
      await expect(read(files, '/data')).rejects.toThrow(CorruptionError)
      files.flip(`/data/${name}`, bit)
    }
  }
})

test('a checkpoint of a later version is not touched, and the error says so', async () => {
  const files = await world()
  await writeCheckpoint(files, '/data', checkpoint(1))
  const file = await files.open('/data/CHECKPOINT', 'read-write')
  await file.write([Uint8Array.of(9)], 4)
  await file.write([Uint8Array.of(1, 2, 3, 4)], 12)
  await expect(readCheckpoint(files, '/data')).rejects.toThrow('has format 9')
})

test('a stop is clean until the next start has begun', async () => {
  const files = await world()
  expect(await takeClean(files, '/data')).toBe(false)
  await leaveClean(files, '/data')
  await leaveClean(files, '/data')
  const after = files.crash(seededRandom(1))
  expect(await takeClean(after, '/data')).toBe(true)
  expect(await takeClean(after.crash(seededRandom(2)), '/data')).toBe(false)
})
