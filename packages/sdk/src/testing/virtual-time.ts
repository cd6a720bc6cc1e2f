import type { Clock, Timer } from '../time/clock.ts'

interface Waiting {
  readonly at: number
  readonly fire: () => void
  /** Whether it has to fire at its very time. */
  readonly exact: boolean
}

/** Monday, 2 March 2026, noon UTC: a time like any other. */
const START = Date.UTC(2026, 2, 2, 12)

/**
 * Time that somebody else moves on, one timer after the other. Any number of processes have clocks that show it. Their
 * timers are mostly looks whether there is something to do; where there is nothing, {@link moveTo} may pass them by, and
 * they fire late, as those of a machine that slept.
 */
export class VirtualTime {
  readonly start: number
  /** In the order of setting, which among timers of one time is the order of firing. */
  readonly #waiting = new Set<Waiting>()
  #now: number

  constructor(start: number = START) {
    this.start = start
    this.#now = start
  }

  get now(): number {
    return this.#now
  }

  /** When the earliest timer fires, in ms since 1970; null when there is none. */
  get nextAt(): number | null {
    return this.#earliest(false)?.at ?? null
  }

  /** The same of timers that nobody may pass by. */
  get nextExactAt(): number | null {
    return this.#earliest(true)?.at ?? null
  }

  /** @param exact whether its timers have to fire at their very times @param alive asked before one of its timers fires */
  clock(exact: boolean, alive: () => boolean = () => true): Clock {
    return {
      now: () => this.#now,
      monotonic: () => this.#now - this.start,
      after: (delayMs, fire): Timer => {
        const timer = { at: this.#now + Math.max(delayMs, 0), exact, fire: () => (alive() ? fire() : undefined) }
        this.#waiting.add(timer)
        return { cancel: () => this.#waiting.delete(timer) }
      },
    }
  }

  /** Time never goes back: an earlier time changes nothing. */
  moveTo(at: number): void {
    this.#now = Math.max(this.#now, at)
  }

  /** Fires the earliest of the timers that are due. @returns whether there was one */
  fire(): boolean {
    const timer = this.#earliest(false)
    if (timer === null || timer.at > this.#now) return false
    this.#waiting.delete(timer)
    timer.fire()
    return true
  }

  #earliest(onlyExact: boolean): Waiting | null {
    let first: Waiting | null = null
    for (const timer of this.#waiting)
      if ((timer.exact || !onlyExact) && (first === null || timer.at < first.at)) first = timer
    return first
  }
}
