import type { Clock, Timer } from '../time/clock.ts'

/** Lets messages wait until a batch is full or the first of them has waited long enough. One timer in all. */
export class BatchWait {
  readonly #size: number
  readonly #waitMs: number
  readonly #clock: Clock
  readonly #over: () => void
  #timer: Timer | null = null
  #isOver = false

  constructor(size: number, waitMs: number, clock: Clock, over: () => void) {
    this.#size = size
    this.#waitMs = waitMs
    this.#clock = clock
    this.#over = over
  }

  /** Whether so many are better kept until there are more. What is let go ends the wait; the next one begins anew. */
  mustWait(readyCount: number): boolean {
    if (readyCount >= this.#size || this.#isOver || this.#waitMs === 0) {
      this.end()
      return false
    }
    this.#timer ??= this.#clock.after(this.#waitMs, () => {
      this.#timer = null
      this.#isOver = true
      this.#over()
    })
    return true
  }

  end(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#isOver = false
  }
}
