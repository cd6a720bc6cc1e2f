/** A timer that has not fired yet. */
export interface Timer {
  /** Forgets the timer; harmless when it has fired already. */
  cancel(): void
}

/** Where time comes from. Handed in everywhere, so that a simulation can own it. */
export interface Clock {
  /** Wall-clock time in ms since 1970-01-01 UTC. May jump when the operator sets the clock. */
  now(): number
  /** Time in ms that never goes back; its zero has no meaning. */
  monotonic(): number
  /** Calls `fire` once, `delayMs` from now at the earliest. */
  after(delayMs: number, fire: () => void): Timer
  /** Calls `run` once, when everything that is ready now (socket reads above all) has been handled. */
  soon(run: () => void): void
}

/** Longest delay that Node's timers take; a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** The clock of this machine. Timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, fire) {
    const timer = setTimeout(fire, Math.min(Math.max(delayMs, 0), TIMER_MS_MAX))
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  soon: (run) => void setImmediate(run),
}
