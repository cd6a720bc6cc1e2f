/**
 * Where bodies lie that are too large for messages: a directory, a bucket, a table. Several services share one. What its
 * methods throw counts as not reachable now: a sender fails with it, and a message that was received is tried again later.
 */
export interface Blobs {
  /**
   * Keeps bytes: when it resolves they survive a crash. Whoever gets them meanwhile gets all of them or none. What is there
   * already is as young as if it were new: another message needs it.
   *
   * @param key the SHA-256 of the bytes, in 64 hexadecimal digits
   */
  put(key: string, bytes: Uint8Array): Promise<void>
  /** The bytes; null when there are none. */
  get(key: string): Promise<Uint8Array | null>
  /**
   * Deletes what was put before that time, and not again since.
   *
   * @param before in ms since 1970
   * @returns how many were deleted
   */
  prune(before: number): Promise<number>
}

/** A key as {@link Blobs} have it. */
export const BLOB_KEY = /^[0-9a-f]{64}$/
