import type { Work } from './work.ts'

/** Outages in a row that begin while a message is being handled, after which it is taken for what began them. */
const LOSSES_MAX = 3

/** Messages that are remembered. */
const MESSAGES_MAX = 1000

/**
 * Messages during whose handlers the store went away. A statement that crashes the database looks like any other outage,
 * but one that comes back whenever that message does. In this process's memory only: another one finds it out, too.
 */
export class Losses {
  readonly #counts = new Map<string, number>()

  /** Whether any of them was in hand when the store went away: it had better be alone the next time. */
  suspects(works: readonly Work[]): boolean {
    return this.#counts.size > 0 && works.some(({ message }) => this.#counts.has(message.id))
  }

  /** Notes that the store went away. @returns whether it did so too often for the one that was alone in hand */
  note(works: readonly Work[]): boolean {
    for (const { message } of works) {
      const count = (this.#counts.get(message.id) ?? 0) + 1
      this.#counts.delete(message.id)
      this.#counts.set(message.id, count)
      if (works.length === 1 && count >= LOSSES_MAX) return true
    }
    for (const id of this.#counts.keys()) {
      if (this.#counts.size <= MESSAGES_MAX) break
      this.#counts.delete(id)
    }
    return false
  }

  /** They were handled, or their failure was counted. */
  forget(works: readonly Work[]): void {
    if (this.#counts.size > 0) for (const { message } of works) this.#counts.delete(message.id)
  }
}
