/** A timer that has not fired yet. */
export interface Timer {
  /** Forgets the timer; harmless when it has fired already. */
  cancel(): void
}

/**
 * Where a process's own time comes from: pauses between two looks at the store, and the time limits of one attempt.
 * What is due when is never decided by it but by the store's clock, which all processes share.
 */
export interface Clock {
  /** Wall-clock time in ms since 1970-01-01 UTC. */
  now(): number
  /** Time in ms that never goes back; its zero has no meaning. */
  monotonic(): number
  /** Calls `fire` once, `delayMs` from now at the earliest. The process stays alive for it: a service runs until it is stopped. */
  after(delayMs: number, fire: () => void): Timer
}

/** Longest delay that Node's timers take; a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, fire) {
    const timer = setTimeout(fire, Math.min(Math.max(delayMs, 0), TIMER_MS_MAX))
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Resolves in the next turn of the event loop: what is only promises by then has gone as far as it can. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
