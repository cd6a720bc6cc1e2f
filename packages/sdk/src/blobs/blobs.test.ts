import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { manualClock } from '../testing/manual-clock.ts'
import type { Blobs } from './blobs.ts'
import { directoryBlobs } from './directory-blobs.ts'
import { memoryBlobs } from './memory-blobs.ts'

const home = await mkdtemp(join(tmpdir(), 'stathmos-blobs-'))
afterAll(() => rm(home, { recursive: true }))

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const keyOf = (text: string): string => createHash('sha256').update(text).digest('hex')
const [a, b, c] = [keyOf('a'), keyOf('b'), keyOf('c')]

interface Subject {
  readonly blobs: Blobs
  /** Has what is there be put so long ago. */
  readonly age: (key: string, ms: number) => Promise<void>
  readonly now: () => number
}

let directories = 0

function inDirectory(): Subject & { readonly directory: string } {
  const directory = join(home, String(directories++), 'bodies')
  // Long ago: what is put while the test runs is younger than anything it asks for.
  const now = Date.UTC(2001, 0, 1)
  return {
    directory,
    blobs: directoryBlobs(directory),
    now: () => now,
    age: (key, ms) => utimes(join(directory, key.slice(0, 2), key), (now - ms) / 1000, (now - ms) / 1000),
  }
}

function inMemory(): Subject {
  const clock = manualClock()
  return {
    blobs: memoryBlobs({ clock }),
    now: () => clock.now(),
    age: (_, ms) => clock.advance(ms),
  }
}

describe.each<[string, () => Subject]>([
  ['in a directory', inDirectory],
  ['in memory', inMemory],
])('blobs %s', (_, open) => {
  test('are found by their keys, and nothing else is', async () => {
    const { blobs } = open()
    expect(await blobs.get(a)).toBeNull()
    await blobs.put(a, bytes('a'))
    await blobs.put(b, new Uint8Array())
    expect(Buffer.from((await blobs.get(a)) ?? [])).toEqual(Buffer.from('a'))
    expect((await blobs.get(b))?.byteLength).toBe(0)
    expect(await blobs.get(c)).toBeNull()
  })

  test('can be put twice, and at the same time', async () => {
    const { blobs } = open()
    await Promise.all(Array.from({ length: 8 }, () => blobs.put(a, bytes('a'))))
    expect(Buffer.from((await blobs.get(a)) ?? [])).toEqual(Buffer.from('a'))
  })

  test('are pruned by their age, and are young again when they were put again', async () => {
    const { blobs, age, now } = open()
    expect(await blobs.prune(now())).toBe(0)
    await blobs.put(a, bytes('a'))
    await blobs.put(b, bytes('b'))
    await age(a, 1000)
    await blobs.put(b, bytes('b'))
    expect(await blobs.prune(now() - 1000)).toBe(0)
    expect(await blobs.prune(now() - 999)).toBe(1)
    expect([await blobs.get(a), (await blobs.get(b))?.byteLength]).toEqual([null, 1])
  })
})

describe('a directory', () => {
  test('keeps what was put again before a prune', async () => {
    const { blobs, age, now } = inDirectory()
    await blobs.put(a, bytes('a'))
    await age(a, 10_000)
    await blobs.put(a, bytes('a'))
    expect(await blobs.prune(now() - 1000)).toBe(0)
    expect(await blobs.get(a)).not.toBeNull()
    await age(a, 1001)
    expect(await blobs.prune(now() - 1000)).toBe(1)
  })

  test('is shared: whoever prunes and puts at once, what was put is there', async () => {
    const { blobs, age, now, directory } = inDirectory()
    const other = directoryBlobs(directory)
    const texts = Array.from({ length: 60 }, (__, i) => `text ${i}`)
    const keys = texts.map(keyOf)
    for (let round = 0; round < 4; round++) {
      await Promise.all(texts.map((text, i) => blobs.put(keys[i]!, bytes(text))))
      await Promise.all(keys.map((key) => age(key, 10_000)))
      const before = now() - 5000
      const putting = texts.map((text, i) => other.put(keys[i]!, bytes(text)))
      await Promise.all([blobs.prune(before), other.prune(before), ...putting])
      const found = await Promise.all(keys.map((key) => blobs.get(key)))
      expect(found.filter((each) => each === null)).toEqual([])
    }
  })

  test('has no half-written file under a name, and loses what a crash left when it is old', async () => {
    const { blobs, directory, now } = inDirectory()
    await blobs.put(a, bytes('a'))
    const shelf = join(directory, a.slice(0, 2))
    expect(await readdir(shelf)).toEqual([a])
    const part = join(shelf, `${a}.x.part`)
    await writeFile(part, 'half')
    await writeFile(join(shelf, 'README'), 'of a person')
    await mkdir(join(directory, 'notes'))
    await utimes(part, 1, 1)
    await utimes(join(shelf, 'README'), 1, 1)
    expect(await blobs.prune(now())).toBe(0)
    expect((await readdir(shelf)).toSorted()).toEqual(['README', a].toSorted())
    expect(await readFile(join(shelf, a), 'utf8')).toBe('a')
  })

  test('is left by no key', async () => {
    const { blobs } = inDirectory()
    for (const key of ['../../etc/passwd', '', a.toUpperCase(), `${a}/..`, `${a}\n`])
      await expect(blobs.get(key)).rejects.toMatchObject({ code: 'malformed_message' })
  })

  test('that cannot be written says so', async () => {
    const file = join(home, 'file')
    await writeFile(file, '')
    await expect(directoryBlobs(file).put(a, bytes('a'))).rejects.toMatchObject({ code: 'ENOTDIR' })
    await expect(directoryBlobs(file).get(a)).rejects.toMatchObject({ code: 'ENOTDIR' })
  })
})
