import type { Random } from '@stathmos/std'
import { loadBlock } from './block.ts'
import { copyFrame } from './copy-frame.ts'
import type { Copy } from './copy-frame.ts'
import { encodeFileHeader, FILE_HEADER_BYTES } from './file-header.ts'
import type { Files, OpenFile } from './files.ts'
import { FRAME_COPIES, sealFrame } from './frame.ts'
import type { Block, PositionRange } from './frame-store.ts'
import { JournalFile } from './journal-file.ts'
import { writeFully } from './journal-writer.ts'
import type { OpenFilePool } from './open-file-pool.ts'
import { CorruptionError, mayPass, StorageFailedError, StorageFullError, SyncFailedError } from './storage-errors.ts'

/** A file below this share of the full size is small: worth joining with its neighbours. */
const SMALL_SHARE = 1 / 8
/** So many small neighbours are joined at once, and never fewer, or the same bytes would be copied again and again. */
const SMALL_RUN = 8

/**
 * The file with the smallest living share, when that is below one half; else a run of small
 * neighbours; else null.
 */
export function findSparse(
  sealed: readonly JournalFile[],
  checkpoint: number,
  fileBytes: number,
): PositionRange | null {
  const files = sealed.filter((file) => file.end <= checkpoint && !file.dead && file.places > 0)
  let sparsest: JournalFile | null = null
  for (const file of files) {
    const share = file.places / file.placesMax
    if (share < 0.5 && (sparsest === null || share < sparsest.places / sparsest.placesMax)) sparsest = file
  }
  if (sparsest !== null) return { start: sparsest.base, end: sparsest.end }
  let run: JournalFile[] = []
  for (const file of files) {
    run = file.size < fileBytes * SMALL_SHARE ? [...run, file] : []
    if (run.length === SMALL_RUN) return { start: run[0]!.base, end: file.end }
  }
  return null
}

export interface RewriteWorld {
  readonly files: Files
  readonly random: Random
  readonly directory: string
  readonly blockBytes: number
  readonly pool: OpenFilePool
}

/**
 * Copies the live records of neighbouring files into one new file that answers for all their
 * positions. The new file is synced when it resolves, its name is not.
 *
 * @throws {StorageFullError} nothing changed, the new file is gone again
 */
export async function rewriteFiles(
  world: RewriteWorld,
  old: readonly JournalFile[],
  live: Float64Array,
  sizeOf: (bytes: Uint8Array, view: DataView, offset: number) => number,
  { epoch, incarnation }: { epoch: number; incarnation: string },
): Promise<JournalFile> {
  const { files, directory } = world
  const { base, number } = old[0]!
  const generation = old.reduce((max, file) => Math.max(max, file.generation), 0) + 1
  const salt = world.random.uint32()
  const copy = new JournalFile({ directory, number, generation, salt, base })
  copy.end = old.at(-1)!.end
  // A failed attempt of this process may have left the name; no table lists it.
  await files.remove(copy.path)
  const opened = await files.open(copy.path, 'create')
  try {
    const header = encodeFileHeader({ number, generation, salt, floor: base, epoch, incarnation })
    await writeFully(opened, [header], FILE_HEADER_BYTES, 0)
    const writer = new CopyWriter(opened, copy, epoch)
    let block: Block | null = null
    for (const position of live) {
      if (position < base || position >= copy.end) continue
      if (block === null || position >= block.end) {
        await writer.flush(world.blockBytes)
        block = await blockOf(world.pool, old, position)
      }
      const offset = block.offsetOf(position)
      const end = offset + sizeOf(block.bytes, block.view, offset)
      // A copy, or one survivor per block would keep the whole file in memory.
      writer.add(position, new Uint8Array(block.bytes.subarray(offset, end)))
    }
    await writer.flush(0)
    await syncCopy(opened, copy.path)
  } catch (cause) {
    await opened.close()
    if (cause instanceof SyncFailedError || cause instanceof CorruptionError) throw cause
    if (!mayPass(cause)) throw new StorageFailedError(`${copy.path} could not be written`, { cause })
    await files.remove(copy.path)
    throw new StorageFullError(`${copy.path} took no write`, { cause })
  }
  await opened.close()
  return copy
}

async function blockOf(pool: OpenFilePool, old: readonly JournalFile[], position: number): Promise<Block> {
  const file = old.find((candidate) => candidate.holds(position))
  const extent = file?.blockOf(position) ?? null
  if (file === undefined || extent === null) {
    throw new CorruptionError(`no file holds position ${position}`, { file: file?.path ?? old[0]!.path, offset: 0 })
  }
  return pool.use(file.path, (opened) => loadBlock(file, extent, opened))
}

async function syncCopy(opened: OpenFile, path: string): Promise<void> {
  try {
    await opened.sync()
  } catch (cause) {
    throw new SyncFailedError(`${path} could not be synced`, { cause })
  }
}

/** Gathers copies into frames. */
class CopyWriter {
  readonly #opened: OpenFile
  readonly #file: JournalFile
  readonly #epoch: number
  #copies: Copy[] = []
  #bytes = 0

  constructor(opened: OpenFile, file: JournalFile, epoch: number) {
    this.#opened = opened
    this.#file = file
    this.#epoch = epoch
  }

  add(position: number, record: Uint8Array): void {
    this.#copies.push({ position, record })
    this.#bytes += record.length
  }

  /** Writes what is gathered as one frame, if it is anything and at least so many bytes. */
  async flush(bytesMin: number): Promise<void> {
    const first = this.#copies[0]
    if (first === undefined || this.#bytes < bytesMin) return
    // The first block answers from the file's base on, the others from their first record on.
    const position = this.#file.blocks === 0 ? this.#file.base : first.position
    const frame = copyFrame(this.#copies)
    sealFrame([frame], frame.length, { kind: FRAME_COPIES, position, epoch: this.#epoch, salt: this.#file.salt })
    await writeFully(this.#opened, [frame], frame.length, this.#file.size)
    this.#file.copied(position, frame.length)
    this.#copies = []
    this.#bytes = 0
  }
}
