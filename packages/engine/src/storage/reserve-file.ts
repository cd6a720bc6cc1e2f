import type { Random } from '@stathmos/std'
import type { Files } from './files.ts'
import { meansFull } from './storage-errors.ts'

const PIECE_BYTES = 1024 * 1024

/**
 * A file that only takes room, to be deleted when the disk is full. Filled with random bytes: zeros
 * may cost a file system nothing, and would then free nothing.
 */
export class ReserveFile {
  readonly #files: Files
  readonly #directory: string
  readonly #path: string
  readonly #bytes: number
  readonly #random: Random
  held = false

  constructor(files: Files, directory: string, bytes: number, random: Random) {
    this.#files = files
    this.#directory = directory
    this.#path = `${directory}/reserve`
    this.#bytes = bytes
    this.#random = random
  }

  get bytes(): number {
    return this.held ? this.#bytes : 0
  }

  /** Takes the room, unless it is held already. False, and nothing taken, when the disk has too little. */
  async take(): Promise<boolean> {
    if (this.#bytes === 0 || this.held) return true
    if (await this.#isWhole()) return (this.held = true)
    await this.#files.remove(this.#path)
    // As much must stay free: filling the disk to the brim would refuse the frames that the reserve is for.
    if ((await this.#freeBytes()) < 2 * this.#bytes) return false
    try {
      await this.#fill()
      this.held = true
    } catch (error) {
      if (!meansFull(error)) throw error
      await this.#files.remove(this.#path)
    }
    return this.held
  }

  async release(): Promise<void> {
    await this.#files.remove(this.#path)
    this.held = false
  }

  /** A file system that does not say has no room: it may answer the next time. */
  #freeBytes(): Promise<number> {
    return this.#files.freeBytes(this.#directory).catch(() => 0)
  }

  async #isWhole(): Promise<boolean> {
    try {
      const file = await this.#files.open(this.#path, 'read')
      try {
        return (await file.size()) === this.#bytes
      } finally {
        await file.close()
      }
    } catch {
      return false
    }
  }

  async #fill(): Promise<void> {
    const file = await this.#files.open(this.#path, 'create')
    try {
      const piece = this.#random.bytes(Math.min(PIECE_BYTES, this.#bytes))
      for (let done = 0; done < this.#bytes;) {
        const written = await file.write([piece.subarray(0, this.#bytes - done)], done)
        if (written === 0) throw Object.assign(new Error('the disk took no byte'), { code: 'ENOSPC' })
        done += written
      }
      await file.sync()
    } finally {
      await file.close()
    }
  }
}
