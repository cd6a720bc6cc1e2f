import type { Files, OpenFile } from '@stathmos/engine'
import type { Simulation } from './simulation.ts'

/** How long calls take, ms, at most; the simulation draws each one's time. */
const CALL_MS_MAX = 0.2
const SYNC_MS_MAX = 3

export interface SimulatedDiskOptions {
  /** The process dies as it makes the call of this number, counted from 1. */
  readonly crashAtCall?: number
}

/**
 * Files whose calls take time: others happen before a call has its effect, and its answer comes later
 * still. The process can die at any call; what it had asked for and not been answered may then be done or not.
 */
export class SimulatedDisk implements Files {
  readonly #files: Files
  readonly #simulation: Simulation
  readonly #crashAtCall: number
  #calls = 0
  #dead = false

  constructor(files: Files, simulation: Simulation, options: SimulatedDiskOptions = {}) {
    this.#files = files
    this.#simulation = simulation
    this.#crashAtCall = options.crashAtCall ?? Number.POSITIVE_INFINITY
  }

  /** Calls made so far. */
  get calls(): number {
    return this.#calls
  }

  /** The process is dead: no call will ever be answered. */
  get dead(): boolean {
    return this.#dead
  }

  die(): void {
    this.#dead = true
  }

  async open(path: string, mode: 'create' | 'read-write' | 'read'): Promise<OpenFile> {
    const file = await this.#call(CALL_MS_MAX, () => this.#files.open(path, mode))
    return {
      write: (pieces, position) => this.#call(CALL_MS_MAX, () => file.write(pieces, position)),
      sync: () => this.#call(SYNC_MS_MAX, () => file.sync()),
      read: (into, position) => this.#call(CALL_MS_MAX, () => file.read(into, position)),
      size: () => this.#call(CALL_MS_MAX, () => file.size()),
      truncate: (size) => this.#call(CALL_MS_MAX, () => file.truncate(size)),
      close: () => this.#call(CALL_MS_MAX, () => file.close()),
    }
  }

  read(path: string): Promise<Uint8Array> {
    return this.#call(CALL_MS_MAX, () => this.#files.read(path))
  }

  list(directory: string): Promise<string[]> {
    return this.#call(CALL_MS_MAX, () => this.#files.list(directory))
  }

  makeDirectory(path: string): Promise<void> {
    return this.#call(CALL_MS_MAX, () => this.#files.makeDirectory(path))
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call(CALL_MS_MAX, () => this.#files.rename(from, to))
  }

  remove(path: string): Promise<void> {
    return this.#call(CALL_MS_MAX, () => this.#files.remove(path))
  }

  syncDirectory(path: string): Promise<void> {
    return this.#call(SYNC_MS_MAX, () => this.#files.syncDirectory(path))
  }

  freeBytes(path: string): Promise<number> {
    return this.#call(CALL_MS_MAX, () => this.#files.freeBytes(path))
  }

  async #call<T>(msMax: number, run: () => Promise<T>): Promise<T> {
    this.#calls++
    if (this.#calls >= this.#crashAtCall) this.#dead = true
    if (this.#dead) return never()
    await this.#simulation.pause(this.#fraction() * msMax)
    if (this.#dead) return never()
    const [outcome] = await Promise.allSettled([run()])
    await this.#simulation.pause(this.#fraction() * CALL_MS_MAX)
    if (this.#dead) return never()
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  }

  #fraction(): number {
    return this.#simulation.random.uint32() / 2 ** 32
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
