import { AsyncResource } from 'node:async_hooks'
import type { Activity } from './activity.ts'
import type { Clock, Timer } from '../time/clock.ts'
import type { Log } from '../log.ts'

export interface PumpOptions {
  /** For the log: `relay`, `timers`. */
  readonly name: string
  readonly clock: Clock
  readonly activity: Activity
  readonly log: Log
  /**
   * Looks for work and does some of it.
   *
   * @returns in how many ms to look again at the latest; 0 for at once, because there is more
   */
  readonly turn: () => Promise<number>
}

/** Pause after a turn that failed: doubled each time, up to the maximum. */
const FAILED_MS = 100
const FAILED_MS_MAX = 10_000

/** What tools that look at async contexts see. */
const CONTEXT = 'stathmos.sdk.pump'

/**
 * Does one kind of background work again and again, one turn at a time: when it is woken, and when it is time. A turn
 * that fails is logged and repeated later; it never ends the pump.
 *
 * Turns run in the async context in which it was started, whoever wakes it: what a request carries along, its user or its
 * trace, has no business in the work of others.
 */
export class Pump {
  readonly #options: PumpOptions
  #state: 'stopped' | 'resting' | 'turning' = 'stopped'
  #context = new AsyncResource(CONTEXT)
  #timer: Timer | null = null
  #woken = false
  #failures = 0
  #stopping: (() => void) | null = null

  constructor(options: PumpOptions) {
    this.#options = options
  }

  /** Begins with a turn at once. */
  start(): void {
    if (this.#state !== 'stopped') return
    this.#context = new AsyncResource(CONTEXT)
    this.#state = 'resting'
    this.wake()
  }

  /** Has the next turn begin at once, or right after the one that is under way. Costs next to nothing when repeated. */
  wake(): void {
    this.#woken = true
    if (this.#state === 'resting') this.#context.runInAsyncScope(() => void this.#turnAround())
  }

  /** Has a turn begin in `delayMs` at the latest. */
  wakeIn(delayMs: number): void {
    if (this.#state !== 'resting') return
    const earlier = this.#options.clock.after(delayMs, () => this.wake())
    const later = this.#timer
    this.#timer = {
      cancel() {
        earlier.cancel()
        later?.cancel()
      },
    }
  }

  /** Resolves when the turn that is under way is over; no other begins. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = null
    if (this.#state === 'turning') await new Promise<void>((resolve) => (this.#stopping = resolve))
    this.#state = 'stopped'
  }

  async #turnAround(): Promise<void> {
    this.#state = 'turning'
    this.#timer?.cancel()
    this.#timer = null
    const { activity, clock } = this.#options
    const end = activity.begin()
    let pauseMs = 0
    while (this.#stopping === null && (this.#woken || pauseMs === 0)) {
      this.#woken = false
      pauseMs = await this.#turn()
    }
    this.#state = 'resting'
    end()
    if (this.#stopping !== null) {
      this.#state = 'stopped'
      this.#stopping()
      this.#stopping = null
    } else if (Number.isFinite(pauseMs)) this.#timer = clock.after(pauseMs, () => this.wake())
  }

  async #turn(): Promise<number> {
    const { name, log, turn } = this.#options
    try {
      const pauseMs = await turn()
      this.#failures = 0
      return pauseMs
    } catch (error) {
      const pauseMs = Math.min(FAILED_MS * 2 ** this.#failures++, FAILED_MS_MAX)
      log.warn({ err: error, pump: name, againInMs: pauseMs }, 'background work failed; it is tried again')
      // Being woken does not shorten the pause: what failed would fail again.
      this.#woken = false
      return pauseMs
    }
  }
}
