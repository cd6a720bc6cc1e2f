import * as fs from 'node:fs'
import { dirname } from 'node:path'
import type { Files, OpenFile } from './files.ts'
import { systemCode } from './storage-errors.ts'

/** Only the user that the process runs as may read what clients stored. */
const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700

/** Buffers that one `writev` takes at most (IOV_MAX on every system we know). */
const PIECES_MAX = 1024

const OPEN_FLAGS = { create: 'wx+', 'read-write': 'r+', read: 'r' } as const

/**
 * The file system of this machine. On the callback interface: a file handle of the promise interface
 * costs a multiple of it per call, and is closed by the collector when it is lost.
 */
export const nodeFiles: Files = {
  async open(path, mode) {
    return new NodeFile(await call<number>((done) => fs.open(path, OPEN_FLAGS[mode], FILE_MODE, done)))
  },
  read: (path) => call<Uint8Array>((done) => fs.readFile(path, done)),
  async list(directory) {
    return (await call<string[]>((done) => fs.readdir(directory, done))).toSorted()
  },
  async makeDirectory(path) {
    // Not Node's recursive form: where a directory that is there refuses a new one with ENOENT (/proc), it tries for ever.
    try {
      await makeOneDirectory(path)
    } catch (error) {
      const parent = dirname(path)
      if (systemCode(error) !== 'ENOENT' || parent === path) throw error
      await nodeFiles.makeDirectory(parent)
      await makeOneDirectory(path)
    }
  },
  rename: (from, to) => call<void>((done) => fs.rename(from, to, done)),
  async remove(path) {
    try {
      await call<void>((done) => fs.unlink(path, done))
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
    }
  },
  async syncDirectory(path) {
    // Windows opens no directories, and writes their changes through.
    if (process.platform === 'win32') return
    const descriptor = await call<number>((done) => fs.open(path, 'r', done))
    try {
      await call<void>((done) => fs.fsync(descriptor, done))
    } finally {
      await closeDescriptor(descriptor)
    }
  },
  async freeBytes(path) {
    const { bavail, bsize } = await call<fs.StatsFs>((done) => fs.statfs(path, done))
    return bavail * bsize
  },
}

class NodeFile implements OpenFile {
  readonly #descriptor: number

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  write(pieces: readonly Uint8Array[], position: number): Promise<number> {
    const some = pieces.length > PIECES_MAX ? pieces.slice(0, PIECES_MAX) : (pieces as Uint8Array[])
    return call<number>((done) => fs.writev(this.#descriptor, some, position, done))
  }

  sync(): Promise<void> {
    return call<void>((done) => fs.fdatasync(this.#descriptor, done))
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let filled = 0
    while (filled < into.length) {
      const [offset, length] = [filled, into.length - filled]
      const count = await call<number>((done) =>
        fs.read(this.#descriptor, into, offset, length, position + offset, done),
      )
      if (count === 0) break
      filled += count
    }
    return filled
  }

  async size(): Promise<number> {
    return (await call<fs.Stats>((done) => fs.fstat(this.#descriptor, done))).size
  }

  truncate(size: number): Promise<void> {
    return call<void>((done) => fs.ftruncate(this.#descriptor, size, done))
  }

  close(): Promise<void> {
    return closeDescriptor(this.#descriptor)
  }
}

async function makeOneDirectory(path: string): Promise<void> {
  try {
    await call<void>((done) => fs.mkdir(path, DIRECTORY_MODE, done))
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
    const found = await call<fs.Stats>((done) => fs.stat(path, done))
    if (!found.isDirectory()) throw error
  }
}

/** Once only, whatever it says: the descriptor is gone, and its number may be another file's already. */
function closeDescriptor(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(descriptor, (error) => (error ? reject(error) : resolve()))
  })
}

type Callback<T> = (error: NodeJS.ErrnoException | null, result?: T) => void

/** One call as a promise; begun again when a signal cut it short. */
function call<T>(begin: (done: Callback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const done: Callback<T> = (error, result) => {
      if (error === null) resolve(result as T)
      else if (error.code === 'EINTR') begin(done)
      else reject(error)
    }
    begin(done)
  })
}
