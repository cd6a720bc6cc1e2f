import { SdkError } from '../errors.ts'
import type { Delivery } from '../transport/port.ts'
import type { Work } from './work.ts'

/** Pause after which a delivery that the store did not keep is tried again: doubled each time, up to the maximum. */
export const UNKEPT_MS = 1000
export const UNKEPT_MS_MAX = 300_000

/** A delivery as it is to be tried again, and when. */
export interface Unkept {
  readonly work: Work
  readonly pauseMs: number
}

/**
 * Deliveries that the store would not keep, although it answers: it takes no message of that size, or another transaction
 * was in the way. The engine has them until they are settled, so they stay in hand, unsettled, and so does what comes after
 * them in their keys: given back it would be delivered at once, and past them.
 */
export class UnkeptWorks {
  readonly #held = new Map<Delivery, Unkept>()
  readonly #keys = new Set<string>()

  /** @param failed whether it was the handler that failed: an attempt that only this process counts */
  add(work: Work, error: unknown, pauseMs: number, failed: boolean): void {
    const unstorable = error instanceof SdkError && error.code === 'too_large'
    const attempt = failed ? work.attempt + 1 : work.attempt
    this.#hold({ ...work, attempt, unstorable, unkeptCount: work.unkeptCount + 1 }, pauseMs)
  }

  /** Whether an earlier delivery of its key is in hand; then this one is, too, and is not to be touched. */
  holdsBack(work: Work): boolean {
    if (this.#keys.size === 0 || work.key === null || !this.#keys.has(work.key)) return false
    this.#hold(work, 0)
    return true
  }

  /** Those of these works that are in hand; they have to be tried again by whoever asks. */
  take(works: readonly Work[]): ReadonlyMap<Work, Unkept> {
    const taken = new Map<Work, Unkept>()
    if (this.#held.size === 0) return taken
    for (const work of works) {
      const held = work.delivery === null ? undefined : this.#held.get(work.delivery)
      if (held === undefined) continue
      taken.set(work, held)
      this.#held.delete(work.delivery!)
      if (work.key !== null) this.#keys.delete(work.key)
    }
    return taken
  }

  #hold(work: Work, pauseMs: number): void {
    if (work.delivery !== null) this.#held.set(work.delivery, { work, pauseMs })
    if (work.key !== null) this.#keys.add(work.key)
  }
}

/** For how long it stays in hand this time. */
export function unkeptPauseMs({ unkeptCount }: Work): number {
  return Math.min(UNKEPT_MS * 2 ** unkeptCount, UNKEPT_MS_MAX)
}
