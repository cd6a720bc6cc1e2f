import { assert } from '@stathmos/std'
import type { Files, OpenFile } from './files.ts'

interface Slot {
  readonly file: Promise<OpenFile>
  users: number
  /** To be closed when its last user is done. */
  doomed: boolean
}

/** Keeps the files that were read last open, so that a cold read costs no `open` and a backlog no descriptor limit. */
export class OpenFilePool {
  readonly #files: Files
  readonly #openMax: number
  /** Least recently used first. */
  readonly #slots = new Map<string, Slot>()
  #closed = false

  constructor(files: Files, openMax: number) {
    this.#files = files
    this.#openMax = openMax
  }

  /** Runs `use` with the file open for reading; the file stays open at least until it is done. */
  async use<T>(path: string, use: (file: OpenFile) => Promise<T>): Promise<T> {
    assert(!this.#closed, 'a closed file pool was used')
    const slot = this.#slots.get(path) ?? { file: this.#files.open(path, 'read'), users: 0, doomed: false }
    this.#slots.delete(path)
    this.#slots.set(path, slot)
    slot.users++
    try {
      return await use(await slot.file)
    } catch (error) {
      // What could not be opened, or failed once, is opened afresh the next time.
      this.#drop(path, slot)
      throw error
    } finally {
      slot.users--
      if (slot.doomed && slot.users === 0) await closeQuietly(slot)
      await this.#shrink()
    }
  }

  /** Closes the file once nobody uses it. Its name may be removed at once. */
  async forget(path: string): Promise<void> {
    const slot = this.#slots.get(path)
    if (slot === undefined) return
    this.#drop(path, slot)
    if (slot.users === 0) await closeQuietly(slot)
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#slots.keys()].map((path) => this.forget(path)))
  }

  #drop(path: string, slot: Slot): void {
    slot.doomed = true
    if (this.#slots.get(path) === slot) this.#slots.delete(path)
  }

  async #shrink(): Promise<void> {
    if (this.#slots.size <= this.#openMax) return
    for (const [path, slot] of this.#slots) {
      if (slot.users > 0) continue
      await this.forget(path)
      return
    }
  }
}

/** A file that was only read has nothing to lose in its closing. */
async function closeQuietly(slot: Slot): Promise<void> {
  try {
    await (await slot.file).close()
  } catch {
    // Opening failed, and its caller was told; or closing did, and the descriptor is gone either way.
  }
}
