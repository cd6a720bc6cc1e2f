import { AsyncResource } from 'node:async_hooks'
import type { OutboxDepth, Store } from '../store/port.ts'
import type { Clock } from '../time/clock.ts'

/** What the store said is good for whoever asks within this time. */
const SHARED_MS = 1_000
/** Counting takes as long as there is much to count; it may take one part of so many of the time. */
const SHARE = 20
/** What has not been looked at for so many pauses is not known any more. */
const KNOWN_PAUSES = 5

/**
 * Who publishes has a transaction, which libraries may keep in its async context: looks are no part of it. The name is for
 * tools that look at async contexts.
 */
const OUTSIDE = new AsyncResource('stathmos.sdk.depth')

/** How full the outbox is, asked of the store once for all who want to know: gauges, and the limit. */
export class DepthLook {
  readonly #store: Store<never>['outbox']
  readonly #clock: Clock
  #askedAt = Number.NEGATIVE_INFINITY
  #asking = false
  #answer: Promise<OutboxDepth> | null = null
  #latest: { readonly depth: OutboxDepth; readonly at: number } | null = null
  #pauseMs = SHARED_MS

  constructor(store: Store<never>['outbox'], clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Between two looks, in ms. */
  get pauseMs(): number {
    return this.#pauseMs
  }

  /** What the last look saw; null when there was none for a while. */
  get latest(): OutboxDepth | null {
    if (this.#latest === null) return null
    const { depth, at } = this.#latest
    return this.#clock.monotonic() - at < this.#pauseMs * KNOWN_PAUSES ? depth : null
  }

  /** Whether it is time for a look, and none is under way. */
  get due(): boolean {
    return !this.#asking && this.#clock.monotonic() - this.#askedAt >= this.#pauseMs
  }

  /** What the store says, or said just now. On a connection of its own. */
  read(): Promise<OutboxDepth> {
    if (this.#answer === null || this.due) {
      this.#askedAt = this.#clock.monotonic()
      this.#answer = OUTSIDE.runInAsyncScope(() => this.#ask())
    }
    return this.#answer
  }

  async #ask(): Promise<OutboxDepth> {
    this.#asking = true
    try {
      const depth = await this.#store.depth()
      const at = this.#clock.monotonic()
      this.#pauseMs = Math.max(SHARED_MS, (at - this.#askedAt) * SHARE)
      this.#latest = { depth, at }
      return depth
    } finally {
      this.#asking = false
    }
  }
}
