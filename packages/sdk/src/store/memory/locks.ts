import { SdkError } from '../../errors.ts'

/** Whoever holds locks: a transaction. */
type Holder = object

interface Waiter {
  readonly holder: Holder
  readonly grant: () => void
}

interface Held {
  holder: Holder
  waiting: readonly Waiter[]
}

/**
 * Locks with names, each held by one holder until it lets all of its locks go. Who comes first is served first. Who would
 * close a circle of waiting ones is refused.
 */
export class Locks {
  readonly #held = new Map<string, Held>()
  readonly #waitsFor = new Map<Holder, Set<string>>()

  /** Whether somebody else has it now. */
  taken(holder: Holder, name: string): boolean {
    const held = this.#held.get(name)
    return held !== undefined && held.holder !== holder
  }

  /** Takes a lock at once, or says that somebody else has it. */
  tryTake(holder: Holder, name: string): boolean {
    const held = this.#held.get(name)
    if (held === undefined) this.#held.set(name, { holder, waiting: [] })
    return held === undefined || held.holder === holder
  }

  /**
   * Resolves when the holder has the lock, or has let all of its locks go.
   *
   * @throws {SdkError} `conflict`, retryable, when its holder waits for the caller already
   */
  async take(holder: Holder, name: string): Promise<void> {
    if (this.tryTake(holder, name)) return
    const held = this.#held.get(name)!
    if (this.#waitsOn(held.holder, holder))
      throw new SdkError('conflict', `two transactions wait for each other at ${name}; run the transaction again`, {
        retryable: true,
      })
    const names = this.#waitsFor.get(holder) ?? new Set()
    this.#waitsFor.set(holder, names.add(name))
    await new Promise<void>((grant) => (held.waiting = [...held.waiting, { holder, grant }]))
  }

  /** Lets all locks of the holder go, to those who wait for them. What it waits for itself, it does not get any more. */
  release(holder: Holder): void {
    for (const [name, held] of this.#held) {
      this.#grant(held, name, holder)
      if (held.holder !== holder) continue
      const next = held.waiting[0]
      if (next === undefined) this.#held.delete(name)
      else {
        held.holder = next.holder
        this.#grant(held, name, next.holder)
      }
    }
    this.#waitsFor.delete(holder)
  }

  /** Ends the waiting of a holder at a lock, wherever it waits several times. */
  #grant(held: Held, name: string, holder: Holder): void {
    this.#waitsFor.get(holder)?.delete(name)
    const granted = held.waiting.filter((waiter) => waiter.holder === holder)
    held.waiting = held.waiting.filter((waiter) => waiter.holder !== holder)
    for (const { grant } of granted) grant()
  }

  #waitsOn(from: Holder, to: Holder): boolean {
    for (const name of this.#waitsFor.get(from) ?? []) {
      const holder = this.#held.get(name)?.holder
      if (holder === to || (holder !== undefined && this.#waitsOn(holder, to))) return true
    }
    return false
  }
}
