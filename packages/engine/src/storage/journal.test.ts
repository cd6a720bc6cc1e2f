import { simulate } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { Journal, type JournalEvents } from './journal.ts'
import { StorageFullError, SyncFailedError } from './storage-errors.ts'
import { FRAME_HEADER_BYTES } from './frame.ts'
import type { Block, FrameStore } from './frame-store.ts'

/** A store that writes when it is told to. */
class Press {
  end = 0
  reserveHeld = false
  readonly frames: Uint8Array[] = []
  inFlight: { resolve(): void; reject(error: Error): void } | null = null

  write(pieces: readonly Uint8Array[], length: number): Promise<void> {
    expect(this.inFlight, 'one frame at most is in flight').toBeNull()
    const frame = Buffer.concat(pieces)
    expect(frame).toHaveLength(length)
    return new Promise((resolve, reject) => {
      this.inFlight = {
        resolve: () => {
          this.frames.push(frame)
          this.end += length
          this.inFlight = null
          resolve()
        },
        reject: (error) => {
          this.inFlight = null
          reject(error)
        },
      }
    })
  }

  readBlock(): Promise<Block> {
    const bytes = Buffer.concat(this.frames)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return Promise.resolve({ start: 0, end: this.end, bytes, view, offsetOf: (position) => position })
  }

  answersFor(): boolean {
    return true
  }
}

function world(ringBytes = 1 << 20) {
  const simulation = simulate({ seed: 1 })
  const press = new Press()
  const told: string[] = []
  const beforeCut: (() => void)[] = []
  const events: JournalEvents = {
    beforeCut: () => beforeCut.shift()?.(),
    cut: (end) => told.push(`cut ${end}`),
    takeCut: () => null,
    durable: (position) => told.push(`durable ${position}`),
    full: (full) => told.push(`full ${full}`),
    fatal: (error) => told.push(`fatal ${error.name}`),
  }
  const limits = { ringBytes, coldBytes: 1 << 20, fullRetryMs: 100 }
  const journal = new Journal(press as unknown as FrameStore, simulation.clock, limits, events)
  const append = (text: string): number => {
    journal.reserve(text.length)
    journal.bytes.set(Buffer.from(text), journal.at)
    return journal.commit(text.length)
  }
  const read = (position: number, length: number): string | null =>
    journal.locate(position)
      ? Buffer.from(journal.foundBytes.subarray(journal.foundAt, journal.foundAt + length)).toString()
      : null
  const written = (): string[] => press.frames.map((frame) => frame.subarray(FRAME_HEADER_BYTES).toString())
  const turn = (): Promise<void> => simulation.elapse(0)
  return { simulation, press, told, beforeCut, journal, append, read, written, turn }
}

test('what is appended in one turn is one frame, and what comes while it is written the next one', async () => {
  const { press, journal, append, written, turn } = world()
  append('a')
  append('b')
  await turn()
  for (const text of ['c', 'd', 'e']) append(text)
  await turn()
  expect(written()).toEqual([])
  press.inFlight!.resolve()
  await turn()
  press.inFlight!.resolve()
  await turn()
  expect(written()).toEqual(['ab', 'cde'])
  expect(press.inFlight).toBeNull()
  expect([journal.durable, journal.pendingBytes]).toEqual([journal.end, 0])
})

test('a position is behind all earlier ones, and durable only when its frame is written', async () => {
  const { press, journal, append, turn, told } = world()
  const [a, b] = [append('aaa'), append('b')]
  expect(b - a).toBe(3)
  await turn()
  const c = append('c')
  press.inFlight!.resolve()
  await turn()
  expect(journal.durable).toBeGreaterThan(b)
  expect(journal.durable).toBeLessThanOrEqual(c)
  expect(told).toEqual([`cut ${b + 1}`, `cut ${c + 1}`, `durable ${b + 1}`])
})

test('who asks to be told when all is written is told then, and at once when nothing is pending', async () => {
  const { press, journal, append, turn } = world()
  await journal.flushed()
  append('a')
  let flushed = false
  const waiting = journal.flushed().then(() => {
    flushed = true
  })
  await turn()
  expect(flushed).toBe(false)
  press.inFlight!.resolve()
  await waiting
})

test('what is appended before the cut rides along, also when nothing else was', async () => {
  const { press, journal, append, beforeCut, written, turn } = world()
  beforeCut.push(() => void append('late'))
  journal.request()
  await turn()
  press.inFlight!.resolve()
  await turn()
  expect(written()).toEqual(['late'])
  journal.request()
  await turn()
  expect(press.inFlight).toBeNull()
})

test('records larger than a block of memory are whole, between small ones', async () => {
  const { press, append, read, written, turn } = world(4096)
  const large = 'x'.repeat(10_000)
  const positions = [append('a'), append(large), append('b')]
  expect(positions.map((position, i) => read(position, [1, 10_000, 1][i]!))).toEqual(['a', large, 'b'])
  await turn()
  press.inFlight!.resolve()
  await turn()
  expect(written()).toEqual([`a${large}b`])
})

test('what has left memory is read back, and what is not on disk never leaves it', async () => {
  const { press, journal, append, read, turn } = world(1024)
  const first = append('first')
  await turn()
  const others = Array.from({ length: 50 }, () => append('x'.repeat(500)))
  for (const position of [first, ...others]) expect(journal.locate(position)).toBe(true)
  press.inFlight!.resolve()
  await turn()
  press.inFlight!.resolve()
  await turn()
  expect(read(first, 5)).toBeNull()
  await journal.load(first)
  expect(read(first, 5)).toBe('first')
  expect(read(others.at(-1)!, 500)).toBe('x'.repeat(500))
})

test('a full disk is told of once, the same frame is tried until it goes through, and nothing overtakes it', async () => {
  const { simulation, press, journal, append, written, turn, told } = world()
  append('a')
  await turn()
  for (let i = 0; i < 3; i++) {
    press.inFlight!.reject(new StorageFullError('full'))
    await turn()
    append('b')
    expect(press.inFlight).toBeNull()
    await simulation.elapse(100)
  }
  expect(journal.full).toBe(true)
  press.inFlight!.resolve()
  await turn()
  press.inFlight!.resolve()
  await turn()
  expect(written()).toEqual(['a', 'bbb'])
  expect(told.filter((event) => event.startsWith('full'))).toEqual(['full true', 'full false'])
})

test('after a failed sync nothing is ever confirmed again, and who waits or asks is refused', async () => {
  const { press, journal, append, turn, told } = world()
  append('a')
  const waiting = journal.flushed().catch((error: unknown) => error)
  await turn()
  press.inFlight!.reject(new SyncFailedError('no sync'))
  await turn()
  expect(await waiting).toBeInstanceOf(SyncFailedError)
  append('b')
  await turn()
  await expect(journal.flushed()).rejects.toThrow('no sync')
  expect(press.inFlight).toBeNull()
  expect(told.filter((event) => !event.startsWith('cut'))).toEqual(['fatal SyncFailedError'])
})
