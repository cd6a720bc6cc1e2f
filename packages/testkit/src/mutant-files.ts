import type { Files, OpenFile } from '@stathmos/engine'

/**
 * The classic mistakes of storage code, each as a mutant of the file system under it. A suite that
 * passes on a mutant does not check what it claims to.
 *
 * - `no-sync`: a sync does nothing.
 * - `sync-error-swallowed`: a failed sync is tried again, and the second answer believed.
 * - `no-directory-sync`: names are never synced.
 * - `short-write-as-full`: a short write is reported as complete.
 */
export type Mutation = 'no-sync' | 'sync-error-swallowed' | 'no-directory-sync' | 'short-write-as-full'

export const MUTATIONS: readonly Mutation[] = [
  'no-sync',
  'sync-error-swallowed',
  'no-directory-sync',
  'short-write-as-full',
]

/** The same files with one mistake in them. */
export function mutantFiles(inner: Files, mutation: Mutation): Files {
  return {
    open: async (path, mode) => mutantFile(await inner.open(path, mode), mutation),
    read: (path) => inner.read(path),
    list: (directory) => inner.list(directory),
    makeDirectory: (path) => inner.makeDirectory(path),
    rename: (from, to) => inner.rename(from, to),
    remove: (path) => inner.remove(path),
    syncDirectory: async (path) => {
      if (mutation !== 'no-directory-sync') await inner.syncDirectory(path)
    },
    freeBytes: (path) => inner.freeBytes(path),
  }
}

function mutantFile(inner: OpenFile, mutation: Mutation): OpenFile {
  return {
    write: async (pieces, position) => {
      const written = await inner.write(pieces, position)
      const asked = pieces.reduce((sum, piece) => sum + piece.length, 0)
      return mutation === 'short-write-as-full' ? asked : written
    },
    sync: async () => {
      if (mutation === 'no-sync') return
      if (mutation !== 'sync-error-swallowed') return inner.sync()
      try {
        await inner.sync()
      } catch {
        await inner.sync()
      }
    },
    read: (into, position) => inner.read(into, position),
    size: () => inner.size(),
    truncate: (size) => inner.truncate(size),
    close: () => inner.close(),
  }
}
