import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { nodeFiles } from './node-files.ts'

let directory = ''
beforeEach(async () => void (directory = await mkdtemp(join(tmpdir(), 'files-'))))
afterEach(() => rm(directory, { recursive: true }))

test('pieces are written one after another, and read back from any place', async () => {
  const path = join(directory, 'a')
  const file = await nodeFiles.open(path, 'create')
  expect(await file.write([Buffer.from('one '), Buffer.from('two '), Buffer.from('three')], 3)).toBe(13)
  await file.sync()
  const into = new Uint8Array(20)
  expect(await file.read(into, 7)).toBe(9)
  expect(Buffer.from(into.subarray(0, 9)).toString()).toBe('two three')
  expect(await file.size()).toBe(16)
  await file.truncate(7)
  await file.close()
  expect(Buffer.from(await nodeFiles.read(path)).toString()).toBe('\0\0\0one ')
})

test('a file is made once, for its owner alone', async () => {
  await nodeFiles.makeDirectory(join(directory, 'x/y'))
  const path = join(directory, 'x/y/a')
  await (await nodeFiles.open(path, 'create')).close()
  await expect(nodeFiles.open(path, 'create')).rejects.toMatchObject({ code: 'EEXIST' })
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect((await stat(join(directory, 'x'))).mode & 0o777).toBe(0o700)
  await nodeFiles.makeDirectory(join(directory, 'x/y'))
})

test('a directory that cannot be made is refused with the reason', async () => {
  await expect(nodeFiles.makeDirectory('/proc/nobody/x')).rejects.toMatchObject({ code: 'ENOENT' })
  await (await nodeFiles.open(join(directory, 'file'), 'create')).close()
  await expect(nodeFiles.makeDirectory(join(directory, 'file'))).rejects.toMatchObject({ code: 'EEXIST' })
  await expect(nodeFiles.makeDirectory(join(directory, 'file/x'))).rejects.toMatchObject({ code: 'ENOTDIR' })
})

test('names are listed in order, replaced, and removed even when they are gone', async () => {
  for (const name of ['b', 'c', 'a']) await (await nodeFiles.open(join(directory, name), 'create')).close()
  await nodeFiles.rename(join(directory, 'c'), join(directory, 'b'))
  await nodeFiles.syncDirectory(directory)
  expect(await nodeFiles.list(directory)).toEqual(['a', 'b'])
  await nodeFiles.remove(join(directory, 'a'))
  await nodeFiles.remove(join(directory, 'a'))
  expect(await nodeFiles.list(directory)).toEqual(['b'])
  await expect(nodeFiles.open(join(directory, 'a'), 'read')).rejects.toMatchObject({ code: 'ENOENT' })
})

test('the file system tells how much it can take', async () => {
  expect(await nodeFiles.freeBytes(directory)).toBeGreaterThan(0)
})
