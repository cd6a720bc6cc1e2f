import type { Files, OpenFile } from '@stathmos/engine'
import type { Random } from '@stathmos/std'
import { MemoryInode } from './memory-inode.ts'

export interface MemoryFilesOptions {
  /**
   * Called before every call with its number, counted from 1, and name; what it throws is the call's
   * outcome. An `EIO` of a sync loses what it was to store, as on a real system.
   */
  readonly beforeCall?: (call: number, name: string, path: string) => void
  /** Room for the content of all files together; unlimited when left out. */
  readonly capacityBytes?: number
}

/** An open file whose sync can be made to fail as the kernel's does. */
export interface MemoryOpenFile extends OpenFile {
  /** From now on nothing that was written but not synced reaches the disk, though later syncs succeed. */
  failSync(): void
}

/** A change of names that a directory has not been synced since. */
type NameChange =
  | { readonly kind: 'put'; readonly path: string; readonly entry: Entry }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }

type Entry = MemoryInode | 'directory'

/**
 * A file system in memory that knows what a power cut would leave: content is safe after a sync of
 * its file, names after a sync of their directory, and of everything else any part may survive.
 */
export class MemoryFiles implements Files {
  readonly #options: MemoryFilesOptions
  readonly #names = new Map<string, Entry>()
  readonly #syncedNames = new Map<string, Entry>()
  #changes: NameChange[] = []
  #calls = 0

  constructor(options: MemoryFilesOptions = {}) {
    this.#options = options
  }

  /** Calls made so far. */
  get steps(): number {
    return this.#calls
  }

  async open(path: string, mode: 'create' | 'read-write' | 'read'): Promise<OpenFile> {
    this.#step('open', path)
    if (mode !== 'create') return this.#opened(path, this.#inode(path))
    if (this.#names.has(path)) throw systemError('EEXIST', path)
    if (this.#names.get(parent(path)) !== 'directory') throw systemError('ENOENT', path)
    const inode = new MemoryInode()
    this.#change({ kind: 'put', path, entry: inode })
    return this.#opened(path, inode)
  }

  async read(path: string): Promise<Uint8Array> {
    this.#step('read', path)
    const inode = this.#inode(path)
    const bytes = new Uint8Array(inode.size)
    inode.read(bytes, 0)
    return bytes
  }

  async list(directory: string): Promise<string[]> {
    this.#step('list', directory)
    if (this.#names.get(directory) !== 'directory') throw systemError('ENOENT', directory)
    const names = [...this.#names.keys()].filter((path) => path !== directory && parent(path) === directory)
    return names.map((path) => path.slice(path.lastIndexOf('/') + 1)).toSorted()
  }

  async makeDirectory(path: string): Promise<void> {
    this.#step('makeDirectory', path)
    const missing: string[] = []
    for (let at = path; !this.#names.has(at); at = parent(at)) {
      missing.unshift(at)
      if (parent(at) === at) break
    }
    for (const at of missing) this.#change({ kind: 'put', path: at, entry: 'directory' })
  }

  async rename(from: string, to: string): Promise<void> {
    this.#step('rename', from)
    this.#inode(from)
    this.#change({ kind: 'rename', from, to })
  }

  async remove(path: string): Promise<void> {
    this.#step('remove', path)
    if (this.#names.has(path)) this.#change({ kind: 'remove', path })
  }

  async syncDirectory(path: string): Promise<void> {
    this.#step('syncDirectory', path)
    const belongs = (change: NameChange): boolean => parent(change.kind === 'rename' ? change.to : change.path) === path
    for (const change of this.#changes.filter(belongs)) apply(this.#syncedNames, change)
    this.#changes = this.#changes.filter((change) => !belongs(change))
  }

  async freeBytes(path: string): Promise<number> {
    this.#step('freeBytes', path)
    return this.#free()
  }

  /** The world after this process alone died: whatever was written is there. */
  kill(options: MemoryFilesOptions = {}): MemoryFiles {
    const copies = new Map<Entry, Entry>([['directory', 'directory']])
    const copyOf = (entry: Entry): Entry => {
      const copy = copies.get(entry) ?? (entry as MemoryInode).copy()
      copies.set(entry, copy)
      return copy
    }
    const next = new MemoryFiles(options)
    for (const [path, entry] of this.#names) next.#names.set(path, copyOf(entry))
    for (const [path, entry] of this.#syncedNames) next.#syncedNames.set(path, copyOf(entry))
    next.#changes = this.#changes.map((c) => (c.kind === 'put' ? { ...c, entry: copyOf(c.entry) } : c))
    return next
  }

  /** The world after a power cut. The same numbers give the same world. */
  crash(random: Random, options: MemoryFilesOptions = {}): MemoryFiles {
    const names = new Map(this.#syncedNames)
    const inOrder = random.uint32() % 2 === 0
    const kept = random.uint32() % (this.#changes.length + 1)
    this.#changes.forEach((change, i) => {
      if (inOrder ? i < kept : random.uint32() % 2 === 0) apply(names, change)
    })
    const next = new MemoryFiles(options)
    const crashed = new Map<Entry, Entry>([['directory', 'directory']])
    for (const [path, entry] of names) {
      if (!rooted(names, path)) continue
      const after = crashed.get(entry) ?? (entry as MemoryInode).crashed(random)
      crashed.set(entry, after)
      next.#names.set(path, after)
      next.#syncedNames.set(path, after)
    }
    return next
  }

  /** Bit rot: turns one bit of a stored file over, for good. */
  flip(path: string, bit: number): void {
    this.#inode(path).flip(bit)
  }

  #opened(path: string, inode: MemoryInode): MemoryOpenFile {
    let closed = false
    const step = (name: string): void => {
      this.#step(name, path)
      if (closed) throw systemError('EBADF', path)
    }
    return {
      write: async (pieces, position) => {
        step('write')
        return this.#write(path, inode, pieces, position)
      },
      sync: async () => {
        try {
          step('sync')
        } catch (error) {
          if (error instanceof Error && 'code' in error && error.code === 'EIO') inode.failSync()
          throw error
        }
        inode.sync()
      },
      failSync: () => inode.failSync(),
      read: async (into, position) => {
        step('readAt')
        return inode.read(into, position)
      },
      size: async () => {
        step('size')
        return inode.size
      },
      truncate: async (size) => {
        step('truncate')
        inode.truncate(size)
      },
      close: async () => {
        step('close')
        closed = true
      },
    }
  }

  #write(path: string, inode: MemoryInode, pieces: readonly Uint8Array[], position: number): number {
    let done = 0
    for (const piece of pieces) {
      const room = Math.max(0, inode.size - position - done) + this.#free()
      const part = piece.length > room ? piece.subarray(0, room) : piece
      inode.write(part, position + done)
      done += part.length
      if (part.length < piece.length) break
    }
    if (done === 0 && pieces.some((piece) => piece.length > 0)) throw systemError('ENOSPC', path)
    return done
  }

  #free(): number {
    const { capacityBytes } = this.#options
    if (capacityBytes === undefined) return Number.MAX_SAFE_INTEGER
    let used = 0
    for (const entry of this.#names.values()) if (entry !== 'directory') used += entry.size
    return Math.max(0, capacityBytes - used)
  }

  #inode(path: string): MemoryInode {
    const entry = this.#names.get(path)
    if (entry === undefined) throw systemError('ENOENT', path)
    if (entry === 'directory') throw systemError('EISDIR', path)
    return entry
  }

  #change(change: NameChange): void {
    apply(this.#names, change)
    this.#changes.push(change)
  }

  #step(name: string, path: string): void {
    this.#calls++
    this.#options.beforeCall?.(this.#calls, name, path)
  }
}

/** A change whose ground is missing (the creation that it builds on was lost) does nothing. */
function apply(names: Map<string, Entry>, change: NameChange): void {
  if (change.kind === 'put') {
    names.set(change.path, change.entry)
  } else if (change.kind === 'remove') {
    names.delete(change.path)
  } else {
    const entry = names.get(change.from)
    if (entry === undefined) return
    names.delete(change.from)
    names.set(change.to, entry)
  }
}

function parent(path: string): string {
  const slash = path.lastIndexOf('/')
  if (slash === -1) return '.'
  return slash === 0 ? '/' : path.slice(0, slash)
}

/** All directories above a path are there. */
function rooted(names: ReadonlyMap<string, Entry>, path: string): boolean {
  const above = parent(path)
  if (above === path || above === '/' || above === '.') return true
  return names.get(above) === 'directory' && rooted(names, above)
}

/** An error as the operating system words it. */
export function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
