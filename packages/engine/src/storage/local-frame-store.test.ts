import { seededRandom } from '@stathmos/std'
import { FaultyFiles, MemoryFiles } from '@stathmos/testkit'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { FILE_HEADER_BYTES } from './file-header.ts'
import type { FileTable } from './file-table.ts'
import type { Files } from './files.ts'
import { FRAME_HEADER_BYTES, FRAME_RECORDS, sealFrame } from './frame.ts'
import type { FrameStoreLimits } from './frame-store.ts'
import { LocalFrameStore } from './local-frame-store.ts'
import { nodeFiles } from './node-files.ts'
import { CorruptionError, StorageFailedError, StorageFullError, SyncFailedError } from './storage-errors.ts'

const LIMITS: FrameStoreLimits = { fileBytes: 16 * 1024, blockBytes: 1024, reserveBytes: 0, openFilesMax: 4 }
const FIRST = '/data/journal/0000000001.jnl'

interface Written {
  readonly position: number
  readonly text: string
}

interface Opening {
  readonly table?: FileTable
  readonly from?: number
  readonly limits?: Partial<FrameStoreLimits>
  readonly directory?: string
}

/** A frame store with small files, and what its replay showed. One frame holds one text. */
async function openStore(
  files: Files,
  opening: Opening = {},
): Promise<{ store: LocalFrameStore; replayed: Written[] }> {
  const directory = opening.directory ?? '/data'
  await files.makeDirectory(directory)
  await files.syncDirectory(dirname(directory))
  const random = seededRandom(1)
  const limits = { ...LIMITS, ...opening.limits }
  const store = await LocalFrameStore.open({ files, directory, random, limits, table: opening.table ?? null })
  const replayed: Written[] = []
  await store.replay(opening.from ?? 0, ({ position, bytes, start, end }) => {
    replayed.push({ position, text: Buffer.from(bytes.subarray(start, end)).toString() })
  })
  return { store, replayed }
}

async function write(store: LocalFrameStore, text: string): Promise<Written> {
  const position = store.end
  const record = Buffer.from(text)
  await store.write([new Uint8Array(FRAME_HEADER_BYTES), record], FRAME_HEADER_BYTES + record.length)
  return { position, text }
}

async function writeMany(store: LocalFrameStore, count: number): Promise<Written[]> {
  const written: Written[] = []
  for (let i = 0; i < count; i++) written.push(await write(store, `text ${i} `.repeat(1 + (i % 40))))
  return written
}

async function read(store: LocalFrameStore, { position, text }: Written): Promise<string> {
  const block = await store.readBlock(recordOf(position))
  const offset = block.offsetOf(recordOf(position))
  return Buffer.from(block.bytes.subarray(offset, offset + Buffer.byteLength(text))).toString()
}

/** Position of the one record of the frame at a position. */
const recordOf = (position: number): number => position + FRAME_HEADER_BYTES

/** Takes a checkpoint the way an engine does: the table outlives the process as JSON. */
async function checkpoint(store: LocalFrameStore, position = store.end): Promise<FileTable> {
  const table = JSON.parse(JSON.stringify(store.table(position))) as FileTable
  await store.checkpointed(position)
  return table
}

async function cutFile(files: MemoryFiles, path: string, size: number): Promise<void> {
  const file = await files.open(path, 'read-write')
  await file.truncate(size)
}

test('frames come back in order and at their positions after the process dies', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 200)
  for (const one of written) expect(await read(store, one)).toBe(one.text)

  const again = await openStore(files.kill())
  expect(again.replayed).toEqual(written)
  expect(again.store.end).toBe(store.end)
  expect(again.store.epoch).toBe(store.epoch + 1)
  expect(again.store.incarnation).toBe(store.incarnation)
  for (const one of written) expect(await read(again.store, one)).toBe(one.text)
})

test('positions go on where they were, over files and restarts', async () => {
  let files = new MemoryFiles()
  const written: Written[] = []
  for (let round = 0; round < 5; round++) {
    const { store, replayed } = await openStore(files)
    expect(replayed).toEqual(written)
    for (const one of await writeMany(store, 60)) {
      const before = written.at(-1)
      if (before !== undefined) expect(one.position).toBe(recordOf(before.position) + before.text.length)
      written.push(one)
    }
    files = files.kill()
  }
})

test('a frame of many pieces, more than one system call takes, is stored whole', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'frames-'))
  try {
    const { store } = await openStore(nodeFiles, { directory })
    const pieces = [new Uint8Array(FRAME_HEADER_BYTES), ...Array.from({ length: 3000 }, (_, i) => Buffer.from(`${i},`))]
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    await store.write(pieces, length)
    await store.close()
    const { replayed, store: again } = await openStore(nodeFiles, { directory })
    expect(replayed[0]!.text).toBe(Array.from({ length: 3000 }, (_, i) => `${i},`).join(''))
    await again.close()
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('on a real disk, frames, reserve, checkpoint and rewrite survive a restart', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'frames-'))
  try {
    const limits = { reserveBytes: 100_000 }
    const { store } = await openStore(nodeFiles, { directory, limits })
    const written = await writeMany(store, 300)
    for (const { position } of written) store.hold(recordOf(position), 1)
    for (const { position } of written.filter((_, i) => i % 5 !== 0)) store.letGo(recordOf(position), 1)
    await checkpoint(store)
    const kept = written.filter((_, i) => i % 5 === 0)
    await rewriteSparse(store, kept)
    const table = await checkpoint(store)
    await store.close()

    const again = await openStore(nodeFiles, { directory, limits, table, from: table.end })
    expect(again.replayed).toEqual([])
    for (const one of kept) expect(await read(again.store, one)).toBe(one.text)
    expect(await again.store.restoreReserve()).toBe(true)
    await again.store.close()
  } finally {
    await rm(directory, { recursive: true })
  }
})

/** Rewrites whatever the store offers, keeping these records. */
async function rewriteSparse(store: LocalFrameStore, kept: readonly Written[]): Promise<number> {
  const lengths = new Map(kept.map(({ position, text }) => [text, position]))
  const live = Float64Array.from(kept, ({ position }) => recordOf(position))
  let rounds = 0
  for (let range = store.sparse(); range !== null; range = store.sparse()) {
    const { start, end } = range
    const inRange = live.filter((position) => position >= start && position < end)
    await store.rewrite(range, inRange, (bytes, _view, offset) => sizeOfText(bytes, offset, lengths))
    rounds++
  }
  return rounds
}

/** Texts say how long they are only by where the next frame begins, so known ones are tried. */
function sizeOfText(bytes: Uint8Array, offset: number, texts: ReadonlyMap<string, number>): number {
  let longest = 0
  for (const text of texts.keys()) {
    const found = Buffer.from(bytes.subarray(offset, offset + text.length)).toString()
    if (text.length > longest && found === text) longest = text.length
  }
  return longest
}

test('a tail torn at any byte is cut, and everything before it stays', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 5)
  const last = written.at(-1)!
  const size = FILE_HEADER_BYTES + store.end
  for (let cut = FILE_HEADER_BYTES + last.position; cut < size; cut++) {
    const torn = files.kill()
    await cutFile(torn, FIRST, cut)
    const { store: again, replayed } = await openStore(torn)
    expect(replayed).toEqual(written.slice(0, -1))
    expect(again.end).toBe(last.position)
    const added = await write(again, 'after the tear')
    expect((await openStore(torn.kill())).replayed).toEqual([...written.slice(0, -1), added])
  }
})

test('a torn first frame of a file leaves the journal as it was before', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  await write(store, 'never confirmed')
  await cutFile(files, FIRST, FILE_HEADER_BYTES + 40)
  const again = await openStore(files.kill())
  expect(again.replayed).toEqual([])
  expect(again.store.end).toBe(0)
})

test('a flipped bit is never passed over: replay refuses, or the last frame counts as torn', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 100)
  const last = written.at(-1)!
  const random = seededRandom(7)
  const names = (await files.list('/data/journal')).slice(0, -1)
  expect(names.length).toBeGreaterThan(1)
  for (let round = 0; round < 1000; round++) {
    const rotten = files.kill()
    const name = names[random.uint32() % names.length]!
    const size = (await rotten.read(`/data/journal/${name}`)).length
    const bit = random.uint32() % (size * 8)
    rotten.flip(`/data/journal/${name}`, bit)
    const inLast = name === names.at(-1) && bit / 8 >= size - last.text.length - FRAME_HEADER_BYTES
    const outcome = await openStore(rotten).catch((error: unknown) => error)
    if (inLast) expect(outcome).toMatchObject({ replayed: written.slice(0, -1) })
    else expect(outcome, `bit ${bit} of ${name}`).toBeInstanceOf(CorruptionError)
  }
})

test('a corruption names the file, the offset and the remedy', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  await writeMany(store, 5)
  files.flip(FIRST, (FILE_HEADER_BYTES + FRAME_HEADER_BYTES) * 8)
  await expect(openStore(files.kill())).rejects.toMatchObject({
    place: { file: FIRST, offset: FILE_HEADER_BYTES },
    message: expect.stringContaining('stathmos repair') as string,
  })
})

test('a damaged block is never handed out', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 20)
  const { position } = written[19]!
  files.flip(FIRST, (FILE_HEADER_BYTES + recordOf(position)) * 8)
  await expect(store.readBlock(position)).rejects.toThrow(CorruptionError)
  expect(await read(store, written[0]!)).toBe(written[0]!.text)
})

test('a bit flipped on the way from the disk is noticed, and the next read is fine', async () => {
  const files = new FaultyFiles(new MemoryFiles())
  const { store } = await openStore(files)
  const [one] = await writeMany(store, 1)
  files.arm({ kind: 'bit-flip', nth: 1, bit: 8 * 35 })
  await expect(store.readBlock(one!.position)).rejects.toThrow(CorruptionError)
  expect(await read(store, one!)).toBe(one!.text)
})

test('stale bytes of another file never parse, not even at the right position', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 3)
  const stale = Buffer.alloc(FRAME_HEADER_BYTES + 100, 'x')
  sealFrame([stale], stale.length, { kind: FRAME_RECORDS, position: store.end, epoch: 1, salt: 12345 })
  const file = await files.open(FIRST, 'read-write')
  await file.write([stale], FILE_HEADER_BYTES + store.end)
  expect((await openStore(files.kill())).replayed).toEqual(written)
})

test('a missing file is corruption, with and without a table', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 200)
  const table = store.table(written[10]!.position)
  for (const opening of [{}, { table, from: written[10]!.position }]) {
    for (const name of (await files.list('/data/journal')).slice(0, -2)) {
      const holed = files.kill()
      await holed.remove(`/data/journal/${name}`)
      await expect(openStore(holed, opening)).rejects.toThrow(CorruptionError)
    }
  }
})

test('the file header says how far the journal reached, so that a lost last file is noticed', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  await writeMany(store, 5)
  const again = await openStore(files.kill())
  const damaged = files.kill()
  await again.store.close()
  await openStore(damaged)
  await damaged.remove(FIRST)
  await expect(openStore(damaged)).rejects.toThrow(/reached/)
})

test('a file of another data directory is refused', async () => {
  const files = new MemoryFiles()
  await writeMany((await openStore(files)).store, 3)
  const table = { incarnation: '0'.repeat(32), epoch: 1, end: 0, current: 0, files: [] }
  await expect(openStore(files.kill(), { table })).rejects.toThrow(/another data directory/)
})

test('a frame that found no room is written later at the same place, with its places', async () => {
  const files = new FaultyFiles(new MemoryFiles())
  const { store } = await openStore(files)
  await write(store, 'first')
  const position = store.end
  const enough = files.arm({ kind: 'full', nth: 1, takenBytes: 10 })
  store.hold(recordOf(position), 1)
  await expect(write(store, 'second')).rejects.toThrow(StorageFullError)
  expect(store.end).toBe(position)
  await expect(write(store, 'second')).rejects.toThrow(StorageFullError)
  // The frame behind the refused one may get places before there is room.
  const next = position + FRAME_HEADER_BYTES + 'second'.length
  store.hold(recordOf(next), 1)
  enough()
  expect((await write(store, 'second')).position).toBe(position)
  await write(store, 'third')
  store.letGo(recordOf(position), 1)
  store.letGo(recordOf(next), 1)
  expect((await openStore(files)).replayed.map(({ text }) => text)).toEqual(['first', 'second', 'third'])
})

test('a short write is continued', async () => {
  const inner = new MemoryFiles()
  const files = new FaultyFiles(inner)
  const { store } = await openStore(files)
  for (const takenBytes of [1, 31, 32, 33]) {
    files.arm({ kind: 'short-write', nth: 1, takenBytes })
    await write(store, `after ${takenBytes}`)
  }
  const { replayed } = await openStore(inner.kill())
  expect(replayed.map(({ text }) => text)).toEqual(['after 1', 'after 31', 'after 32', 'after 33'])
})

test('a failed sync is final: nothing is written or believed after it', async () => {
  const files = new FaultyFiles(new MemoryFiles())
  const { store } = await openStore(files)
  await write(store, 'first')
  files.arm({ kind: 'sync-error', nth: 1, path: /0001\.jnl$/ })
  await expect(write(store, 'second')).rejects.toThrow(SyncFailedError)
  await expect(write(store, 'second')).rejects.toThrow(SyncFailedError)
  await expect(write(store, 'third')).rejects.toThrow(SyncFailedError)
})

test('what a failed sync left in the page cache is on disk after recovery, or gone', async () => {
  const memory = new MemoryFiles()
  const files = new FaultyFiles(memory)
  const { store } = await openStore(files)
  await write(store, 'first')
  files.arm({ kind: 'sync-error', nth: 1, path: /0001\.jnl$/ })
  await expect(write(store, 'second')).rejects.toThrow(SyncFailedError)

  const restarted = memory.kill()
  const { store: again, replayed } = await openStore(restarted)
  await write(again, 'third')
  const afterCut = await openStore(restarted.crash(seededRandom(3)))
  expect(afterCut.replayed.map(({ text }) => text)).toEqual([...replayed.map(({ text }) => text), 'third'])
})

test('a write that a faulty disk refuses may be tried again, and nothing of the attempt stays', async () => {
  const memory = new MemoryFiles()
  const files = new FaultyFiles(memory)
  const { store } = await openStore(files)
  await write(store, 'first')
  const well = files.arm({ kind: 'write-error', nth: 1, times: Infinity, path: /0001\.jnl$/ })
  await expect(write(store, 'second')).rejects.toThrow(StorageFullError)
  await expect(write(store, 'second')).rejects.toThrow(StorageFullError)
  well()
  await write(store, 'second')
  const { replayed } = await openStore(memory.crash(seededRandom(2)))
  expect(replayed.map(({ text }) => text)).toEqual(['first', 'second'])
})

test('a write that the disk refuses for good is final', async () => {
  let broken = false
  const files = new MemoryFiles({
    beforeCall: (_, name) => {
      if (broken && name === 'write') throw Object.assign(new Error('EROFS'), { code: 'EROFS' })
    },
  })
  const { store } = await openStore(files)
  broken = true
  await expect(write(store, 'first')).rejects.toThrow(StorageFailedError)
  await expect(write(store, 'first')).rejects.toThrow(StorageFailedError)
})

test('the reserve gives room when the disk is full, and comes back when there is room', async () => {
  const files = new MemoryFiles({ capacityBytes: 80_000 })
  const { store } = await openStore(files, { limits: { reserveBytes: 20_000 } })
  expect(await store.restoreReserve()).toBe(true)
  const written: Written[] = []
  const filler = 'x'.repeat(1000)
  for (;;) {
    const one = await write(store, filler).catch((error: unknown) => error)
    if (one instanceof StorageFullError) break
    written.push(one as Written)
  }
  await store.releaseReserve()
  expect(store.reserveHeld).toBe(false)
  written.push(await write(store, filler))
  expect(await store.restoreReserve()).toBe(false)
  await checkpoint(store)
  expect(await store.restoreReserve()).toBe(true)
})

test('a store that stopped on a full disk starts again on the reserve', async () => {
  const capacityBytes = 80_000
  const files = new MemoryFiles({ capacityBytes })
  const limits = { reserveBytes: 20_000 }
  const { store } = await openStore(files, { limits })
  expect(await store.restoreReserve()).toBe(true)
  const rubbish = await files.open('/data/rubbish', 'create')
  await rubbish.write([Buffer.alloc(capacityBytes)], 0)
  // Others took even the room that the recovery itself makes.
  const crowded = { capacityBytes: capacityBytes - 10_000 }
  const again = await openStore(files.kill(crowded), { limits })
  await write(again.store, 'settled')
  expect(again.store.reserveHeld).toBe(false)

  await files.remove('/data/journal/reserve')
  await rubbish.write([Buffer.alloc(capacityBytes)], 0)
  await expect(openStore(files.kill(crowded), { limits })).rejects.toThrow(StorageFullError)
})

test('a file dies with the first checkpoint at which no place refers to it', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 200)
  const first = written[0]!
  store.hold(recordOf(first.position), 2)
  const before = store.bytes
  let table = await checkpoint(store)
  expect(table.files.map(({ number }) => number)).toEqual([1, table.current])
  expect(store.bytes).toBeLessThan(before)
  expect(await read(store, first)).toBe(first.text)

  store.letGo(recordOf(first.position), 1)
  table = await checkpoint(store)
  store.letGo(recordOf(first.position), 1)
  // The checkpoint that is on disk still counts the place.
  expect((await openStore(files.kill(), { table, from: table.end })).store.answersFor(first.position)).toBe(true)
  await checkpoint(store)
  expect(store.answersFor(first.position)).toBe(false)
  await expect(store.readBlock(first.position)).rejects.toThrow(CorruptionError)
})

test('places are counted before and during replay, for files known and unknown', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const early = await writeMany(store, 100)
  for (const { position } of early) store.hold(recordOf(position), 1)
  const table = await checkpoint(store)
  const late = await writeMany(store, 100)

  const next = files.kill()
  const again = await LocalFrameStore.open({
    files: next,
    directory: '/data',
    random: seededRandom(1),
    limits: LIMITS,
    table,
  })
  const kept = [early[3]!, late[70]!]
  for (const { position } of kept) again.hold(recordOf(position), 1)
  await again.replay(table.end, ({ position }) => {
    again.hold(recordOf(position), 1)
    again.letGo(recordOf(position), 1)
  })
  await checkpoint(again)
  for (const one of kept) expect(await read(again, one)).toBe(one.text)
  expect(again.answersFor(early[90]!.position)).toBe(false)
  expect(again.answersFor(late[99]!.position)).toBe(again.rangeOf(kept[1]!.position).end > late[99]!.position)
})

test('a checkpoint may be captured before the frame it ends at is written', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  await writeMany(store, 60)
  // The engine captured its state at the end of this frame; the table knows only what is on disk.
  const position = store.end
  const text = 'cut, but not written'
  store.hold(recordOf(position), 1)
  const range = store.rangeOf(recordOf(position))
  expect(range.start).toBe(position)
  const table = store.table(position)
  const written = await write(store, text)
  const from = store.end
  await store.checkpointed(position)
  const after = await write(store, 'after the checkpoint')

  const next = files.kill()
  const random = seededRandom(1)
  const again = await LocalFrameStore.open({ files: next, directory: '/data', random, limits: LIMITS, table })
  again.hold(recordOf(position), 1)
  const replayed: number[] = []
  await again.replay(from, (frame) => void replayed.push(frame.position))
  expect(replayed).toEqual([after.position])
  await checkpoint(again)
  expect(await read(again, written)).toBe(text)
})

test('a file whose last place goes while it is rewritten outlasts the rewrite', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 100)
  for (const { position } of written) store.hold(recordOf(position), 1)
  for (const { position } of written.slice(1)) store.letGo(recordOf(position), 1)
  await checkpoint(store)
  const first = written[0]!
  const rewriting = store.rewrite(store.sparse()!, Float64Array.of(recordOf(first.position)), () => first.text.length)
  store.letGo(recordOf(first.position), 1)
  await checkpoint(store)
  await rewriting
  const table = await checkpoint(store)
  expect(table.files.map(({ number }) => number)).toEqual([table.current])
  expect((await openStore(files.kill(), { table, from: table.end })).store.end).toBe(table.end)
})

test('a reader that is overtaken by a rewrite gets its record from the new file', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 100)
  for (const { position } of written) store.hold(recordOf(position), 1)
  const kept = written.filter((_, i) => i % 9 === 0)
  for (const one of written) if (!kept.includes(one)) store.letGo(recordOf(one.position), 1)
  await checkpoint(store)
  const reads: Promise<string>[] = []
  const rewriting = rewriteSparse(store, kept).then(() => checkpoint(store))
  for (let round = 0; round < 40; round++) {
    for (const one of kept) reads.push(read(store, one))
    await reads.at(-1)
  }
  await rewriting
  const texts = await Promise.all(reads)
  texts.forEach((text, i) => expect(text).toBe(kept[i % kept.length]!.text))
})

test('no room for a rewrite changes nothing', async () => {
  const files = new FaultyFiles(new MemoryFiles())
  const { store } = await openStore(files)
  const written = await writeMany(store, 100)
  for (const { position } of written) store.hold(recordOf(position), 1)
  for (const { position } of written.slice(1)) store.letGo(recordOf(position), 1)
  await checkpoint(store)
  const enough = files.arm({ kind: 'full', nth: 2, path: /\.1\.jnl$/ })
  await expect(rewriteSparse(store, written.slice(0, 1))).rejects.toThrow(StorageFullError)
  expect(await read(store, written[0]!)).toBe(written[0]!.text)
  enough()
  expect(await rewriteSparse(store, written.slice(0, 1))).toBe(1)
  expect(await read(store, written[0]!)).toBe(written[0]!.text)
})

test('rubbish in place of frames is cut off or refused, and nothing else happens', async () => {
  const random = seededRandom(11)
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 3)
  for (let round = 0; round < 300; round++) {
    const rotten = files.kill()
    const file = await rotten.open(FIRST, 'read-write')
    const at = random.uint32() % (FILE_HEADER_BYTES + store.end)
    await file.write([random.bytes(1 + (random.uint32() % 300))], at)
    const outcome = await openStore(rotten).catch((error: unknown) => error)
    if (outcome instanceof CorruptionError) continue
    const { replayed } = outcome as { replayed: Written[] }
    expect(replayed).toEqual(written.slice(0, replayed.length))
    expect(written[replayed.length]?.position ?? Infinity).toBeGreaterThan(at - FILE_HEADER_BYTES - 1000)
  }
})

test('a mostly dead file is rewritten: its living records keep their positions, over restarts too', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 300)
  for (const { position } of written) store.hold(recordOf(position), 1)
  const kept = written.filter((_, i) => i % 7 === 0)
  for (const one of written) if (!kept.includes(one)) store.letGo(recordOf(one.position), 1)
  const before = await checkpoint(store)
  const bytes = store.bytes
  expect(await rewriteSparse(store, kept)).toBeGreaterThan(1)
  for (const one of kept) expect(await read(store, one)).toBe(one.text)

  // A crash before the next checkpoint goes on with the old files.
  const old = await openStore(files.kill(), { table: before, from: before.end })
  for (const one of kept) expect(await read(old.store, one)).toBe(one.text)

  const after = await checkpoint(store)
  expect(store.bytes).toBeLessThan(bytes / 2)
  const next = await openStore(files.kill(), { table: after, from: after.end })
  for (const one of kept) expect(await read(next.store, one)).toBe(one.text)
  for (const { position } of kept) next.store.hold(recordOf(position), 1)
  for (const { position } of kept) next.store.letGo(recordOf(position), 1)
  const empty = await checkpoint(next.store)
  expect(empty.files.map(({ number }) => number)).toEqual([empty.current])
})

test('small neighbours are joined into one file', async () => {
  let files = new MemoryFiles()
  const kept: Written[] = []
  let table: FileTable | undefined
  for (let round = 0; round < 9; round++) {
    const { store } = await openStore(files, table === undefined ? {} : { table, from: table.end })
    for (const { position } of kept) store.hold(recordOf(position), 1)
    kept.push(await write(store, `round ${round}`))
    store.hold(recordOf(kept.at(-1)!.position), 1)
    table = await checkpoint(store)
    files = files.kill()
  }
  const { store } = await openStore(files, { table: table!, from: table!.end, limits: { fileBytes: 64 * 1024 } })
  for (const { position } of kept) store.hold(recordOf(position), 1)
  expect(table!.files.length).toBe(9)
  expect(await rewriteSparse(store, kept)).toBe(1)
  expect((await checkpoint(store)).files.length).toBe(3)
  for (const one of kept) expect(await read(store, one)).toBe(one.text)
})

test('a rewritten file without its checkpoint is refused, not taken for rubbish', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 100)
  for (const { position } of written) store.hold(recordOf(position), 1)
  for (const { position } of written.slice(1)) store.letGo(recordOf(position), 1)
  await checkpoint(store)
  await rewriteSparse(store, written.slice(0, 1))
  await checkpoint(store)
  await expect(openStore(files.kill())).rejects.toThrow(/checkpoint/)
})

test('a file that is mostly dead can be ended before it is full, and its room comes back', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written = await writeMany(store, 20)
  for (const { position } of written) store.hold(recordOf(position), 1)
  store.seal()
  await checkpoint(store)
  // Still needed: it stays what the next frame goes to.
  const needed = store.bytes
  for (const { position } of written.slice(1)) store.letGo(recordOf(position), 1)
  store.seal()
  const more = await write(store, 'in another file')
  store.hold(recordOf(more.position), 1)
  expect(await read(store, written[0]!)).toBe(written[0]!.text)
  store.letGo(recordOf(written[0]!.position), 1)
  const table = await checkpoint(store)
  expect(needed - store.bytes).toBeGreaterThan(2000)
  const again = await openStore(files.kill(), { table, from: table.end })
  expect(await read(again.store, more)).toBe(more.text)
})

test('a scrub finds rot in a block that nobody reads, and starts over at the end', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  for (const { position } of await writeMany(store, 200)) store.hold(recordOf(position), 1)
  for (let i = 0; i < 30; i++) await store.scrub(4096)
  files.flip('/data/journal/0000000002.jnl', (FILE_HEADER_BYTES + 5000) * 8)
  const scrubbing = async (): Promise<void> => {
    for (let i = 0; i < 30; i++) await store.scrub(4096)
  }
  await expect(scrubbing()).rejects.toThrow(CorruptionError)
})

test('no more files stay open than the limit allows', async () => {
  let open = 0
  let openMax = 0
  const files = new MemoryFiles({
    beforeCall: (_, name) => {
      if (name === 'open') open++
      if (name === 'close') open--
      openMax = Math.max(openMax, open)
    },
  })
  const { store } = await openStore(files)
  const written = await writeMany(store, 600)
  openMax = 0
  for (const one of written) await read(store, one)
  // The limit, one being opened beyond it, the file being written and the one prepared.
  expect(openMax).toBeLessThanOrEqual(LIMITS.openFilesMax + 3)
  await store.close()
  expect(open).toBe(0)
})
