import { SdkError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Clock, Timer } from '../time/clock.ts'

/** Pause between two looks whether the store is back; doubled each time, up to the maximum. */
const PROBE_MS = 100
const PROBE_MS_MAX = 10_000

export interface StoreGateOptions {
  readonly consumer: string
  readonly clock: Clock
  readonly log: Log
  /** Asks the store for anything. */
  readonly probe: () => Promise<unknown>
  readonly closed: () => void
  readonly opened: () => void
}

/**
 * Open while the store answers. Whoever finds that it does not closes the gate; it opens when the store answers again.
 * Behind a closed gate nothing is begun, so that an outage costs no message an attempt.
 */
export class StoreGate {
  readonly #options: StoreGateOptions
  readonly #waiting: ((open: boolean) => void)[] = []
  #timer: Timer | null = null
  #closed = false
  #ended = false
  #pauseMs = PROBE_MS

  constructor(options: StoreGateOptions) {
    this.#options = options
  }

  get closed(): boolean {
    return this.#closed
  }

  /** For how long a message that comes now is to stay away. */
  get pauseMs(): number {
    return this.#pauseMs
  }

  close(error: unknown): void {
    if (this.#closed || this.#ended) return
    this.#closed = true
    this.#options.log.warn(
      { err: error, consumer: this.#options.consumer },
      'the store does not answer; consuming pauses',
    )
    this.#options.closed()
    this.#probeLater()
  }

  /** Asks the store now, whether one connection was lost or all of them. */
  async answers(): Promise<boolean> {
    if (this.#closed || this.#ended) return false
    return this.#asks()
  }

  /** Resolves when the store answers: true; false when the consumer ends before. */
  async passable(): Promise<boolean> {
    if (this.#ended) return false
    if (!this.#closed) return true
    return new Promise<boolean>((resolve) => this.#waiting.push(resolve))
  }

  /** Probes no more; whoever waits is let go. */
  end(): void {
    this.#ended = true
    this.#timer?.cancel()
    for (const resolve of this.#waiting.splice(0)) resolve(false)
  }

  #probeLater(): void {
    this.#timer = this.#options.clock.after(this.#pauseMs, () => void this.#probe())
  }

  #asks(): Promise<boolean> {
    return this.#options.probe().then(
      () => true,
      () => false,
    )
  }

  async #probe(): Promise<void> {
    const answers = await this.#asks()
    if (this.#ended) return
    if (!answers) {
      this.#pauseMs = Math.min(this.#pauseMs * 2, PROBE_MS_MAX)
      this.#probeLater()
      return
    }
    this.#closed = false
    this.#pauseMs = PROBE_MS
    this.#options.log.info({ consumer: this.#options.consumer }, 'the store answers again; consuming goes on')
    this.#options.opened()
    for (const resolve of this.#waiting.splice(0)) resolve(true)
  }
}

/** Whether an error says that the store cannot be reached: nothing is known of any message by it. */
export function storeIsDown(error: unknown): boolean {
  return error instanceof SdkError && error.code === 'store_down'
}

/** Whether it says only that a transaction's own connection is gone: the store may answer everybody else. */
export function connectionIsLost(error: unknown): boolean {
  return storeIsDown(error) && (error as SdkError).data['connection'] === 'lost'
}
