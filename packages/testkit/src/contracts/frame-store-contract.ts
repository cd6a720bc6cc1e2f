import type { FileTable, FrameStore, ReplayedFrame } from '@stathmos/engine'
import { FRAME_HEADER_BYTES } from '@stathmos/engine'
import assert from 'node:assert/strict'
import type { Promised } from './contract.ts'

/** A place for frames, empty at first. */
export interface FrameStoreSubject {
  /**
   * Opens the store on what earlier ones of this subject left there, without closing them: as after the
   * death of their process. Not replayed yet.
   */
  open(table: FileTable | null): Promise<FrameStore>
}

interface Written {
  readonly position: number
  readonly text: string
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
/** Position of the one record of a frame. */
const recordOf = ({ position }: Written): number => position + FRAME_HEADER_BYTES

async function write(store: FrameStore, text: string): Promise<Written> {
  const position = store.end
  const record = bytesOf(text)
  await store.write([new Uint8Array(FRAME_HEADER_BYTES), record], FRAME_HEADER_BYTES + record.length)
  return { position, text }
}

async function writeMany(store: FrameStore, count: number, size = 100): Promise<Written[]> {
  const written: Written[] = []
  for (let i = 0; i < count; i++) written.push(await write(store, `text ${i} `.padEnd(size, '.')))
  return written
}

async function replay(store: FrameStore, from = 0): Promise<Written[]> {
  const seen: Written[] = []
  await store.replay(from, ({ position, bytes, start, end }: ReplayedFrame) => {
    seen.push({ position, text: textOf(bytes.subarray(start, end)) })
  })
  return seen
}

async function read(store: FrameStore, written: Written): Promise<string> {
  const block = await store.readBlock(recordOf(written))
  assert.ok(block.start <= recordOf(written) && recordOf(written) < block.end, 'the block answers for the position')
  const at = block.offsetOf(recordOf(written))
  return textOf(block.bytes.subarray(at, at + bytesOf(written.text).length))
}

async function checkpoint(store: FrameStore): Promise<FileTable> {
  const position = store.end
  const table = JSON.parse(JSON.stringify(store.table(position))) as FileTable
  await store.checkpointed(position)
  return table
}

async function opened(subject: FrameStoreSubject, table: FileTable | null = null): Promise<FrameStore> {
  const store = await subject.open(table)
  await replay(store, table?.end ?? 0)
  return store
}

/** What the journal relies on, wherever frames are kept. A further implementation runs all of it. */
export const frameStoreContract: readonly Promised<FrameStoreSubject>[] = [
  {
    name: 'a new store has nothing to show and begins to write where it ends',
    async run(subject) {
      const store = await subject.open(null)
      assert.deepEqual(await replay(store), [])
      const start = store.end
      const { position } = await write(store, 'first')
      assert.equal(position, start)
      assert.equal(store.end, start + FRAME_HEADER_BYTES + 5)
      await store.close()
    },
  },
  {
    name: 'what was written is there, whole and in order, when its writer dies',
    async run(subject) {
      const written = await writeMany(await opened(subject), 60)
      const next = await subject.open(null)
      assert.deepEqual(await replay(next), written)
      await next.close()
    },
  },
  {
    name: 'positions go on where they were, every opening has a higher epoch, and the incarnation stays',
    async run(subject) {
      const first = await opened(subject)
      await writeMany(first, 5)
      const second = await opened(subject)
      assert.equal(second.end, first.end)
      assert.ok(second.epoch > first.epoch, 'the epoch grows')
      assert.equal(second.incarnation, first.incarnation)
      const { position } = await write(second, 'next')
      assert.equal(position, first.end)
      await second.close()
    },
  },
  {
    name: 'replay begins at the frame that is asked for',
    async run(subject) {
      const written = await writeMany(await opened(subject), 20)
      const next = await subject.open(null)
      assert.deepEqual(await replay(next, written[12]!.position), written.slice(12))
      await next.close()
    },
  },
  {
    name: 'a frame of many pieces is one frame',
    async run(subject) {
      const store = await opened(subject)
      const pieces = [new Uint8Array(FRAME_HEADER_BYTES), ...Array.from({ length: 50 }, (_, i) => bytesOf(`${i},`))]
      await store.write(
        pieces,
        pieces.reduce((sum, piece) => sum + piece.length, 0),
      )
      const next = await subject.open(null)
      const [seen, ...more] = await replay(next)
      assert.equal(seen?.text, Array.from({ length: 50 }, (_, i) => `${i},`).join(''))
      assert.deepEqual(more, [])
      await next.close()
    },
  },
  {
    name: 'every record can be read back by its position, before and after a restart',
    async run(subject) {
      const store = await opened(subject)
      const written = await writeMany(store, 40)
      for (const one of written) assert.equal(await read(store, one), one.text)
      const next = await opened(subject)
      for (const one of written.toReversed()) assert.equal(await read(next, one), one.text)
      await next.close()
    },
  },
  {
    name: 'after a checkpoint only what was written since is replayed, and what has places is there',
    async run(subject) {
      const store = await opened(subject)
      const written = await writeMany(store, 100)
      const kept = written.filter((_, i) => i % 10 === 0)
      for (const one of kept) store.hold(recordOf(one), 1)
      const table = await checkpoint(store)
      const after = await write(store, 'after')
      const next = await subject.open(table)
      for (const one of kept) next.hold(recordOf(one), 1)
      assert.deepEqual(await replay(next, table.end), [after])
      for (const one of [...kept, after]) assert.equal(await read(next, one), one.text)
      await next.close()
    },
  },
  {
    name: 'what has no place any more gives its room back',
    async run(subject) {
      const store = await opened(subject)
      const written = await writeMany(store, 300, 500)
      for (const one of written) store.hold(recordOf(one), 2)
      await checkpoint(store)
      const full = store.bytes
      for (const one of written) store.letGo(recordOf(one), 2)
      await writeMany(store, 20)
      const table = await checkpoint(store)
      assert.ok(store.bytes < full / 2, `${store.bytes} of ${full} bytes are left`)
      const next = await opened(subject, table)
      assert.ok(next.bytes < full / 2, 'nor is it there after a restart')
      await next.close()
    },
  },
  {
    name: 'a range that is mostly dead is rewritten, and its living records stay where they were',
    async run(subject) {
      const store = await opened(subject)
      const written = await writeMany(store, 300, 500)
      const kept = written.filter((_, i) => i % 20 === 0)
      for (const one of written) store.hold(recordOf(one), 1)
      for (const one of written) if (!kept.includes(one)) store.letGo(recordOf(one), 1)
      await checkpoint(store)
      const full = store.bytes
      for (let range = store.sparse(); range !== null; range = store.sparse()) {
        const { start, end } = range
        const live = kept.map(recordOf).filter((position) => position >= start && position < end)
        await store.rewrite(range, Float64Array.from(live), () => 500)
        await checkpoint(store)
        for (const one of kept) assert.equal(await read(store, one), one.text)
      }
      const table = await checkpoint(store)
      assert.ok(store.bytes < full / 2, `${store.bytes} of ${full} bytes are left`)
      const next = await subject.open(table)
      for (const one of kept) next.hold(recordOf(one), 1)
      await replay(next, table.end)
      for (const one of kept) assert.equal(await read(next, one), one.text)
      await next.close()
    },
  },
  {
    name: 'a scrub of what is intact finds nothing, and may go on for ever',
    async run(subject) {
      const store = await opened(subject)
      const written = await writeMany(store, 50)
      for (const one of written) store.hold(recordOf(one), 1)
      for (let i = 0; i < 20; i++) await store.scrub(2000)
      await store.close()
    },
  },
]
