/** Where on the disk something is wrong. */
export interface DiskPlace {
  /** Path of the file, as the store was given it. */
  readonly file: string
  /** Byte offset in the file, not a journal position. */
  readonly offset: number
}

/**
 * Stored bytes are not what was written. Never passed over in silence: what is confirmed may be
 * missing, and only the operator can decide to go on without it.
 */
export class CorruptionError extends Error {
  override readonly name = 'CorruptionError'
  readonly place: DiskPlace | null

  /** @param place null when `what` names it already */
  constructor(what: string, place: DiskPlace | null = null) {
    const where = place === null ? '' : `${place.file} is damaged at offset ${place.offset}: `
    super(`${where}${what}; run \`stathmos repair\` to see what can be saved`)
    this.place = place
  }
}

/**
 * The disk has no room, or takes no write for the moment ({@link mayPass}). Nothing was stored, and the same frame may be
 * written again when it does.
 */
export class StorageFullError extends Error {
  override readonly name = 'StorageFullError'
}

/** The disk refused a write for a reason that does not pass. The store takes no more writes. */
export class StorageFailedError extends Error {
  override readonly name = 'StorageFailedError'
}

/**
 * A sync failed, so that nothing the operating system says about earlier writes can be believed: a
 * second sync may report success with the data gone. Final; the process must stop and recover.
 */
export class SyncFailedError extends Error {
  override readonly name = 'SyncFailedError'
}

/** The operating system's code (`ENOSPC` …) of an error, or the empty string. */
export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** Codes that mean "no room": a full file system and a used-up quota. */
export function meansFull(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOSPC' || code === 'EDQUOT'
}

/** Code of a disk with a fault. */
export function meansFault(error: unknown): boolean {
  return systemCode(error) === 'EIO'
}

/**
 * Whether a write that was refused so may go through later: no room, or a disk with a fault. Never asked of a sync, after
 * which nothing can be believed: whether what was written before the fault is on the disk is what the next sync tells.
 */
export function mayPass(error: unknown): boolean {
  return meansFull(error) || meansFault(error)
}
