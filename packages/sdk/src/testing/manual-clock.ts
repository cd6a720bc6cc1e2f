import { nextTurn, type Clock, type Timer } from '../time/clock.ts'
import { milliseconds, type Duration } from '../time/duration.ts'

/** A clock that stands still until somebody moves it on. */
export interface ManualClock extends Clock {
  /**
   * Moves time on. Timers that become due fire in order, each at its own time and one at a time: what promises do because
   * of one is done before the next, and the timers that they set are fired as well when they are due by then.
   */
  advance(by: Duration): Promise<void>
  /** Moves time on to when the earliest timer fires, and fires it. @returns whether there was one */
  advanceToNext(): Promise<boolean>
  /** Lets promises do what they can without time going on. */
  settle(): Promise<void>
  /** When the earliest timer fires, in ms since 1970; null when there is none. */
  readonly nextAt: number | null
}

interface Waiting {
  readonly at: number
  readonly fire: () => void
}

/** Monday, 2 March 2026, noon UTC: a time like any other. */
const START = Date.UTC(2026, 2, 2, 12)

/** A virtual clock for tests: the same calls give the same times, however fast the machine is. */
export function manualClock(start: number = START): ManualClock {
  // In the order of setting, which among timers of one time is the order of firing.
  const waiting = new Set<Waiting>()
  let now = start

  const earliest = (): Waiting | null => {
    let first: Waiting | null = null
    for (const timer of waiting) if (first === null || timer.at < first.at) first = timer
    return first
  }
  const fire = async (timer: Waiting): Promise<void> => {
    waiting.delete(timer)
    now = Math.max(now, timer.at)
    timer.fire()
    await settle()
  }
  return {
    now: () => now,
    monotonic: () => now - start,
    after(delayMs, fired): Timer {
      const timer = { at: now + Math.max(delayMs, 0), fire: fired }
      waiting.add(timer)
      return { cancel: () => waiting.delete(timer) }
    },
    async advance(by) {
      const until = now + milliseconds(by)
      await settle()
      for (let timer = earliest(); timer !== null && timer.at <= until; timer = earliest()) await fire(timer)
      now = Math.max(now, until)
    },
    async advanceToNext() {
      await settle()
      const timer = earliest()
      if (timer !== null) await fire(timer)
      return timer !== null
    },
    settle,
    get nextAt() {
      return earliest()?.at ?? null
    },
  }
}

/** Turns of the event loop: work that is only promises is through after the first, the others are for what Node defers. */
const TURNS = 3

async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await nextTurn()
}
