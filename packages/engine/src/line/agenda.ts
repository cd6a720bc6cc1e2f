import { type Clock, Heap, type Timer } from '@stathmos/std'

/** Somebody who has something to do at a moment. */
export interface Appointment {
  /** When, ms since 1970; Infinity: nothing to do. */
  readonly dueAtMs: number
  /** Does what is due and leaves {@link dueAtMs} at the next moment, which the agenda looks up afterwards. */
  run(nowMs: number): void
}

/** One place in the heap; a later one for the same appointment makes it stale. */
interface Entry {
  readonly atMs: number
  /** Who asked first is served first. */
  readonly order: number
  readonly appointment: Appointment
}

/** Longest sleep: a wall clock that was set forward is noticed within this time. */
const SLEEP_MS_MAX = 60_000

/** So many stale entries are never worth clearing away. */
const STALE_MIN = 64

/**
 * One timer for everything that is to happen at a moment of the wall clock. Work per appointment that is
 * due, not per appointment that waits, nor per message: a queue or the schedule is one appointment,
 * whatever waits in it.
 */
export class Agenda {
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #heap = new Heap<Entry>(before)
  readonly #current = new Map<Appointment, Entry>()
  #order = 0
  #started = false
  #timer: Timer | null = null
  #timerAt = Number.POSITIVE_INFINITY

  constructor(clock: Clock, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#onError = onError
  }

  /** Appointments are kept from now on; until here they are only noted, as nobody can do anything yet. */
  start(): void {
    this.#started = true
    this.#armForFirst()
  }

  /** Notes an appointment, or that its moment has changed. */
  set(appointment: Appointment): void {
    const { dueAtMs } = appointment
    if (dueAtMs === Number.POSITIVE_INFINITY) {
      this.remove(appointment)
      return
    }
    if (this.#current.get(appointment)?.atMs === dueAtMs) return
    const entry = { atMs: dueAtMs, order: this.#order++, appointment }
    this.#current.set(appointment, entry)
    this.#heap.push(entry)
    this.#clearStale()
    if (dueAtMs < this.#timerAt) this.#arm(dueAtMs)
  }

  remove(appointment: Appointment): void {
    if (this.#current.delete(appointment)) this.#clearStale()
  }

  close(): void {
    this.#started = false
    this.#timer?.cancel()
    this.#current.clear()
    this.#clearStale()
  }

  #arm(atMs: number): void {
    if (!this.#started) return
    this.#timer?.cancel()
    this.#timerAt = atMs
    const delay = Math.min(Math.max(atMs - this.#clock.now(), 0), SLEEP_MS_MAX)
    this.#timer = this.#clock.after(delay, () => this.#run())
  }

  #armForFirst(): void {
    const first = this.#first()
    if (first !== undefined && first.atMs < this.#timerAt) this.#arm(first.atMs)
  }

  #run(): void {
    this.#timer = null
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = this.#clock.now()
    // Who is due again at once waits for the next turn, or nobody else would have one.
    const due: Entry[] = []
    for (let first = this.#first(); first !== undefined && first.atMs <= now; first = this.#first()) {
      due.push(first)
      this.#heap.pop()
    }
    for (const entry of due) {
      // One of the others may have moved it, or taken it off the agenda.
      if (!this.#stands(entry)) continue
      const { appointment } = entry
      this.#current.delete(appointment)
      try {
        appointment.run(now)
      } catch (error) {
        this.#onError(error)
        return
      }
      this.set(appointment)
    }
    this.#armForFirst()
  }

  /** The next entry that still stands. */
  #first(): Entry | undefined {
    for (;;) {
      const first = this.#heap.peek()
      if (first === undefined || this.#stands(first)) return first
      this.#heap.pop()
    }
  }

  #stands(entry: Entry): boolean {
    return this.#current.get(entry.appointment) === entry
  }

  #clearStale(): void {
    if (this.#heap.size > this.#current.size * 2 + STALE_MIN) this.#heap.keep((entry) => this.#stands(entry))
  }
}

function before(one: Entry, other: Entry): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)
}
