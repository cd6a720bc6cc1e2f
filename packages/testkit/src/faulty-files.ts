import type { Files, OpenFile } from '@stathmos/engine'
import type { Clock } from '@stathmos/std'
import { systemError } from './memory-files.ts'

/** What goes wrong. Calls of a kind are counted from 1, over all files that `path` admits. */
export type Fault =
  /** The disk is full from the `nth` write on, for `times` writes; the first of them still takes `takenBytes`. */
  | {
      readonly kind: 'full'
      readonly nth: number
      readonly times?: number
      readonly takenBytes?: number
      readonly path?: RegExp
    }
  /** One write takes only so many bytes, without an error. */
  | { readonly kind: 'short-write'; readonly nth: number; readonly takenBytes: number; readonly path?: RegExp }
  /** The write takes nothing and fails with EIO; so do those after it, `times` of them in all. */
  | { readonly kind: 'write-error'; readonly nth: number; readonly times?: number; readonly path?: RegExp }
  /** The sync fails with EIO, and what it was to store is lost although the next sync succeeds. */
  | { readonly kind: 'sync-error'; readonly nth: number; readonly path?: RegExp }
  | { readonly kind: 'directory-sync-error'; readonly nth: number; readonly path?: RegExp }
  /** The read returns one bit the wrong way; `bit` counts from the start of what was read. */
  | { readonly kind: 'bit-flip'; readonly nth: number; readonly bit: number; readonly path?: RegExp }
  /** Every write and sync from the `nth` on takes so much longer. Needs a clock. */
  | { readonly kind: 'slow'; readonly nth: number; readonly delayMs: number; readonly path?: RegExp }

interface ArmedFault {
  readonly fault: Fault
  seen: number
}

/** Any files, with the failures that the rules name. Rules may be added while it is in use. */
export class FaultyFiles implements Files {
  readonly #inner: Files
  readonly #clock: Clock | null
  readonly #armed: ArmedFault[]

  constructor(inner: Files, faults: readonly Fault[] = [], clock: Clock | null = null) {
    this.#inner = inner
    this.#clock = clock
    this.#armed = faults.map((fault) => ({ fault, seen: 0 }))
  }

  /** Adds a fault; its count starts now. Returns how to take it back. */
  arm(fault: Fault): () => void {
    const armed = { fault, seen: 0 }
    this.#armed.push(armed)
    return () => void this.#armed.splice(this.#armed.indexOf(armed), 1)
  }

  async open(path: string, mode: 'create' | 'read-write' | 'read'): Promise<OpenFile> {
    const file = await this.#inner.open(path, mode)
    return {
      write: (pieces, position) => this.#write(file, path, pieces, position),
      sync: () => this.#sync(file, path),
      read: async (into, position) => this.#flipped(path, into, await file.read(into, position)),
      size: () => file.size(),
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
    }
  }

  async read(path: string): Promise<Uint8Array> {
    const bytes = await this.#inner.read(path)
    this.#flipped(path, bytes, bytes.length)
    return bytes
  }

  async syncDirectory(path: string): Promise<void> {
    if (this.#due('directory-sync-error', path) !== undefined) throw systemError('EIO', path)
    return this.#inner.syncDirectory(path)
  }

  list(directory: string): Promise<string[]> {
    return this.#inner.list(directory)
  }

  makeDirectory(path: string): Promise<void> {
    return this.#inner.makeDirectory(path)
  }

  rename(from: string, to: string): Promise<void> {
    return this.#inner.rename(from, to)
  }

  remove(path: string): Promise<void> {
    return this.#inner.remove(path)
  }

  freeBytes(path: string): Promise<number> {
    return this.#inner.freeBytes(path)
  }

  async #write(file: OpenFile, path: string, pieces: readonly Uint8Array[], position: number): Promise<number> {
    await this.#slow(path)
    if (this.#due('write-error', path) !== undefined) throw systemError('EIO', path)
    const short = this.#due('short-write', path)
    const full = this.#due('full', path)
    if (full !== undefined) {
      const taken = full.first ? (full.fault.takenBytes ?? 0) : 0
      if (taken === 0) throw systemError('ENOSPC', path)
      return file.write(firstBytes(pieces, taken), position)
    }
    return file.write(short === undefined ? pieces : firstBytes(pieces, short.fault.takenBytes), position)
  }

  async #sync(file: OpenFile, path: string): Promise<void> {
    await this.#slow(path)
    if (this.#due('sync-error', path) === undefined) return file.sync()
    if ('failSync' in file && typeof file.failSync === 'function') file.failSync()
    throw systemError('EIO', path)
  }

  async #slow(path: string): Promise<void> {
    const slow = this.#due('slow', path)
    if (slow === undefined || this.#clock === null) return
    const clock = this.#clock
    await new Promise<void>((resolve) => void clock.after(slow.fault.delayMs, resolve))
  }

  #flipped(path: string, bytes: Uint8Array, filled: number): number {
    const flip = this.#due('bit-flip', path)
    if (flip !== undefined && flip.fault.bit >>> 3 < filled) bytes[flip.fault.bit >>> 3]! ^= 1 << (flip.fault.bit & 7)
    return filled
  }

  /** Counts the call for every fault of the kind, and returns the first that is due. */
  #due<K extends Fault['kind']>(
    kind: K,
    path: string,
  ): { fault: Extract<Fault, { kind: K }>; first: boolean } | undefined {
    let due: { fault: Extract<Fault, { kind: K }>; first: boolean } | undefined
    for (const armed of this.#armed) {
      const fault = armed.fault
      if (!isKind(fault, kind) || fault.path?.test(path) === false) continue
      armed.seen++
      const times = timesOf(fault)
      if (armed.seen >= fault.nth && armed.seen < fault.nth + times) due ??= { fault, first: armed.seen === fault.nth }
    }
    return due
  }
}

function timesOf(fault: Fault): number {
  if (fault.kind === 'full') return fault.times ?? Infinity
  if (fault.kind === 'write-error') return fault.times ?? 1
  return fault.kind === 'slow' ? Infinity : 1
}

function isKind<K extends Fault['kind']>(fault: Fault, kind: K): fault is Extract<Fault, { kind: K }> {
  return fault.kind === kind
}

/** The pieces cut off after `count` bytes. */
function firstBytes(pieces: readonly Uint8Array[], count: number): Uint8Array[] {
  const first: Uint8Array[] = []
  let rest = count
  for (const piece of pieces) {
    if (rest === 0) break
    first.push(piece.subarray(0, rest))
    rest -= Math.min(rest, piece.length)
  }
  return first
}
