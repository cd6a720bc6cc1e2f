import type { Random } from '@stathmos/std'
import { syncOr } from './journal-writer.ts'
import type { Files } from './files.ts'
import { mayPass } from './storage-errors.ts'

const PIECE_BYTES = 1024 * 1024

/** Shares of the size asked for, for disks on which that would be too much. */
const SHARES = [1, 1 / 4, 1 / 16] as const

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
  /** What is taken; 0 until the first time. */
  #size = 0

  constructor(files: Files, directory: string, bytes: number, random: Random) {
    this.#files = files
    this.#directory = directory
    this.#path = `${directory}/reserve`
    this.#bytes = bytes
    this.#random = random
  }

  get bytes(): number {
    return this.held ? this.#size : 0
  }

  /**
   * Takes the room, unless it is held already. The first time, on a small or nearly full disk, less than was asked
   * for; later as much as the first time, so that it comes back only when room has. False, and nothing taken, when the
   * disk has too little.
   */
  async take(): Promise<boolean> {
    if (this.#bytes === 0 || this.held) return true
    const sizes = SHARES.map((share) => Math.ceil(this.#bytes * share))
    const there = await this.#sizeOnDisk()
    if (this.#size === 0 ? sizes.includes(there) : there === this.#size) {
      this.#size = there
      return (this.held = true)
    }
    await this.#files.remove(this.#path)
    // As much must stay free: filling the disk to the brim would refuse the frames that the reserve is for.
    const free = await this.#freeBytes()
    if (this.#size === 0) this.#size = sizes.find((candidate) => free >= 2 * candidate) ?? sizes.at(-1)!
    if (free < 2 * this.#size) return false
    try {
      await this.#fill(this.#size)
      this.held = true
    } catch (error) {
      if (!mayPass(error)) throw error
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

  /** -1: there is none. */
  async #sizeOnDisk(): Promise<number> {
    try {
      const file = await this.#files.open(this.#path, 'read')
      try {
        return await file.size()
      } finally {
        await file.close()
      }
    } catch {
      return -1
    }
  }

  async #fill(size: number): Promise<void> {
    const file = await this.#files.open(this.#path, 'create')
    try {
      const piece = this.#random.bytes(Math.min(PIECE_BYTES, size))
      for (let done = 0; done < size;) {
        const written = await file.write([piece.subarray(0, size - done)], done)
        if (written === 0) throw Object.assign(new Error('the disk took no byte'), { code: 'ENOSPC' })
        done += written
      }
      await syncOr(() => file.sync(), this.#path)
    } finally {
      await file.close()
    }
  }
}
