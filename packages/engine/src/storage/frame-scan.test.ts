import { MemoryFiles } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { FILE_HEADER_BYTES } from './file-header.ts'
import { FRAME_HEADER_BYTES, FRAME_RECORDS, framePosition, sealFrame } from './frame.ts'
import { findFrame, scanFrames } from './frame-scan.ts'
import type { ScannedFile } from './frame-scan.ts'

const SALT = 99
const MEBIBYTE = 1024 * 1024

function sealed(position: number, length: number, salt = SALT): Uint8Array {
  const bytes = new Uint8Array(length).fill(position % 251, FRAME_HEADER_BYTES)
  sealFrame([bytes], length, { kind: FRAME_RECORDS, position, epoch: 1, salt })
  return bytes
}

/** A file with these pieces behind its header. */
async function fileOf(...pieces: readonly Uint8Array[]): Promise<ScannedFile> {
  const files = new MemoryFiles()
  await files.makeDirectory('/d')
  const file = await files.open('/d/f', 'create')
  await file.write([new Uint8Array(FILE_HEADER_BYTES), ...pieces], 0)
  return { file, size: await file.size(), salt: SALT }
}

async function positionsIn(scanned: ScannedFile): Promise<{ positions: number[]; stop: number }> {
  const positions: number[] = []
  const stop = await scanFrames(
    scanned,
    FILE_HEADER_BYTES,
    (_, view, at) => void positions.push(framePosition(view, at)),
  )
  return { positions, stop }
}

test('frames larger than one read, and across reads, are seen whole', async () => {
  const lengths = [100, MEBIBYTE - 1, 5 * MEBIBYTE, 33, 2 * MEBIBYTE, 2 * MEBIBYTE + 1, 40, 9 * MEBIBYTE]
  let position = 0
  const frames = lengths.map((length) => {
    const frame = sealed(position, length)
    position += length
    return frame
  })
  const scanned = await fileOf(...frames)
  const { positions, stop } = await positionsIn(scanned)
  expect(positions).toHaveLength(lengths.length)
  expect(stop).toBe(scanned.size)
})

test('a scan stops where the positions do not go on', async () => {
  const scanned = await fileOf(sealed(0, 100), sealed(100, 100), sealed(300, 100))
  expect(await positionsIn(scanned)).toEqual({ positions: [0, 100], stop: FILE_HEADER_BYTES + 200 })
})

test('a valid frame behind damage is found wherever it lies, across reads too', async () => {
  for (const gap of [
    1,
    31,
    32,
    33,
    2 * MEBIBYTE - 40,
    2 * MEBIBYTE - 5,
    2 * MEBIBYTE - 1,
    2 * MEBIBYTE,
    3 * MEBIBYTE,
  ]) {
    const scanned = await fileOf(new Uint8Array(gap), sealed(gap, 100))
    expect(await findFrame(scanned, FILE_HEADER_BYTES, 0), `gap ${gap}`).toBe(FILE_HEADER_BYTES + gap)
    expect(await findFrame(scanned, FILE_HEADER_BYTES, -1), `gap ${gap}`).toBe(FILE_HEADER_BYTES + gap)
  }
})

test('what only looks like a frame is not found', async () => {
  const wrongSalt = sealed(100, 100, SALT + 1)
  const wrongPlace = sealed(7, 100)
  const cutShort = sealed(300, 100).subarray(0, 99)
  const scanned = await fileOf(new Uint8Array(100), wrongSalt, wrongPlace, cutShort)
  expect(await findFrame(scanned, FILE_HEADER_BYTES, 0)).toBe(-1)
})
