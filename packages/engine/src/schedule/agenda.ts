import type { Clock, Timer } from '@stathmos/std'

/** Somebody who has something to do at a moment. */
export interface Appointment {
  /** When, ms since 1970; Infinity: nothing to do. */
  readonly dueAtMs: number
  /** Does what is due and leaves {@link dueAtMs} at the next moment. */
  run(nowMs: number): void
}

/** Longest sleep: a wall clock that was set forward is noticed within this time. */
const SLEEP_MS_MAX = 60_000

/**
 * One timer for everything that is to happen at a moment of the wall clock. Work per appointment, not per
 * message: a queue or the schedule is one appointment, whatever waits in it.
 */
export class Agenda {
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #waiting = new Set<Appointment>()
  #timer: Timer | null = null
  #timerAt = Number.POSITIVE_INFINITY

  constructor(clock: Clock, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#onError = onError
  }

  /** Notes an appointment, or that its moment has changed. */
  set(appointment: Appointment): void {
    if (appointment.dueAtMs === Number.POSITIVE_INFINITY) {
      this.#waiting.delete(appointment)
      return
    }
    this.#waiting.add(appointment)
    if (appointment.dueAtMs < this.#timerAt) this.#arm(appointment.dueAtMs)
  }

  remove(appointment: Appointment): void {
    this.#waiting.delete(appointment)
  }

  close(): void {
    this.#timer?.cancel()
    this.#waiting.clear()
  }

  #arm(atMs: number): void {
    this.#timer?.cancel()
    this.#timerAt = atMs
    const delay = Math.min(Math.max(atMs - this.#clock.now(), 0), SLEEP_MS_MAX)
    this.#timer = this.#clock.after(delay, () => this.#run())
  }

  #run(): void {
    this.#timer = null
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = this.#clock.now()
    let next = Number.POSITIVE_INFINITY
    for (const appointment of this.#waiting) {
      if (appointment.dueAtMs <= now) {
        try {
          appointment.run(now)
        } catch (error) {
          this.#onError(error)
          return
        }
      }
      if (appointment.dueAtMs === Number.POSITIVE_INFINITY) this.#waiting.delete(appointment)
      else if (appointment.dueAtMs < next) next = appointment.dueAtMs
    }
    if (next < this.#timerAt) this.#arm(next)
  }
}
