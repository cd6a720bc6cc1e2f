import type { RequestContract } from '../contract/request-contract.ts'
import type { Clock, Timer } from '../time/clock.ts'
import type { Answer } from './answer.ts'

/** What came of a request, or what its asker is to be thrown. */
export type Outcome = Answer | { readonly thrown: unknown }

/** A request from the call to its outcome. It is settled once; whatever comes later changes nothing. */
export class Waiting {
  readonly contract: RequestContract
  /** Whether the engine may have it: from the moment that it is handed over. */
  sent = false
  readonly outcome: Promise<Outcome>
  #settled = false
  readonly #settle: (outcome: Outcome) => void
  readonly #timer: Timer

  constructor(contract: RequestContract, clock: Clock, remainingMs: number, overdue: (waiting: Waiting) => Outcome) {
    this.contract = contract
    let resolve: (outcome: Outcome) => void = () => {}
    this.outcome = new Promise((settle) => (resolve = settle))
    this.#settle = resolve
    this.#timer = clock.after(remainingMs, () => this.settle(overdue(this)))
  }

  get settled(): boolean {
    return this.#settled
  }

  settle(outcome: Outcome): void {
    if (this.#settled) return
    this.#settled = true
    this.#timer.cancel()
    this.#settle(outcome)
  }
}

/** The requests that wait for replies, by request id: never more than the limit. */
export class Outstanding {
  readonly max: number
  readonly #requests = new Map<string, Waiting>()
  readonly #idle: (() => void)[] = []

  constructor(max: number) {
    this.max = max
  }

  get size(): number {
    return this.#requests.size
  }

  get full(): boolean {
    return this.#requests.size >= this.max
  }

  get(requestId: string): Waiting | undefined {
    return this.#requests.get(requestId)
  }

  /** Holds a place for the request until it is settled. */
  async during(requestId: string, waiting: Waiting): Promise<Outcome> {
    this.#requests.set(requestId, waiting)
    try {
      return await waiting.outcome
    } finally {
      this.#requests.delete(requestId)
      if (this.#requests.size === 0) for (const idle of this.#idle.splice(0)) idle()
    }
  }

  /** Resolves when none is out; a new one may follow right after. */
  async whenIdle(): Promise<void> {
    while (this.#requests.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }
}
