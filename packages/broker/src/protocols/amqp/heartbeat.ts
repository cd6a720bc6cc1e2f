import type { Clock, Timer } from '@stathmos/std'

/** Silence of this many half intervals, which is two intervals, means that the peer is gone (AMQP 0-9-1 §4.2.7). */
const SILENT_TICKS_MAX = 4

export interface HeartbeatActions {
  /** Nothing was sent for half an interval. */
  beat(): void
  /** Nothing was heard for two intervals. */
  dead(): void
  /** Counts what was written. */
  readonly writes: number
  /** Nothing is read at present, so silence means nothing. */
  readonly deaf: boolean
}

/** Tells a peer that we live and notices that it does not. One timer for a connection, whatever its traffic. */
export class Heartbeat {
  /** Set at every chunk: any octets count. */
  heard = true
  readonly #clock: Clock
  readonly #actions: HeartbeatActions
  readonly #halfMs: number
  #timer: Timer | null
  #writes = 0
  #silentTicks = 0
  readonly #tick = (): void => this.#onTick()

  constructor(clock: Clock, seconds: number, actions: HeartbeatActions) {
    this.#clock = clock
    this.#actions = actions
    this.#halfMs = seconds * 500
    this.#timer = clock.after(this.#halfMs, this.#tick)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #onTick(): void {
    if (this.#timer === null) return
    this.#timer = this.#clock.after(this.#halfMs, this.#tick)
    const actions = this.#actions
    if (actions.writes === this.#writes) actions.beat()
    this.#writes = actions.writes
    if (this.heard || actions.deaf) {
      this.heard = false
      this.#silentTicks = 0
      return
    }
    this.#silentTicks++
    if (this.#silentTicks >= SILENT_TICKS_MAX) actions.dead()
  }
}
