import { crc32 } from 'node:zlib'
import type { StoredPage } from './page.ts'
import { CorruptionError } from '../storage/frame-store.ts'
import type { Files, OpenFile } from '../storage/files.ts'
import { syncOr } from '../storage/journal-writer.ts'

/** Before each page in an index file: length u32, crc32 u32. */
export const PAGE_PREFIX_BYTES = 8

export function indexFileName(number: number): string {
  return `${String(number).padStart(10, '0')}.idx`
}

/** The number in the name of an index file; null: it is none. */
export function parseIndexFileName(name: string): number | null {
  const digits = /^(\d+)\.idx$/.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

/**
 * Index pages on disk: each checkpoint writes the pages that changed into one new file `index/<n>.idx`.
 * A file without a page that anybody refers to is removed once a checkpoint that no longer names it is durable.
 */
export class PageStore {
  readonly #files: Files
  readonly #directory: string
  readonly #open = new Map<number, Promise<OpenFile>>()
  readonly #live = new Map<number, number>()
  #next = 1
  #pieces: Uint8Array[] = []
  #offset = 0

  constructor(files: Files, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  /**
   * Removes the files that the checkpoint does not refer to: of one that was never finished, or that died
   * just before the stop. Call once, after {@link keep} of all that it does refer to: what was dropped since stays.
   */
  async sweep(): Promise<void> {
    for (const name of await this.#files.list(this.#directory)) {
      const number = parseIndexFileName(name)
      if (number === null || this.#live.has(number)) continue
      await this.#files.remove(`${this.#directory}/${name}`)
    }
  }

  /** Counts a page that the checkpoint refers to. */
  keep(stored: StoredPage): void {
    this.#live.set(stored.file, (this.#live.get(stored.file) ?? 0) + 1)
    if (stored.file >= this.#next) this.#next = stored.file + 1
  }

  /** The page is no longer referred to from memory; its file goes with {@link collect}. */
  drop(stored: StoredPage): void {
    this.#live.set(stored.file, (this.#live.get(stored.file) ?? 1) - 1)
  }

  /** Sets a page aside for the index file being made and tells where it will be. */
  add(bytes: Uint8Array): StoredPage {
    const prefix = new Uint8Array(PAGE_PREFIX_BYTES)
    const view = new DataView(prefix.buffer)
    view.setUint32(0, bytes.length, true)
    view.setUint32(4, crc32(bytes), true)
    const stored = { file: this.#next, offset: this.#offset, length: bytes.length }
    this.#pieces.push(prefix, bytes)
    this.#offset += PAGE_PREFIX_BYTES + bytes.length
    this.#live.set(stored.file, (this.#live.get(stored.file) ?? 0) + 1)
    return stored
  }

  /** Takes the pages set aside; {@link write} then puts them on disk while new ones gather. */
  cut(): { file: number; pieces: Uint8Array[] } | null {
    const pieces = this.#pieces
    const file = this.#next
    this.#pieces = []
    this.#offset = 0
    if (pieces.length === 0) return null
    this.#next = file + 1
    return { file, pieces }
  }

  /** Writes an index file; durable with its name when this resolves. */
  async write(cut: { file: number; pieces: Uint8Array[] }): Promise<void> {
    const path = this.#path(cut.file)
    await this.#files.remove(path)
    const file = await this.#files.open(path, 'create')
    try {
      const bytes = Buffer.concat(cut.pieces)
      let at = 0
      while (at < bytes.length) {
        const written = await file.write([bytes.subarray(at)], at)
        if (written === 0) throw Object.assign(new Error(`no room for ${path}`), { code: 'ENOSPC' })
        at += written
      }
      await syncOr(() => file.sync(), path)
    } finally {
      await file.close()
    }
    await syncOr(() => this.#files.syncDirectory(this.#directory), this.#directory)
  }

  /** Reads a page back. @throws CorruptionError when it is not what was written */
  async read(stored: StoredPage): Promise<Uint8Array> {
    let open = this.#open.get(stored.file)
    if (open === undefined) {
      open = this.#files.open(this.#path(stored.file), 'read')
      this.#open.set(stored.file, open)
    }
    const bytes = new Uint8Array(PAGE_PREFIX_BYTES + stored.length)
    const read = await (await open).read(bytes, stored.offset)
    const view = new DataView(bytes.buffer)
    const page = bytes.subarray(PAGE_PREFIX_BYTES)
    if (read !== bytes.length || view.getUint32(0, true) !== stored.length || view.getUint32(4, true) !== crc32(page)) {
      throw new CorruptionError(`index page at offset ${stored.offset} of ${this.#path(stored.file)} is damaged`)
    }
    return page
  }

  /** Files that no page lives in now, so that a checkpoint captured now names none of them. */
  dead(): number[] {
    return [...this.#live].flatMap(([file, live]) => (live > 0 ? [] : file))
  }

  /**
   * Removes files that were {@link dead} when the checkpoint that is now durable was captured. Not those that
   * died since: it still names them.
   */
  async collect(dead: readonly number[]): Promise<void> {
    for (const file of dead) {
      this.#live.delete(file)
      const open = this.#open.get(file)
      this.#open.delete(file)
      if (open !== undefined) await (await open).close()
      await this.#files.remove(this.#path(file))
    }
  }

  async close(): Promise<void> {
    for (const open of this.#open.values()) await (await open).close()
    this.#open.clear()
  }

  #path(file: number): string {
    return `${this.#directory}/${indexFileName(file)}`
  }
}
