import { FILE_HEADER_BYTES } from './file-header.ts'
import { FRAME_HEADER_BYTES, frameEpoch, framePosition } from './frame.ts'
import type { ReplayedFrame } from './frame-store.ts'
import { findFrame, scanFrames } from './frame-scan.ts'
import type { ScannedFile } from './frame-scan.ts'
import type { Files } from './files.ts'
import type { FoundFile, JournalDirectory } from './journal-directory.ts'
import { JournalFile } from './journal-file.ts'
import { CorruptionError, meansFull, StorageFullError, SyncFailedError } from './storage-errors.ts'

export interface Recovery {
  readonly files: Files
  readonly directory: string
  readonly blockBytes: number
  /** Position after the newest frame of the table, 0 without a table. */
  readonly tableEnd: number
}

/**
 * Finds the frames at or after `from`, shows them, and repairs what a crash may leave: a torn tail of
 * the last file. Anything else that is not as it was written is corruption.
 *
 * @param files the table's, to which newer ones are added just before their first frame is shown
 * @returns the position after the last frame, and the paths that nothing needs any more
 */
export async function recoverJournal(
  recovery: Recovery,
  found: JournalDirectory,
  files: JournalFile[],
  from: number,
  visit: (frame: ReplayedFrame) => void,
): Promise<{ end: number; dead: readonly string[] }> {
  const candidates = [
    ...found.listed.map(({ found: file }, i) => ({ file, known: files[i]! })),
    ...unknown(found.newer),
  ]
  const last = candidates.findLast(({ file }) => file.generation === 0 && file.size > FILE_HEADER_BYTES)
  /** Everything from `from` up to here was seen. */
  let reached = Math.min(from, recovery.tableEnd)
  for (const candidate of candidates) {
    const { file, known } = candidate
    const complete = known !== null && file.size === known.size && known.end <= from
    if (known === null || (known.generation === 0 && (!complete || candidate === last))) {
      const reader = { from, reached, visit, files, isLast: candidate === last }
      reached = Math.max(reached, await recoverFile(recovery, file, known, reader))
    }
  }
  files.splice(0, files.length, ...files.filter(({ blocks }) => blocks > 0))
  const needed = new Set(files.map(({ path }) => path))
  // The table that is on disk lists even a file without a frame: it must be there until another one does not.
  const dropped = candidates.filter(({ file, known }) => known === null && !needed.has(file.path))
  const dead = [...found.dead, ...dropped.map(({ file }) => file.path)]
  const end = Math.max(reached, files.at(-1)?.end ?? 0)
  const sure = Math.max(found.floorMax, from)
  if (end < sure) {
    const place = { file: last?.file.path ?? recovery.directory, offset: last?.file.size ?? 0 }
    throw new CorruptionError(`the journal ends at position ${end}, but it reached ${sure}`, place)
  }
  return { end, dead }
}

function unknown(newer: readonly FoundFile[]): { file: FoundFile; known: JournalFile | null }[] {
  return newer.map((file) => ({ file, known: null }))
}

interface Reader {
  readonly from: number
  readonly reached: number
  readonly visit: (frame: ReplayedFrame) => void
  readonly files: JournalFile[]
  readonly isLast: boolean
}

/** Reads one file to its end, and returns the position there. */
async function recoverFile(
  recovery: Recovery,
  found: FoundFile,
  known: JournalFile | null,
  reader: Reader,
): Promise<number> {
  const path = found.path
  const opened = await recovery.files.open(path, reader.isLast ? 'read-write' : 'read')
  try {
    const scanned: ScannedFile = { file: opened, size: found.size, salt: found.header.salt }
    let file = known
    const start = known === null ? FILE_HEADER_BYTES : startOfScan(known, reader.from)
    const shown: Mutable<ReplayedFrame> = { position: 0, bytes: NO_BYTES, view: NO_VIEW, start: 0, end: 0, epoch: 0 }
    let tail = { offset: -1, length: 0 }
    let offset = start
    const stop = await scanFrames(scanned, start, (bytes, view, at, length) => {
      const position = framePosition(view, at)
      if (file === null) {
        requireContiguous(path, position, reader)
        const { number, generation, header } = found
        file = new JournalFile({ directory: recovery.directory, number, generation, salt: header.salt, base: position })
        reader.files.push(file)
      }
      if (position !== file.base + offset - FILE_HEADER_BYTES) {
        throw new CorruptionError('a frame is at the wrong position', { file: path, offset })
      }
      if (position >= file.end) file.appended(length, recovery.blockBytes)
      tail = { offset, length }
      offset += length
      if (position < reader.from) return
      shown.position = position
      shown.bytes = bytes
      shown.view = view
      shown.start = at + FRAME_HEADER_BYTES
      shown.end = at + length
      shown.epoch = frameEpoch(view, at)
      reader.visit(shown)
    })
    if (stop < found.size) await cutTail(scanned, path, stop, known, file, reader)
    if (reader.isLast) await confirmTail(scanned, path, tail)
    return file?.end ?? reader.reached
  } finally {
    await opened.close()
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
const NO_BYTES = new Uint8Array(0)
const NO_VIEW = new DataView(NO_BYTES.buffer)

/** From the block that holds `from`, or from where the checkpoint's knowledge ends. */
function startOfScan(file: JournalFile, from: number): number {
  return file.holds(from) ? (file.blockOf(from)?.offset ?? FILE_HEADER_BYTES) : file.size
}

function requireContiguous(path: string, position: number, reader: Reader): void {
  if (position === reader.reached) return
  const what = `the file begins at position ${position}, but the journal before it ends at ${reader.reached}`
  throw new CorruptionError(what, { file: path, offset: FILE_HEADER_BYTES })
}

/** Drops what follows the last whole frame, once it is proven to be a torn write. */
async function cutTail(
  scanned: ScannedFile,
  path: string,
  stop: number,
  known: JournalFile | null,
  file: JournalFile | null,
  reader: Reader,
): Promise<void> {
  const place = { file: path, offset: stop }
  if (!reader.isLast) throw new CorruptionError('no valid frame, and later files hold more', place)
  if (known !== null && stop < known.size)
    throw new CorruptionError('no valid frame where the checkpoint knows one', place)
  const next = await findFrame(scanned, stop + 1, file?.base ?? -1)
  if (next !== -1) throw new CorruptionError(`no valid frame, and a valid one follows at offset ${next}`, place)
  await scanned.file.truncate(stop)
}

/**
 * Writes the last frame over itself and syncs. Its write may never have been synced, and after a
 * failed sync the page cache may show as clean what the disk never got; every frame before it was
 * confirmed by a sync that succeeded, because one frame at most is in flight.
 */
async function confirmTail(
  scanned: ScannedFile,
  path: string,
  tail: { offset: number; length: number },
): Promise<void> {
  if (tail.offset !== -1) {
    const frame = Buffer.allocUnsafeSlow(tail.length)
    const filled = await scanned.file.read(frame, tail.offset)
    for (let done = 0; done < filled;) {
      const written = await writeAgain(scanned, path, frame.subarray(done, filled), tail.offset + done)
      if (written === 0) throw new StorageFullError(`no room to write the last frame of ${path} again`)
      done += written
    }
  }
  try {
    await scanned.file.sync()
  } catch (cause) {
    throw new SyncFailedError(`the recovered end of ${path} could not be synced`, { cause })
  }
}

async function writeAgain(scanned: ScannedFile, path: string, bytes: Uint8Array, offset: number): Promise<number> {
  try {
    return await scanned.file.write([bytes], offset)
  } catch (cause) {
    // A copy-on-write file system wants room even for bytes that are there already.
    if (meansFull(cause)) throw new StorageFullError(`no room to write the last frame of ${path} again`, { cause })
    throw cause
  }
}
