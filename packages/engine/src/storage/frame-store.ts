import type { FileTable } from './file-table.ts'

export { FRAME_HEADER_BYTES } from './frame.ts'
export { CorruptionError, StorageFullError } from './storage-errors.ts'

/**
 * A run of whole frames read back from the disk, every one of them checked. It is the caller's to
 * keep; nothing changes it later.
 */
export interface Block {
  /** First position that the block answers for. */
  readonly start: number
  /** Position after the last one that the block answers for. */
  readonly end: number
  readonly bytes: Uint8Array
  /** Over the whole of {@link bytes}: offsets in one are offsets in the other. */
  readonly view: DataView
  /**
   * Where in {@link bytes} the record of a position begins.
   * @throws {CorruptionError} when the block is of a rewritten file that does not hold the record
   */
  offsetOf(position: number): number
}

/** One frame as replay shows it. Valid, with its bytes, only while `visit` runs. */
export interface ReplayedFrame {
  readonly position: number
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Where the records begin in {@link bytes}: `FRAME_HEADER_BYTES` after the frame. */
  readonly start: number
  /** Where the records end in {@link bytes}. */
  readonly end: number
  readonly epoch: number
}

/** The positions from `start` up to, not including, `end`. */
export interface PositionRange {
  readonly start: number
  readonly end: number
}

/**
 * Stores frames one after another and finds them again. A *position* is a byte offset in the journal,
 * contiguous over all files and never reused, except for a torn tail that was never confirmed. A
 * record's position is its frame's position plus its offset in the frame, header included.
 *
 * One caller, one frame in flight. Order of life: open, {@link replay} once, then the rest.
 */
export interface FrameStore {
  /** One higher than any epoch found at open; in every frame written from then on. */
  readonly epoch: number
  /** Random id of the data directory, made when it was new. */
  readonly incarnation: string
  /** Position of the next frame; everything below is on disk. Settled by {@link replay}. */
  readonly end: number
  /** Bytes that the journal takes on disk, the reserve included. */
  readonly bytes: number
  /** The reserve is on disk: {@link releaseReserve} would make room. */
  readonly reserveHeld: boolean

  /**
   * Shows every frame at or after `from` in order, cuts a torn tail off the last file, and makes the
   * store ready to write. Everything shown is on disk when the promise resolves.
   *
   * @throws {CorruptionError} when a frame is missing or damaged and cannot be a torn tail
   */
  replay(from: number, visit: (frame: ReplayedFrame) => void): Promise<void>

  /**
   * Writes one frame at {@link end}; on disk when the promise resolves. `pieces[0]` begins with
   * `FRAME_HEADER_BYTES` free bytes, which the store fills in; no piece may change until then.
   *
   * @param length bytes of all pieces together
   * @param recordsCrc CRC-32 of everything behind the header, where the caller has it
   * @throws {StorageFullError} nothing is stored, `end` is unchanged; the next call must bring this frame again
   * @throws {StorageFailedError | SyncFailedError} final: every later call fails alike
   */
  write(pieces: readonly Uint8Array[], length: number, recordsCrc?: number): Promise<void>

  /**
   * The block that holds a position below {@link end}. Every frame in it was checked.
   * @throws {CorruptionError} also when no file answers for the position
   */
  readBlock(position: number): Promise<Block>
  /** Whether a file has the position; its record may be gone even so. False where a checkpoint removed the file. */
  answersFor(position: number): boolean

  /**
   * Counts places (queue entries) that refer to the record at `position`. A position at or after the
   * end of the last frame handed to {@link write} must belong to the very next one. Costs no allocation.
   * May be called before and during {@link replay}, in any order, for what the checkpoint and the frames say.
   */
  hold(position: number, places: number): void
  /** Takes back what {@link hold} counted. A file without places dies with the next checkpoint. */
  letGo(position: number, places: number): void
  /**
   * Positions that share a count with this one: all of them are in the same file, now and after a
   * rewrite. Of the frame that is handed to {@link write} next it names all there is.
   */
  rangeOf(position: number): PositionRange

  /**
   * What a checkpoint at `position` must store for the next open. Files that lie wholly below and
   * have no places are left out, and die in {@link checkpointed}; so call it no later than the moment
   * at which the checkpoint's own state is captured. JSON-able.
   */
  table(position: number): FileTable
  /**
   * The checkpoint with the last {@link table} is durable (and its position is `position`). Deletes
   * the files that the table left out; durably gone when the promise resolves.
   */
  checkpointed(position: number): Promise<void>

  /**
   * Ends the current file before it is full when most of what is in it has no places any more, so that the next
   * checkpoint can give its room back. Nothing happens while a frame is in flight, or when no other file is ready.
   */
  seal(): void

  /** Positions below the last checkpoint that are worth a {@link rewrite}, or null. */
  sparse(): PositionRange | null
  /**
   * Copies the live records of a range that {@link sparse} named into one new file, which answers for
   * the range from then on. The old files go with the next checkpoint.
   *
   * @param live positions of all records in the range that have places, ascending
   * @param sizeOf length in bytes of the record at `offset`
   * @throws {StorageFullError} nothing changed; worth another try when there is room
   */
  rewrite(
    range: PositionRange,
    live: Float64Array,
    sizeOf: (bytes: Uint8Array, view: DataView, offset: number) => number,
  ): Promise<void>

  /**
   * Re-reads and checks stored blocks, the oldest unchecked ones first, going round for ever.
   * @param budgetBytes stop after about so many bytes
   * @throws {CorruptionError}
   */
  scrub(budgetBytes: number): Promise<void>

  /** Gives the reserve's room to the file system, so that settlements can be written on a full disk. */
  releaseReserve(): Promise<void>
  /** Takes the reserve again. False when there is no room for it. */
  restoreReserve(): Promise<boolean>

  /** Waits for background work and lets go of all files. Nothing is lost without it. */
  close(): Promise<void>
}

/** Sizes of a frame store. */
export interface FrameStoreLimits {
  /** A journal file takes no further frame once it has so many bytes. */
  readonly fileBytes: number
  /** Smallest run of frames that is read at once, and the grain of the position index. */
  readonly blockBytes: number
  /** Room kept so that settlements can be written when the disk is full; 0 keeps none. */
  readonly reserveBytes: number
  /** Files kept open for reading. */
  readonly openFilesMax: number
}

export const FRAME_STORE_LIMITS: FrameStoreLimits = {
  /** Large enough that rolling is rare, small enough that a half-dead file is cheap to rewrite. */
  fileBytes: 64 * 1024 * 1024,
  /** One cold read: small against a queue's read-ahead, large against the cost of a read. */
  blockBytes: 256 * 1024,
  /** Millions of settlements, and a checkpoint. */
  reserveBytes: 32 * 1024 * 1024,
  /** Well below the 1024 descriptors that many systems allow a process. */
  openFilesMax: 64,
}
