/** Right after somebody published in a transaction whose commit cannot be seen, in ms. */
const EAGER_MS = 1
/** While such a transaction may still be running; longer ones are found by the next ordinary look. */
const EAGER_MS_MAX = 32
/** Between looks that find what this process has published: messages of several transactions share a batch. */
const FOLLOWING_MS = 4
/** Between looks that find what others have published. */
const BUSY_MS = 50

/** How long to wait between two looks: shortest where something is expected, twice as long after each vain look. */
export class Polling {
  readonly #idleMs: number
  #pauseMs = BUSY_MS
  #expecting = false

  /** @param idleMs the longest pause */
  constructor(idleMs: number) {
    this.#idleMs = idleMs
  }

  /** Something is about to be committed. @returns in how many ms to look; null when that is about to happen anyway */
  expect(): number | null {
    this.#expecting = true
    // The pause under way is half of the next one: a short one is waited for, so that batches form under load.
    if (this.#pauseMs <= 2 * FOLLOWING_MS) return null
    this.#pauseMs = EAGER_MS
    return EAGER_MS
  }

  /** Another process has committed something, or is about to: a look that is too early is repeated soon. */
  told(): void {
    this.#expecting = true
    this.#pauseMs = Math.min(this.#pauseMs, EAGER_MS)
  }

  /** The last look found something. */
  found(): void {
    this.#pauseMs = Math.min(this.#expecting ? FOLLOWING_MS : BUSY_MS, this.#idleMs)
    this.#expecting = false
  }

  /** The last look found nothing. @returns in how many ms to look again */
  next(): number {
    const pauseMs = this.#pauseMs
    this.#pauseMs = Math.min(pauseMs * 2, this.#idleMs)
    if (pauseMs > EAGER_MS_MAX) this.#expecting = false
    return pauseMs
  }
}
