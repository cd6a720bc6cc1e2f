import type { StoreTime } from '../outbox/store-time.ts'
import type { RateStore } from '../store/port.ts'

export interface RateLimitOptions {
  readonly rates: RateStore
  readonly time: Pick<StoreTime, 'now' | 'refresh'>
  readonly limit: number
  readonly perMs: number
}

/** Share of the limit that is fetched at once: what one process may hold while others wait. */
const CHUNK_SHARE = 10

/** Names that are remembered; beyond it those without tokens and without anybody waiting are forgotten. */
const NAMES_MAX = 10_000

interface Allotment {
  tokens: number
  /** When the tokens are given up: they were for now. */
  until: number
  /** The last turn that was promised to somebody who waits. */
  promisedAt: number
  asking: Promise<void> | null
  refilledAt: number
}

/**
 * A limit per time that all processes share through the store. Tokens are fetched in chunks, so that it costs a round
 * trip for some messages and not for each. Who comes too early is told a turn of its own, and not the same as everybody.
 */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #chunk: number
  readonly #intervalMs: number
  readonly #allotments = new Map<string, Allotment>()

  constructor(options: RateLimitOptions) {
    this.#options = options
    this.#chunk = Math.max(1, Math.floor(options.limit / CHUNK_SHARE))
    this.#intervalMs = options.perMs / options.limit
  }

  /**
   * Takes one token.
   *
   * @param hadTurn whether it waited for a turn that has come now: it does not queue up again behind others
   * @returns null when it was granted; otherwise when to come again, in ms since 1970 by the store's clock
   * @throws {SdkError} `store_down`
   */
  async take(name: string, hadTurn: boolean): Promise<number | null> {
    const allotment = this.#of(name)
    for (;;) {
      const now = this.#options.time.now()
      // Others wait already: whatever is there, taking it would be pushing in.
      if (!hadTurn && allotment.promisedAt > now) return this.#promise(allotment, now)
      if (allotment.tokens > 0 && now < allotment.until) {
        allotment.tokens--
        return null
      }
      if (allotment.asking !== null) {
        await allotment.asking
        continue
      }
      if (allotment.refilledAt > now) return this.#promise(allotment, allotment.refilledAt)
      allotment.asking = this.#ask(name, allotment)
      await allotment.asking
    }
  }

  async #ask(name: string, allotment: Allotment): Promise<void> {
    const { rates, time, limit, perMs } = this.#options
    try {
      await time.refresh()
      const { granted, nextAt } = await rates.take(name, limit, perMs, this.#chunk)
      const now = time.now()
      allotment.tokens = granted
      allotment.until = now + perMs
      // At least a moment later, so that nobody who asks again asks the store again at once.
      allotment.refilledAt = granted > 0 ? 0 : Math.max(Math.ceil(nextAt), now + 1)
    } finally {
      allotment.asking = null
    }
  }

  #promise(allotment: Allotment, earliest: number): number {
    allotment.promisedAt = Math.max(earliest, allotment.promisedAt + this.#intervalMs)
    return Math.ceil(allotment.promisedAt)
  }

  #of(name: string): Allotment {
    let allotment = this.#allotments.get(name)
    if (allotment !== undefined) return allotment
    if (this.#allotments.size >= NAMES_MAX) this.#forget()
    allotment = { tokens: 0, until: 0, promisedAt: 0, asking: null, refilledAt: 0 }
    this.#allotments.set(name, allotment)
    return allotment
  }

  #forget(): void {
    const now = this.#options.time.now()
    for (const [name, { until, promisedAt, asking }] of this.#allotments)
      if (until <= now && promisedAt <= now && asking === null) this.#allotments.delete(name)
  }
}
