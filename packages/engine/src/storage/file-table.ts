/** One journal file as a checkpoint remembers it. */
export interface FileRow {
  readonly number: number
  /** 0 as first written; counts the rewrites. */
  readonly generation: number
  readonly salt: number
  /** First position that the file answers for. */
  readonly base: number
  /** Position after the last one that the file answers for. */
  readonly end: number
  /** Bytes of the file, its header included. */
  readonly size: number
  /** Most places that the file ever had. */
  readonly placesMax: number
  /** First position of every block, less `base`. */
  readonly starts: readonly number[]
  /** File offset of every block; absent in a file that was never rewritten, where it follows from the position. */
  readonly offsets?: readonly number[]
}

/**
 * The files of a frame store at one moment: everything the next open needs to know about what lies
 * below the checkpoint. Plain JSON.
 */
export interface FileTable {
  readonly incarnation: string
  readonly epoch: number
  /** Position of the next frame at that moment. */
  readonly end: number
  /** Number of the file that was being written. A file with a lower number that is not listed is dead. */
  readonly current: number
  /** By ascending position; the current file last. */
  readonly files: readonly FileRow[]
}
