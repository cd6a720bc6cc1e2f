import { MemoryFiles } from '@stathmos/testkit'
import { seededRandom } from '@stathmos/std'
import { expect, test } from 'vitest'
import type { FileTable } from './file-table.ts'
import type { Files } from './files.ts'
import { FRAME_HEADER_BYTES } from './frame.ts'
import { LocalFrameStore } from './local-frame-store.ts'

const LIMITS = { fileBytes: 16 * 1024, blockBytes: 1024, reserveBytes: 0, openFilesMax: 4 }

/** A frame store with small files, and what its replay showed. */
async function openStore(
  files: Files,
  options: { table?: FileTable; from?: number; limits?: object; seed?: number } = {},
) {
  await files.makeDirectory('/data')
  await files.syncDirectory('/')
  const limits = { ...LIMITS, ...options.limits }
  const random = seededRandom(options.seed ?? 1)
  const store = await LocalFrameStore.open({ files, directory: '/data', random, limits, table: options.table ?? null })
  const replayed: { position: number; text: string }[] = []
  await store.replay(options.from ?? 0, ({ position, bytes, start, end }) => {
    replayed.push({ position, text: Buffer.from(bytes.subarray(start, end)).toString() })
  })
  return { store, replayed }
}

/** A frame with one record of text. */
function frame(text: string): { pieces: Uint8Array[]; length: number } {
  const record = Buffer.from(text)
  return { pieces: [new Uint8Array(FRAME_HEADER_BYTES), record], length: FRAME_HEADER_BYTES + record.length }
}

async function writeText(store: LocalFrameStore, text: string): Promise<number> {
  const position = store.end
  const { pieces, length } = frame(text)
  await store.write(pieces, length)
  return position
}

async function readText(store: LocalFrameStore, position: number, length: number): Promise<string> {
  const block = await store.readBlock(position)
  const offset = block.offsetOf(position + FRAME_HEADER_BYTES)
  return Buffer.from(block.bytes.subarray(offset, offset + length)).toString()
}

test('frames come back in order and at their positions after the process dies', async () => {
  const files = new MemoryFiles()
  const { store } = await openStore(files)
  const written: { position: number; text: string }[] = []
  for (let i = 0; i < 200; i++) {
    const text = `record ${i} `.repeat(1 + (i % 40))
    written.push({ position: await writeText(store, text), text })
  }
  for (const { position, text } of written) expect(await readText(store, position, text.length)).toBe(text)

  const again = await openStore(files.kill())
  expect(again.replayed).toEqual(written)
  expect(again.store.end).toBe(store.end)
  expect(again.store.epoch).toBe(store.epoch + 1)
  expect(again.store.incarnation).toBe(store.incarnation)
  for (const { position, text } of written) expect(await readText(again.store, position, text.length)).toBe(text)
})
