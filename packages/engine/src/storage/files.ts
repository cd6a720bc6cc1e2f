/**
 * The narrow seam to the disk: every system call of the broker goes through it. `node-files.ts` is
 * the real one; the testkit has one in memory and one that fails.
 *
 * Errors are the operating system's: an `Error` with a string `code` (`ENOSPC`, `EIO`, `ENOENT` …).
 */
export interface Files {
  /** Opens for reading and writing. `create` makes the file and fails with `EEXIST` when it is there. */
  open(path: string, mode: 'create' | 'read-write' | 'read'): Promise<OpenFile>
  /** The whole content. @throws `ENOENT` */
  read(path: string): Promise<Uint8Array>
  /** Names (not paths) in a directory, sorted. */
  list(directory: string): Promise<string[]>
  /** Makes a directory and its parents; one that exists is fine. */
  makeDirectory(path: string): Promise<void>
  /** Atomic replacement; durable only after {@link syncDirectory}. */
  rename(from: string, to: string): Promise<void>
  /** Removes a file; one that is missing is fine. */
  remove(path: string): Promise<void>
  /** Makes creations, renames and removals in the directory durable. */
  syncDirectory(path: string): Promise<void>
  /** Bytes that an ordinary process may still write on the file system of `path`. */
  freeBytes(path: string): Promise<number>
}

export interface OpenFile {
  /**
   * Writes the pieces one after another at `position` (writev). May write less than asked: the
   * result is the number of bytes written, and the caller must look at it. Not durable before {@link sync}.
   */
  write(pieces: readonly Uint8Array[], position: number): Promise<number>
  /** Makes all earlier writes durable (fdatasync). After an error nothing about them can be believed. */
  sync(): Promise<void>
  /** Fills `into` from `position`; the result is smaller than its length only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>
  size(): Promise<number>
  truncate(size: number): Promise<void>
  close(): Promise<void>
}
