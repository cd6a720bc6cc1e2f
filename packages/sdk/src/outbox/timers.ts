import type { Surroundings } from '../surroundings.ts'
import type { StoreTime } from './store-time.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { Pump } from '../work/pump.ts'

/** Timers that are fired in one transaction. */
const FIRE_MAX = 500
/** Bytes of their bodies together: they are in memory twice, and the transaction holds their keys. */
const FIRE_BYTES_MAX = 4 * 1024 * 1024
/** The longest pause while what is due cannot be fired, because an application's transaction holds it. */
const HELD_MS_MAX = 100

/** Moves messages whose time has come into the outbox. Any number of processes do it at once. */
export class Timers<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #time: StoreTime
  readonly #pollMs: number
  readonly #fired: () => void
  readonly #pump: Pump
  /** What the pump sleeps until, in the store's time. */
  #awakeAt = Number.POSITIVE_INFINITY
  /** Turns in a row that found something due and could fire none of it. */
  #heldTurns = 0
  /** The earliest timer that was announced and may not be committed yet. */
  #expectedAt = Number.POSITIVE_INFINITY

  /**
   * @param pollMs the longest sleep: other processes set timers without telling
   * @param fired is called after messages came into the outbox
   */
  constructor(surroundings: Surroundings<Tx>, time: StoreTime, pollMs: number, fired: () => void) {
    const { clock, activity, log } = surroundings
    this.#surroundings = surroundings
    this.#time = time
    this.#pollMs = pollMs
    this.#fired = fired
    this.#pump = new Pump({ name: 'timers', clock, activity, log, turn: () => this.#turn() })
  }

  start(): void {
    this.#pump.start()
  }

  async stop(): Promise<void> {
    await this.#pump.stop()
  }

  /** A timer is set, or will be when its transaction commits. */
  expect(dueAt: number): void {
    this.#expectedAt = Math.min(this.#expectedAt, dueAt)
    if (dueAt >= this.#awakeAt) return
    this.#awakeAt = dueAt
    this.#pump.wakeIn(Math.max(dueAt - this.#time.now(), 0))
  }

  /** Fires all that is due, without having been started. @returns how many */
  async drain(): Promise<number> {
    let count = 0
    for (;;) {
      const fired = await this.#fire()
      if (fired === 0) return count
      count += fired
    }
  }

  async #turn(): Promise<number> {
    const { store } = this.#surroundings
    this.#awakeAt = Number.NEGATIVE_INFINITY
    await this.#time.refresh()
    const dueAt = await store.timers.nextDue()
    const isDue = dueAt !== null && dueAt <= this.#time.now()
    if (isDue && (await this.#fire()) > 0) {
      this.#heldTurns = 0
      return 0
    }
    // The store's clock may be a little behind what we think it is, or somebody is about to cancel what is due, or holds its
    // key: then nothing was fired, and we look again.
    this.#heldTurns = isDue ? this.#heldTurns + 1 : 0
    const now = this.#time.now()
    if (this.#expectedAt <= now) this.#expectedAt = Number.POSITIVE_INFINITY
    const heldMs = Math.min(2 ** (this.#heldTurns - 1), HELD_MS_MAX)
    const dueMs = isDue ? heldMs : (dueAt ?? Number.POSITIVE_INFINITY) - now
    const sleepMs = Math.min(Math.max(Math.min(dueMs, this.#expectedAt - now), 1), this.#pollMs)
    this.#awakeAt = now + sleepMs
    return sleepMs
  }

  async #fire(): Promise<number> {
    const { store, telemetry } = this.#surroundings
    const fired = await store.timers.fire(FIRE_MAX, FIRE_BYTES_MAX)
    if (fired === 0) return 0
    telemetry.count(METRIC.timersFired, fired, {})
    this.#fired()
    return fired
  }
}
