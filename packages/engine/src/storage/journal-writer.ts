import { assert } from '@stathmos/std'
import type { Random } from '@stathmos/std'
import { encodeFileHeader, FILE_HEADER_BYTES, journalFileName } from './file-header.ts'
import type { Files, OpenFile } from './files.ts'
import { JournalFile } from './journal-file.ts'
import { mayPass, StorageFailedError, StorageFullError, SyncFailedError } from './storage-errors.ts'

export interface JournalWriterOptions {
  readonly files: Files
  readonly directory: string
  readonly random: Random
  readonly fileBytes: number
  /** Of the first file; higher than any number that was ever used here. */
  readonly number: number
  /** Of the first frame. */
  readonly position: number
  readonly epoch: number
  readonly incarnation: string
}

/** A file that exists durably, with its header, and waits for its first frame. */
interface PreparedFile {
  readonly number: number
  readonly salt: number
  readonly opened: OpenFile
}

/**
 * Appends to the newest journal file and rolls to the next, which it prepares ahead of need: rolling
 * costs the frame that causes it nothing.
 */
export class JournalWriter {
  readonly #options: JournalWriterOptions
  #number: number
  #file: JournalFile
  #opened: OpenFile
  #prepared: PreparedFile | null = null
  #preparing: Promise<void> | null = null
  /** Why nothing can be written ever again. */
  #failure: StorageFailedError | SyncFailedError | null = null

  private constructor(options: JournalWriterOptions, first: PreparedFile) {
    this.#options = options
    this.#number = first.number
    this.#opened = first.opened
    this.#file = this.#begin(first, options.position)
  }

  /** Begins a new file, so that nothing is ever appended to one that an earlier process wrote. */
  static async start(options: JournalWriterOptions): Promise<JournalWriter> {
    const writer = new JournalWriter(options, await prepareFile(options, options.number, options.position))
    writer.prepare(options.position)
    return writer
  }

  /** The file that takes the next frame. */
  get file(): JournalFile {
    return this.#file
  }

  /** @throws what made the writer fail, if anything did */
  requireSound(): void {
    if (this.#failure !== null) throw this.#failure
  }

  /**
   * Rolls when the current file is full and the next one is ready, and returns the file that takes the
   * next frame. Never waits: without a prepared file the current one grows.
   */
  roll(): JournalFile {
    return this.#file.size < this.#options.fileBytes ? this.#file : this.rollEarly()
  }

  /** As {@link roll}, though the current file is not full. */
  rollEarly(): JournalFile {
    const next = this.#prepared
    if (next === null) return this.#file
    const full = this.#opened
    this.#prepared = null
    this.#opened = next.opened
    this.#file = this.#begin(next, this.#file.end)
    // Every frame in it is synced already: its closing has nothing to report.
    full.close().catch(() => {})
    return this.#file
  }

  /**
   * Writes a sealed frame at the end of {@link file}, on disk when it resolves. After a write that the disk
   * refused for the moment the file is as before.
   */
  async append(pieces: readonly Uint8Array[], length: number): Promise<void> {
    const offset = this.#file.size
    try {
      await writeFully(this.#opened, pieces, length, offset)
    } catch (cause) {
      if (!mayPass(cause)) throw this.#fail(cause, `${this.#file.path} took no write`)
      await this.#cutTo(offset)
      throw new StorageFullError(`${this.#file.path} took no write of ${length} bytes`, { cause })
    }
    try {
      await this.#opened.sync()
    } catch (cause) {
      this.#failure = new SyncFailedError(`${this.#file.path} could not be synced`, { cause })
      throw this.#failure
    }
  }

  /**
   * Makes the next file in the background, unless one waits or is being made. Quiet about a full disk:
   * the next call tries again, and the current file takes the frames meanwhile.
   *
   * @param floor everything below this position is on disk
   */
  prepare(floor: number): void {
    if (this.#prepared !== null || this.#preparing !== null || this.#failure !== null) return
    this.#preparing = this.#prepareNext(floor)
  }

  async close(): Promise<void> {
    await this.#preparing
    await this.#prepared?.opened.close()
    await this.#opened.close()
    this.#failure ??= new StorageFailedError('the journal is closed')
  }

  #begin(prepared: PreparedFile, base: number): JournalFile {
    const { directory } = this.#options
    return new JournalFile({ directory, number: prepared.number, generation: 0, salt: prepared.salt, base })
  }

  async #prepareNext(floor: number): Promise<void> {
    try {
      // A number is used up by the attempt: what a failed one left behind is dead, whatever it holds.
      this.#prepared = await prepareFile(this.#options, ++this.#number, floor)
    } catch (cause) {
      if (cause instanceof SyncFailedError) this.#failure = cause
      else if (!mayPass(cause)) this.#fail(cause, 'no further journal file could be made')
    } finally {
      this.#preparing = null
    }
  }

  /** Drops what a refused frame left, which must not lie behind the last frame of a full file. */
  async #cutTo(size: number): Promise<void> {
    try {
      await this.#opened.truncate(size)
    } catch (cause) {
      throw this.#fail(cause, `${this.#file.path} could not be cut back`)
    }
  }

  #fail(cause: unknown, what: string): StorageFailedError {
    const failure = new StorageFailedError(what, { cause })
    this.#failure ??= failure
    return failure
  }
}

/** Durable when it resolves: the header first, then the name. */
async function prepareFile(options: JournalWriterOptions, number: number, floor: number): Promise<PreparedFile> {
  const { files, directory, random, epoch, incarnation } = options
  const salt = random.uint32()
  const path = `${directory}/${journalFileName(number, 0)}`
  const opened = await files.open(path, 'create')
  try {
    const header = encodeFileHeader({ number, generation: 0, salt, floor, epoch, incarnation })
    await writeFully(opened, [header], FILE_HEADER_BYTES, 0)
    await syncOr(() => opened.sync(), path)
    await syncOr(() => files.syncDirectory(directory), directory)
  } catch (error) {
    await opened.close()
    if (mayPass(error)) await files.remove(path)
    throw error
  }
  return { number, salt, opened }
}

/** Runs a sync. @throws {SyncFailedError} when it fails, whatever the system calls it */
export async function syncOr(sync: () => Promise<void>, path: string): Promise<void> {
  try {
    await sync()
  } catch (cause) {
    throw new SyncFailedError(`${path} could not be synced`, { cause })
  }
}

/** Writes everything, however the system cuts it up. A write that makes no progress counts as a full disk. */
export async function writeFully(
  file: OpenFile,
  pieces: readonly Uint8Array[],
  length: number,
  position: number,
): Promise<void> {
  let rest = pieces
  for (let done = await file.write(rest, position); done < length;) {
    rest = without(pieces, done)
    const written = await file.write(rest, position + done)
    if (written === 0) throw Object.assign(new Error('the disk took no byte'), { code: 'ENOSPC' })
    done += written
  }
  assert(rest.length > 0, 'a frame has bytes')
}

function without(pieces: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skip = count
  let first = 0
  while (skip >= pieces[first]!.length) skip -= pieces[first++]!.length
  return [pieces[first]!.subarray(skip), ...pieces.slice(first + 1)]
}
