import { nextTurn, type Clock } from '../time/clock.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import { VirtualTime } from './virtual-time.ts'

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

/** A virtual clock for tests: the same calls give the same times, however fast the machine is. */
export function manualClock(start?: number): ManualClock {
  const time = new VirtualTime(start)
  const fireAt = async (at: number): Promise<void> => {
    time.moveTo(at)
    time.fire()
    await settle()
  }
  return {
    ...time.clock(true),
    async advance(by) {
      const until = time.now + milliseconds(by)
      await settle()
      for (let at = time.nextAt; at !== null && at <= until; at = time.nextAt) await fireAt(at)
      time.moveTo(until)
    },
    async advanceToNext() {
      await settle()
      const at = time.nextAt
      if (at !== null) await fireAt(at)
      return at !== null
    },
    settle,
    get nextAt() {
      return time.nextAt
    },
  }
}

/** Turns of the event loop: work that is only promises is through after the first, the others are for what Node defers. */
const TURNS = 3

async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await nextTurn()
}
