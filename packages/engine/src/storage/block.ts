import type { Block } from './frame-store.ts'
import type { BlockExtent, JournalFile } from './journal-file.ts'
import type { OpenFile } from './files.ts'
import { CopyBlock } from './copy-frame.ts'
import { FRAME_COPIES, FRAME_HEADER_BYTES, frameIntact, frameKind, frameLength, framePosition } from './frame.ts'
import { CorruptionError } from './storage-errors.ts'

/**
 * Loads one block and checks every frame in it.
 * @throws {CorruptionError} naming the first frame that is not what was written
 */
export async function loadBlock(journalFile: JournalFile, extent: BlockExtent, file: OpenFile): Promise<Block> {
  const { path, salt, generation } = journalFile
  const bytes = Buffer.allocUnsafeSlow(extent.length)
  const filled = await file.read(bytes, extent.offset)
  if (filled < extent.length)
    throw new CorruptionError('the file is cut short', { file: path, offset: extent.offset + filled })
  const view = new DataView(bytes.buffer)
  let position = extent.start
  for (let at = 0; at < bytes.length;) {
    const length = at + FRAME_HEADER_BYTES <= bytes.length ? frameLength(view, at) : 0
    const place = { file: path, offset: extent.offset + at }
    if (length === 0 || at + length > bytes.length) throw new CorruptionError('no frame begins where one must', place)
    if (!frameIntact(bytes, view, at, length, salt)) throw new CorruptionError('a frame fails its check', place)
    if (framePosition(view, at) !== position) throw new CorruptionError('a frame is at the wrong position', place)
    at += length
    position += length
  }
  if (generation === 0) return new RecordBlock(extent, bytes, view)
  if (frameKind(view, 0) !== FRAME_COPIES) {
    throw new CorruptionError('a rewritten file holds a frame of another kind', { file: path, offset: extent.offset })
  }
  return new CopyBlock(extent, bytes, path)
}

/** Frames as they were written: an offset is a distance. */
class RecordBlock implements Block {
  readonly start: number
  readonly end: number
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(extent: BlockExtent, bytes: Uint8Array, view: DataView) {
    this.start = extent.start
    this.end = extent.end
    this.bytes = bytes
    this.view = view
  }

  offsetOf(position: number): number {
    return position - this.start
  }
}
