import type { OpenFile } from '@stathmos/engine'
import type { Clock } from '@stathmos/std'
import { expect, test } from 'vitest'
import { FaultyFiles } from './faulty-files.ts'
import type { Fault } from './faulty-files.ts'
import { MemoryFiles } from './memory-files.ts'
import { mutantFiles } from './mutant-files.ts'

async function open(
  faults: readonly Fault[],
  clock: Clock | null = null,
): Promise<{ files: FaultyFiles; file: OpenFile }> {
  const memory = new MemoryFiles()
  await memory.makeDirectory('/d')
  const files = new FaultyFiles(memory, faults, clock)
  return { files, file: await files.open('/d/a', 'create') }
}

test('the nth write finds the disk full, after the last bytes that had room', async () => {
  const { file } = await open([{ kind: 'full', nth: 2, times: 2, takenBytes: 3 }])
  expect(await file.write([Buffer.from('12345')], 0)).toBe(5)
  expect(await file.write([Buffer.from('1'), Buffer.from('2345')], 5)).toBe(3)
  await expect(file.write([Buffer.from('45')], 8)).rejects.toMatchObject({ code: 'ENOSPC' })
  expect(await file.write([Buffer.from('45')], 8)).toBe(2)
})

test('a fault applies to the paths that it names, from the moment it is armed until it is taken back', async () => {
  const { files, file } = await open([{ kind: 'write-error', nth: 1, path: /other$/ }])
  await file.write([Buffer.from('x')], 0)
  const back = files.arm({ kind: 'full', nth: 1 })
  await expect(file.write([Buffer.from('x')], 0)).rejects.toMatchObject({ code: 'ENOSPC' })
  back()
  await file.write([Buffer.from('x')], 0)
})

test('a read returns one bit the wrong way, once', async () => {
  const { file } = await open([{ kind: 'bit-flip', nth: 1, bit: 9 }])
  await file.write([Buffer.from([0, 0, 0])], 0)
  const into = new Uint8Array(3)
  await file.read(into, 0)
  expect([...into]).toEqual([0, 2, 0])
  await file.read(into, 0)
  expect([...into]).toEqual([0, 0, 0])
})

test('a slow disk takes as long as the clock says', async () => {
  const timers: (() => void)[] = []
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    after: (_, fire) => {
      timers.push(fire)
      return { cancel: () => {} }
    },
    soon: (run) => run(),
  }
  const { file } = await open([{ kind: 'slow', nth: 1, delayMs: 500 }], clock)
  let written = false
  const writing = file.write([Buffer.from('x')], 0).then(() => (written = true))
  await Promise.resolve()
  expect(written).toBe(false)
  timers[0]!()
  await writing
  expect(written).toBe(true)
})

test('a mutant that ignores short writes reports what was asked', async () => {
  const { files } = await open([{ kind: 'short-write', nth: 1, takenBytes: 1 }])
  const file = await mutantFiles(files, 'short-write-as-full').open('/d/a', 'read-write')
  expect(await file.write([Buffer.from('abc')], 0)).toBe(3)
  expect(await file.size()).toBe(1)
})
