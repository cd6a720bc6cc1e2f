import type { Clock, Timer } from '@stathmos/std'

/** Why publishers are blocked. */
export type BlockReason = 'disk' | 'memory'

export interface FlowSource {
  readonly clock: Clock
  readonly watchMs: number
  readonly diskFreeMin: number
  readonly memoryMax: number
  freeBytes(): Promise<number>
  residentBytes(): number
  /** Room has returned: takes the reserve again. `false`: not enough for that. */
  restoreReserve(): Promise<boolean>
  /** Gives up whatever on the disk is no longer needed. */
  makeRoom(): void
  /** The disk refused for another reason than room. No more is asked of it. */
  fail(error: unknown): void
}

/** The disk is looked at so often while the room that must stay free is written. */
const LOOKS_BEFORE_LOW = 4
/** Asking what is free costs as much as writing a little. */
const BYTES_BETWEEN_LOOKS_MIN = 1024 * 1024

/**
 * Watches disk and memory, and blocks publishers before either runs out. Consumers are never blocked:
 * they are what frees both.
 */
export class Flow {
  readonly #source: FlowSource
  readonly #listeners = new Set<(blocked: BlockReason | null) => void>()
  #timer: Timer | null = null
  #full = false
  #refused = false
  #diskLow = false
  #memoryHigh = false
  #closed = false
  #watching = false
  #written = 0
  #blocked: BlockReason | null = null

  constructor(source: FlowSource) {
    this.#source = source
  }

  /** Why publishers are blocked; null: they are not. */
  get blocked(): BlockReason | null {
    return this.#blocked
  }

  /** Tells `listener` of every change, until the function returned is called. */
  onChange(listener: (blocked: BlockReason | null) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A write found the disk full, or went through again. */
  diskFull(full: boolean): void {
    if (full) this.#full = true
    this.#update()
  }

  /** The journal's writes are refused, or go through again: until then there is no use in taking the reserve. */
  refused(refused: boolean): void {
    this.#refused = refused
    this.diskFull(refused)
  }

  /** So much was written since the last time: looks before its time when that could have filled the disk. */
  wrote(bytes: number): void {
    this.#written += bytes
    if (this.#written < Math.max(this.#source.diskFreeMin / LOOKS_BEFORE_LOW, BYTES_BETWEEN_LOOKS_MIN)) return
    if (this.#watching || this.#closed) return
    this.#timer?.cancel()
    void this.#watch()
  }

  start(): void {
    this.#timer = this.#source.clock.after(this.#source.watchMs, () => void this.#watch())
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  async #watch(): Promise<void> {
    this.#watching = true
    this.#written = 0
    // A file system that does not say what is free is no reason to block: the next write will tell.
    const free = await this.#source.freeBytes().catch(() => Number.POSITIVE_INFINITY)
    this.#diskLow = free < this.#source.diskFreeMin
    try {
      // The reserve was given up; it must be back before anybody may fill the disk again.
      const mayTake = this.#full && !this.#diskLow && !this.#refused
      if (mayTake && (await this.#source.restoreReserve()) && !this.#refused) this.#full = false
      if (this.#full || this.#diskLow) this.#source.makeRoom()
    } catch (error) {
      this.#source.fail(error)
      return
    }
    this.#memoryHigh = this.#source.residentBytes() > this.#source.memoryMax
    this.#watching = false
    if (this.#closed) return
    this.#update()
    this.start()
  }

  #update(): void {
    const blocked = this.#full || this.#diskLow ? 'disk' : this.#memoryHigh ? 'memory' : null
    if (blocked === this.#blocked) return
    this.#blocked = blocked
    for (const listener of this.#listeners) listener(blocked)
  }
}
