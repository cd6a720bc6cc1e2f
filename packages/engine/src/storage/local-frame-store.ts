import { assert } from '@stathmos/std'
import type { Random } from '@stathmos/std'
import { loadBlock } from './block.ts'
import { FRAME_BYTES_MAX, FRAME_RECORDS, FRAME_HEADER_BYTES, sealFrame } from './frame.ts'
import { incarnationOf } from './file-header.ts'
import type { FileTable } from './file-table.ts'
import type { Files } from './files.ts'
import type { Block, FrameStore, FrameStoreLimits, PositionRange, ReplayedFrame } from './frame-store.ts'
import { inspectDirectory } from './journal-directory.ts'
import type { JournalDirectory } from './journal-directory.ts'
import { JournalFile } from './journal-file.ts'
import { recoverJournal } from './journal-recovery.ts'
import { JournalWriter } from './journal-writer.ts'
import { OpenFilePool } from './open-file-pool.ts'
import { ReserveFile } from './reserve-file.ts'
import { findSparse, rewriteFiles } from './rewrite.ts'
import { CorruptionError, meansFull, StorageFullError, SyncFailedError } from './storage-errors.ts'

export interface FrameStoreOptions {
  readonly files: Files
  /** The data directory; it must exist. The journal takes its subdirectory `journal`. */
  readonly directory: string
  readonly random: Random
  readonly limits: FrameStoreLimits
  /** From the newest durable checkpoint, null when there is none. */
  readonly table: FileTable | null
}

/** What the last {@link LocalFrameStore.table} promised about the future. */
interface Snapshot {
  readonly position: number
  /** Files that the table left out. */
  readonly dead: readonly JournalFile[]
}

/** Frames in files of a local directory, `FORMAT.md` says how. */
export class LocalFrameStore implements FrameStore {
  readonly epoch: number
  readonly incarnation: string
  readonly #options: FrameStoreOptions
  readonly #directory: string
  readonly #found: JournalDirectory
  readonly #pool: OpenFilePool
  readonly #reserve: ReserveFile
  /** By position. The last one is being written. */
  #files: JournalFile[]
  /** Position and places in turn: held while the file was not known yet. */
  #unplaced: number[] = []
  #writer: JournalWriter | null = null
  #end: number
  /** Position after the frame in flight or refused for want of room; {@link #end} when there is none. */
  #claimed: number
  #writing = false
  /** Places of the frame that comes next: its file is chosen when it is written. */
  #placesAhead = 0
  #aheadMax = -1
  #held: JournalFile | null = null
  #letGo: JournalFile | null = null
  #snapshot: Snapshot | null = null
  /** Their content is being copied, and must outlast that even when nobody refers to it any more. */
  #rewriting: ReadonlySet<JournalFile> = new Set()
  /** Files that a rewrite replaced and no table left out yet. */
  #replaced: JournalFile[] = []
  #checkpoint = 0
  #scrubbed = -1
  #reserving: Promise<unknown> = Promise.resolve()

  private constructor(options: FrameStoreOptions, directory: string, found: JournalDirectory) {
    this.#options = options
    this.#directory = directory
    this.#found = found
    this.#end = options.table?.end ?? 0
    this.#claimed = this.#end
    this.#files = found.listed.map(({ row }) => JournalFile.fromRow(directory, row))
    this.epoch = found.epochMax + 1
    this.incarnation = found.incarnation ?? incarnationOf(options.random.bytes(16))
    this.#pool = new OpenFilePool(options.files, options.limits.openFilesMax)
    this.#reserve = new ReserveFile(options.files, directory, options.limits.reserveBytes, options.random)
  }

  /**
   * Looks at what is there and changes nothing in it.
   * @throws {CorruptionError} when a file that the table lists is missing or is not what it was
   */
  static async open(options: FrameStoreOptions): Promise<LocalFrameStore> {
    const directory = `${options.directory}/journal`
    await options.files.makeDirectory(directory)
    await options.files.syncDirectory(options.directory)
    return new LocalFrameStore(options, directory, await inspectDirectory(options.files, directory, options.table))
  }

  get end(): number {
    return this.#end
  }

  get bytes(): number {
    const stored = [...this.#files, ...this.#replaced].reduce((sum, file) => sum + file.size, 0)
    return stored + this.#reserve.bytes
  }

  get reserveHeld(): boolean {
    return this.#reserve.held
  }

  async replay(from: number, visit: (frame: ReplayedFrame) => void): Promise<void> {
    const { files, limits, table } = this.#options
    assert(this.#writer === null, 'a frame store is replayed once')
    const recovery = { files, directory: this.#directory, blockBytes: limits.blockBytes, tableEnd: table?.end ?? 0 }
    const recovered = await recoverJournal(recovery, this.#found, this.#files, from, visit)
    this.#end = recovered.end
    this.#claimed = recovered.end
    this.#settlePlaces()
    this.#checkpoint = from
    for (const path of recovered.dead) await files.remove(path)
    this.#writer = await this.#startWriter()
    this.#files.push(this.#writer.file)
    this.#reserving = this.#reserve.take()
    // Whoever asks for the reserve gets the error; until then it is simply not held.
    this.#reserving.catch(() => {})
  }

  async write(pieces: readonly Uint8Array[], length: number, recordsCrc?: number): Promise<void> {
    const writer = this.#writer
    assert(writer !== null, 'a frame was written before the replay')
    assert(!this.#writing, 'a frame was written while another is in flight')
    assert(length > FRAME_HEADER_BYTES && length <= FRAME_BYTES_MAX, 'a frame is empty or beyond all measure')
    writer.requireSound()
    // Up to the first await everything happens at once, so that places held from now on are of the next frame.
    if (this.#claimed === this.#end) this.#claim(writer.roll(), length)
    assert(this.#claimed === this.#end + length, 'a frame that found no room must be written again first')
    this.#writing = true
    try {
      const { file } = writer
      const stamp = { kind: FRAME_RECORDS, position: this.#end, epoch: this.epoch, salt: file.salt }
      sealFrame(pieces, length, stamp, recordsCrc)
      await writer.append(pieces, length)
      file.appended(length, this.#options.limits.blockBytes)
      this.#end += length
      writer.prepare(this.#end)
    } finally {
      this.#writing = false
    }
  }

  answersFor(position: number): boolean {
    return this.#fileOf(position) !== null
  }

  async readBlock(position: number): Promise<Block> {
    const file = this.#fileOf(position)
    const extent = file?.blockOf(position) ?? null
    if (file === null || extent === null) {
      const what = `no file holds position ${position} of a journal that ends at ${this.#end}`
      throw new CorruptionError(what, { file: file?.path ?? this.#directory, offset: 0 })
    }
    try {
      return await this.#pool.use(file.path, (opened) => loadBlock(file, extent, opened))
    } catch (error) {
      // Replaced and removed while it was being opened: its successor has the record.
      if (this.#fileOf(position) !== file) return this.readBlock(position)
      throw error
    }
  }

  hold(position: number, places: number): void {
    if (this.#writer === null) return this.#recoverPlaces(position, places)
    if (position >= this.#claimed) return this.#ahead(position, places)
    if (this.#held === null || !this.#held.holds(position)) this.#held = this.#placeFile(position)
    this.#held.hold(places)
  }

  letGo(position: number, places: number): void {
    if (this.#writer === null) return this.#recoverPlaces(position, -places)
    if (position >= this.#claimed) return this.#ahead(position, -places)
    if (this.#letGo === null || !this.#letGo.holds(position)) this.#letGo = this.#placeFile(position)
    this.#letGo.letGo(places)
  }

  rangeOf(position: number): PositionRange {
    if (position >= this.#claimed) return { start: this.#claimed, end: Number.MAX_SAFE_INTEGER }
    const { base, end } = this.#placeFile(position)
    return { start: base, end: position < this.#end ? end : this.#claimed }
  }

  table(position: number): FileTable {
    assert(position <= this.#end, 'a checkpoint covers what is not on disk')
    const current = this.#current()
    const dead = this.#files.filter(
      (file) => file !== current && file.end <= position && file.places === 0 && !this.#rewriting.has(file),
    )
    for (const file of dead) file.dead = true
    this.#snapshot = { position, dead: [...dead, ...this.#replaced] }
    return {
      incarnation: this.incarnation,
      epoch: this.epoch,
      end: this.#end,
      current: current.number,
      files: this.#files.filter((file) => !file.dead).map((file) => file.row()),
    }
  }

  async checkpointed(position: number): Promise<void> {
    const snapshot = this.#snapshot
    assert(snapshot?.position === position, 'a checkpoint became durable whose table was never taken')
    this.#snapshot = null
    this.#checkpoint = position
    if (snapshot.dead.length === 0) return
    const gone = new Set(snapshot.dead)
    this.#files = this.#files.filter((file) => !gone.has(file))
    this.#replaced = this.#replaced.filter((file) => !gone.has(file))
    for (const file of gone) {
      await this.#pool.forget(file.path)
      await this.#options.files.remove(file.path)
    }
    await this.#syncDirectory()
  }

  seal(): void {
    const writer = this.#writer
    // A frame that found no room belongs to the current file, too.
    if (writer === null || this.#writing || this.#claimed !== this.#end) return
    const file = this.#current()
    if (file.size < this.#options.limits.blockBytes || file.places * 2 > file.placesMax) return
    const next = writer.rollEarly()
    if (next !== file) this.#files.push(next)
    writer.prepare(this.#end)
  }

  sparse(): PositionRange | null {
    return findSparse(this.#files.slice(0, -1), this.#checkpoint, this.#options.limits.fileBytes)
  }

  async rewrite(
    range: PositionRange,
    live: Float64Array,
    sizeOf: (bytes: Uint8Array, view: DataView, offset: number) => number,
  ): Promise<void> {
    const { files, random, limits } = this.#options
    // The current file may have rolled just now and still be empty: it then begins, and ends, where the range ends.
    const sealed = this.#files.filter((file) => file !== this.#current())
    const old = sealed.filter((file) => file.base >= range.start && file.end <= range.end)
    assert(old.length > 0, 'only sealed files are rewritten')
    assert(this.#rewriting.size === 0, 'one rewrite at a time')
    const gone = new Set(old)
    this.#rewriting = gone
    try {
      const world = { files, random, directory: this.#directory, blockBytes: limits.blockBytes, pool: this.#pool }
      const copy = await rewriteFiles(world, old, live, sizeOf, { epoch: this.epoch, incarnation: this.incarnation })
      await this.#syncDirectory()
      // Places may have come and gone meanwhile: counted on the old files until this very moment.
      for (const file of old) copy.places += file.places
      copy.placesMax = copy.places
      const at = this.#files.indexOf(old[0]!)
      this.#files = [...this.#files.slice(0, at), copy, ...this.#files.slice(at).filter((file) => !gone.has(file))]
      this.#replaced.push(...old)
      this.#held = null
      this.#letGo = null
    } finally {
      this.#rewriting = new Set()
    }
  }

  async scrub(budgetBytes: number): Promise<void> {
    for (let left = budgetBytes; left > 0;) {
      const file = this.#files.find(({ end }) => end > this.#scrubbed)
      if (file === undefined || file === this.#current()) {
        this.#scrubbed = -1
        return
      }
      const extent = file.blockOf(Math.max(this.#scrubbed, file.base))
      this.#scrubbed = extent?.end ?? file.end
      left -= extent?.length ?? 0
      // Through the readers' door, which knows what to do when the file goes away meanwhile.
      if (extent !== null && file.places > 0) await this.readBlock(extent.start)
    }
  }

  async releaseReserve(): Promise<void> {
    await this.#reserving.catch(() => {})
    await this.#reserve.release()
    await this.#syncDirectory()
  }

  async restoreReserve(): Promise<boolean> {
    await this.#reserving.catch(() => {})
    const taking = this.#reserve.take()
    this.#reserving = taking
    return taking
  }

  async close(): Promise<void> {
    await this.#reserving.catch(() => {})
    await this.#writer?.close()
    await this.#pool.close()
  }

  /** A broker that stopped on a full disk starts on it again: the reserve is for that too. */
  async #startWriter(): Promise<JournalWriter> {
    const { files, random, limits } = this.#options
    const number = this.#found.numberMax + 1
    const first = { number, position: this.#end, epoch: this.epoch, incarnation: this.incarnation }
    const options = { files, random, directory: this.#directory, fileBytes: limits.fileBytes, ...first }
    try {
      return await JournalWriter.start(options)
    } catch (error) {
      if (!meansFull(error)) throw error
      await this.#reserve.release()
    }
    try {
      return await JournalWriter.start(options)
    } catch (cause) {
      if (!meansFull(cause)) throw cause
      throw new StorageFullError(`no room for a journal file in ${this.#directory}, even without the reserve`, {
        cause,
      })
    }
  }

  #current(): JournalFile {
    const file = this.#files.at(-1)
    assert(this.#writer !== null && file !== undefined, 'a frame store was used before its replay')
    return file
  }

  /** Before the replay is done a count may be below what it will be, and the file may still be unknown. */
  #recoverPlaces(position: number, places: number): void {
    if (this.#held === null || !this.#held.holds(position)) this.#held = this.#fileOf(position)
    if (this.#held === null) this.#unplaced.push(position, places)
    else this.#held.places += places
  }

  #settlePlaces(): void {
    for (let i = 0; i < this.#unplaced.length; i += 2) {
      this.#placeFile(this.#unplaced[i]!).places += this.#unplaced[i + 1]!
    }
    this.#unplaced = []
    this.#held = null
    for (const file of this.#files) {
      assert(file.places >= 0, `${file.path} lost more places than it had`)
      file.placesMax = Math.max(file.placesMax, file.places)
    }
  }

  #ahead(position: number, places: number): void {
    this.#placesAhead += places
    if (position > this.#aheadMax) this.#aheadMax = position
  }

  /** Decides where the next frame goes, for good: places refer to it from then on. */
  #claim(file: JournalFile, length: number): void {
    assert(this.#aheadMax < this.#end + length, 'a place was held beyond the next frame')
    if (file !== this.#files.at(-1)) this.#files.push(file)
    if (this.#placesAhead > 0) file.hold(this.#placesAhead)
    else file.letGo(-this.#placesAhead)
    this.#placesAhead = 0
    this.#aheadMax = -1
    this.#claimed = this.#end + length
  }

  #placeFile(position: number): JournalFile {
    if (position >= this.#end && position < this.#claimed) return this.#current()
    const file = this.#fileOf(position)
    if (file !== null) return file
    throw new CorruptionError(`no file holds position ${position}, which a queue entry refers to`, {
      file: this.#directory,
      offset: 0,
    })
  }

  #fileOf(position: number): JournalFile | null {
    let low = 0
    let high = this.#files.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#files[middle]!.base <= position) low = middle + 1
      else high = middle
    }
    const file = this.#files[low - 1]
    return file !== undefined && file.holds(position) ? file : null
  }

  async #syncDirectory(): Promise<void> {
    try {
      await this.#options.files.syncDirectory(this.#directory)
    } catch (cause) {
      throw new SyncFailedError(`${this.#directory} could not be synced`, { cause })
    }
  }
}
