import type { Clock, Timer } from '@stathmos/std'
import type { FrameStore } from '../storage/frame-store.ts'

export interface ScrubberSource {
  readonly clock: Clock
  readonly store: Pick<FrameStore, 'scrub'>
  /** So often a piece is read … */
  readonly everyMs: number
  /** … of about so many bytes. */
  readonly bytes: number
  /** A piece is not what was written, or cannot be read. */
  damaged(error: Error): void
}

/**
 * Reads what lies on the disk and nobody asks for, a little at a time and round after round, so that rot is known
 * while the other copy of what it hit may still be somewhere. What it meets it reports and passes: the messages there
 * are refused to whoever asks for them, and all the others are as good as before.
 */
export class Scrubber {
  readonly #source: ScrubberSource
  #timer: Timer | null = null
  #reading: Promise<void> = Promise.resolve()
  #closed = false

  constructor(source: ScrubberSource) {
    this.#source = source
  }

  start(): void {
    if (this.#closed) return
    this.#timer = this.#source.clock.after(this.#source.everyMs, () => {
      this.#reading = this.#read()
    })
  }

  /** Resolves when nothing is being read any more. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#reading
  }

  async #read(): Promise<void> {
    const { store, bytes } = this.#source
    try {
      await store.scrub(bytes)
    } catch (error) {
      if (!this.#closed) this.#source.damaged(error as Error)
    }
    this.start()
  }
}
