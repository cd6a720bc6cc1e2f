import { FRAME_HEADER_BYTES, getPosition, setPosition } from './frame.ts'
import type { Block } from './frame-store.ts'
import type { BlockExtent } from './journal-file.ts'
import { CorruptionError } from './storage-errors.ts'

/**
 * A frame of a rewritten file: records that were copied, found by the positions that they were first
 * written at. After the frame header, little-endian: the count (4 bytes, then 4 of 0), so many
 * positions of 8 bytes, ascending, so many offsets from the frame's start of 4 bytes, the records.
 */
const POSITIONS = FRAME_HEADER_BYTES + 8
const POSITION_BYTES = 8
const OFFSET_BYTES = 4

export interface Copy {
  readonly position: number
  readonly record: Uint8Array
}

/** A frame that holds the copies, unsealed. */
export function copyFrame(copies: readonly Copy[]): Uint8Array {
  const offsets = POSITIONS + copies.length * POSITION_BYTES
  const records = offsets + copies.length * OFFSET_BYTES
  const frame = Buffer.alloc(copies.reduce((sum, { record }) => sum + record.length, records))
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  view.setUint32(FRAME_HEADER_BYTES, copies.length, true)
  let at = records
  copies.forEach(({ position, record }, i) => {
    setPosition(view, POSITIONS + i * POSITION_BYTES, position)
    view.setUint32(offsets + i * OFFSET_BYTES, at, true)
    frame.set(record, at)
    at += record.length
  })
  return frame
}

/** One frame of copies as a block: an offset is looked up. */
export class CopyBlock implements Block {
  readonly start: number
  readonly end: number
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly #extent: BlockExtent
  readonly #path: string

  constructor(extent: BlockExtent, bytes: Uint8Array<ArrayBuffer>, path: string) {
    this.start = extent.start
    this.end = extent.end
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#extent = extent
    this.#path = path
  }

  offsetOf(position: number): number {
    const count = this.view.getUint32(FRAME_HEADER_BYTES, true)
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >>> 1
      const found = getPosition(this.view, POSITIONS + middle * POSITION_BYTES)
      if (found === position)
        return this.view.getUint32(POSITIONS + count * POSITION_BYTES + middle * OFFSET_BYTES, true)
      if (found < position) low = middle + 1
      else high = middle
    }
    throw new CorruptionError(`no copy of the record at position ${position}`, {
      file: this.#path,
      offset: this.#extent.offset,
    })
  }
}
