import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, type Clock } from '@stathmos/std'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DirectoryInUseError, lockDirectory } from './directory-lock.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'stathmos-directory-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

test('a directory that is held is refused, with the process that holds it', async () => {
  const lock = await lockDirectory(directory, systemClock)
  await expect(lockDirectory(directory, systemClock)).rejects.toThrow(
    `the data directory ${directory} is in use by process ${process.pid}; stop that one or choose another with --data-dir`,
  )
  await lock.release()
})

test('a released directory is free again and keeps no trace', async () => {
  for (let round = 0; round < 3; round++) await (await lockDirectory(directory, systemClock)).release()
  expect(readdirSync(join(directory, 'lock'))).toEqual([])
})

test('what a killed process left behind does not hold the directory', async () => {
  // A process that listens where a holder would and is killed, so that its socket stays.
  const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('up'))`
  const lock = await lockDirectory(directory, systemClock)
  await lock.release()
  const left = join(directory, 'lock', '1-000000000000.sock')
  const child = spawn(process.execPath, ['-e', script, left], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(existsSync(left)).toBe(true)
  const next = await lockDirectory(directory, systemClock)
  expect(existsSync(left)).toBe(false)
  await next.release()
})

test('a holder that is stopped still holds', async () => {
  const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('up'))`
  await (await lockDirectory(directory, systemClock)).release()
  const socket = join(directory, 'lock', '4711-000000000000.sock')
  const child = spawn(process.execPath, ['-e', script, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGSTOP')
  const impatient: Clock = { ...systemClock, after: (_, fire) => systemClock.after(1, fire) }
  await expect(lockDirectory(directory, impatient)).rejects.toThrow('in use by process 4711')
  child.kill('SIGKILL')
  await once(child, 'exit')
})

test('of many that start at the same moment exactly one gets the directory', async () => {
  for (let round = 0; round < 20; round++) {
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory, systemClock)))
    const won = results.filter((result) => result.status === 'fulfilled')
    const lost = results.filter((result) => result.status === 'rejected')
    expect(won).toHaveLength(1)
    expect(lost.every((result) => result.reason instanceof DirectoryInUseError)).toBe(true)
    await won[0]!.value.release()
  }
})

test('a directory with a path longer than a socket may have can be locked', async () => {
  const deep = join(directory, 'd'.repeat(120))
  mkdirSync(deep)
  const lock = await lockDirectory(deep, systemClock)
  await expect(lockDirectory(deep, systemClock)).rejects.toThrow(DirectoryInUseError)
  await lock.release()
})

test('a directory that is not there is refused, not made', async () => {
  const missing = join(directory, 'a', 'b')
  await expect(lockDirectory(missing, systemClock)).rejects.toMatchObject({ code: 'ENOENT' })
  expect(readdirSync(directory)).toEqual([])
})
