import type { Clock } from '../time/clock.ts'
import type { Store } from '../store/port.ts'

/** Clocks drift apart by less than a millisecond in this time. */
const REFRESH_MS = 60_000

/**
 * The store's time, without asking for it each time: what was asked last, carried on by this machine's monotonic clock.
 * A wrong or jumping wall clock of one host moves nothing. Until it was asked first it is the machine's own time: whatever
 * is to be due, or over, by the store's clock is counted after a {@link refresh}.
 */
export class StoreTime<Tx = never> {
  readonly #store: Pick<Store<Tx>, 'now'>
  readonly #clock: Clock
  /** Store's time when the monotonic clock was at its zero. */
  #zero: number | null = null
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(store: Pick<Store<Tx>, 'now'>, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Milliseconds since 1970, whole. */
  now(): number {
    return Math.round(this.#zero === null ? this.#clock.now() : this.#clock.monotonic() + this.#zero)
  }

  /**
   * Asks the store, unless it was asked within the last minute.
   *
   * @param tx in which it is asked, for whoever holds one
   */
  async refresh(tx?: Tx): Promise<void> {
    const before = this.#clock.monotonic()
    if (before - this.#askedAt < REFRESH_MS) return
    const now = await this.#store.now(tx)
    const after = this.#clock.monotonic()
    this.#zero = now - (before + after) / 2
    this.#askedAt = after
  }
}
