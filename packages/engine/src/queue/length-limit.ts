import type { QueueSettings } from './settings.ts'

/** How many messages, and how many bytes of their bodies, may wait in a queue. */
export class LengthLimit {
  readonly #lengthMax: number
  readonly #bytesMax: number
  /** There is a limit at all. */
  readonly bounded: boolean
  /** The oldest messages make room; else new ones are refused. */
  readonly dropsHead: boolean

  constructor({ lengthMax, bytesMax, overflow }: QueueSettings) {
    this.#lengthMax = lengthMax ?? Number.POSITIVE_INFINITY
    this.#bytesMax = bytesMax ?? Number.POSITIVE_INFINITY
    this.bounded = lengthMax !== undefined || bytesMax !== undefined
    this.dropsHead = this.bounded && overflow === 'drop-head'
  }

  /**
   * Whether one more message of `size` bytes would be too many.
   * @param spared of the ready ones, those that do not count, because somebody waits for them: they will
   *   hardly ever be in the queue. Their bytes are not known, and so bytes do not count with them.
   */
  isReached(ready: number, readyBytes: number, spared: number, size: number): boolean {
    return ready - spared >= this.#lengthMax || (spared === 0 && readyBytes + size > this.#bytesMax)
  }

  /** Whether there is a message too many. */
  isExceeded(ready: number, readyBytes: number, spared: number): boolean {
    return ready - spared > this.#lengthMax || (spared === 0 && readyBytes > this.#bytesMax && ready > 0)
  }
}
