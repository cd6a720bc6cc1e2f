import { FRAME_HEADER_BYTES, FRAME_MAGIC, frameIntact, frameLength, framePosition } from './frame.ts'
import { FILE_HEADER_BYTES } from './file-header.ts'
import type { OpenFile } from './files.ts'

/** Large reads keep the disk busy; a frame beyond it makes the buffer grow. */
const SCAN_BYTES = 2 * 1024 * 1024

const MAGIC_BYTES = Buffer.alloc(4)
MAGIC_BYTES.writeUInt32LE(FRAME_MAGIC)

export interface ScannedFile {
  readonly file: OpenFile
  readonly size: number
  readonly salt: number
}

/**
 * Calls `visit` for each frame from `offset` on, as long as they are whole and follow one another by
 * position. `bytes` are valid during the call only. Resolves to the offset where that ends: the file's size, or
 * the place of something that is no frame.
 */
export async function scanFrames(
  scanned: ScannedFile,
  offset: number,
  visit: (bytes: Uint8Array, view: DataView, start: number, length: number) => void,
): Promise<number> {
  let buffer = Buffer.allocUnsafeSlow(SCAN_BYTES)
  let view = new DataView(buffer.buffer)
  let filled = 0
  let parsed = 0
  /** File offset of the first byte of the buffer. */
  let origin = offset
  let expected = -1

  for (;;) {
    let wanted = FRAME_HEADER_BYTES
    while (filled - parsed >= FRAME_HEADER_BYTES) {
      const length = frameLength(view, parsed)
      if (length === 0 || origin + parsed + length > scanned.size) return origin + parsed
      wanted = length
      if (filled - parsed < length) break
      if (!frameIntact(buffer, view, parsed, length, scanned.salt)) return origin + parsed
      const position = framePosition(view, parsed)
      if (expected !== -1 && position !== expected) return origin + parsed
      visit(buffer, view, parsed, length)
      expected = position + length
      parsed += length
      wanted = FRAME_HEADER_BYTES
    }
    const rest = filled - parsed
    if (origin + parsed + wanted > scanned.size) return origin + parsed
    if (wanted > buffer.length) {
      const larger = Buffer.allocUnsafeSlow(wanted + SCAN_BYTES)
      buffer.copy(larger, 0, parsed, filled)
      buffer = larger
      view = new DataView(buffer.buffer)
    } else {
      buffer.copyWithin(0, parsed, filled)
    }
    origin += parsed
    parsed = 0
    filled = rest + (await scanned.file.read(buffer.subarray(rest), origin + rest))
    if (filled < wanted) return origin
  }
}

/**
 * The offset of a valid frame at or after `offset`, or -1. A frame there proves that what lies before
 * it was once whole: a torn tail has nothing behind it, because one frame at most is in flight.
 *
 * @param base position of the file's first frame, -1 when it is not known
 */
export async function findFrame(scanned: ScannedFile, offset: number, base: number): Promise<number> {
  const window = Buffer.allocUnsafeSlow(SCAN_BYTES)
  for (let origin = offset; origin + FRAME_HEADER_BYTES < scanned.size;) {
    const filled = await scanned.file.read(window, origin)
    if (filled <= FRAME_HEADER_BYTES) return -1
    const part = window.subarray(0, filled)
    const view = new DataView(part.buffer, part.byteOffset, filled)
    for (let at = part.indexOf(MAGIC_BYTES); at !== -1; at = part.indexOf(MAGIC_BYTES, at + 1)) {
      if (at + FRAME_HEADER_BYTES > filled) break
      const length = frameLength(view, at)
      if (length === 0 || origin + at + length > scanned.size) continue
      if (base !== -1 && framePosition(view, at) !== base + origin + at - FILE_HEADER_BYTES) continue
      if (await intactAt(scanned, origin + at, length)) return origin + at
    }
    // The last bytes are looked at again, for a header that straddles two windows.
    origin += filled - FRAME_HEADER_BYTES + 1
  }
  return -1
}

async function intactAt(scanned: ScannedFile, offset: number, length: number): Promise<boolean> {
  const frame = Buffer.allocUnsafeSlow(length)
  const filled = await scanned.file.read(frame, offset)
  return filled === length && frameIntact(frame, new DataView(frame.buffer), 0, length, scanned.salt)
}
