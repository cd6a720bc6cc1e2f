import type { Clock, Timer } from '../time/clock.ts'
import type { Message } from '../message/message.ts'
import type { WireForm, Wired } from '../wire/wire-form.ts'
import type { Delivery } from './port.ts'

export type Outcome = 'accept' | 'release'

/** What is the same for all deliveries of a transport. */
export interface Reading {
  readonly form: WireForm
  readonly clock: Clock
}

/**
 * A delivery in a process's hands, whatever brought it. It is settled once: `settle` hears of the outcome at most one
 * time, and never after {@link revoke}.
 */
export class Incoming implements Delivery {
  readonly message: Message | null
  readonly raw: Wired
  readonly redelivered: boolean
  readonly #clock: Clock
  readonly #settle: (outcome: Outcome) => void
  readonly #releasing: () => void
  #over = false
  #delay: Timer | null = null

  /** @param releasing is called when it is released, before the delay */
  constructor(
    raw: Wired,
    redelivered: boolean,
    reading: Reading,
    settle: (outcome: Outcome) => void,
    releasing: () => void = () => {},
  ) {
    this.message = readMessage(raw, reading.form)
    this.raw = raw
    this.redelivered = redelivered
    this.#clock = reading.clock
    this.#settle = settle
    this.#releasing = releasing
  }

  accept(): void {
    this.#end('accept')
  }

  release(delayMs = 0): void {
    if (this.#over || this.#delay !== null) return
    this.#releasing()
    if (delayMs > 0) this.#delay = this.#clock.after(delayMs, () => this.#end('release', true))
    else this.#end('release')
  }

  /** The engine has taken it back, or will: whatever is said of it from now on has no effect. */
  revoke(): void {
    this.#over = true
    this.#delay?.cancel()
  }

  #end(outcome: Outcome, due = false): void {
    if (this.#over || (this.#delay !== null && !due)) return
    this.#over = true
    this.#settle(outcome)
  }
}

/** The message in the bytes; null when the form knows none in them. */
export function readMessage(raw: Wired, form: WireForm): Message | null {
  try {
    return form.decode(raw)
  } catch {
    // Whatever it is that the form stumbles over: somebody has to look at these bytes, and the consumer parks them.
    return null
  }
}
