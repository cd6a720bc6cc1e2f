/** What of a service is under way, counted, so that somebody can wait until nothing is. */
export class Activity {
  #running = 0
  readonly #waiting: (() => void)[] = []

  get idle(): boolean {
    return this.#running === 0
  }

  /** Counts `work` from now until its promise is settled. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const end = this.begin()
    try {
      return await work()
    } finally {
      end()
    }
  }

  /** Counts from now until the returned function is called, once. */
  begin(): () => void {
    this.#running++
    let ended = false
    return () => {
      if (ended) return
      ended = true
      if (--this.#running > 0) return
      for (const resolve of this.#waiting.splice(0)) resolve()
    }
  }

  /** Resolves when nothing is under way; something new may begin right after. */
  async whenIdle(): Promise<void> {
    while (this.#running > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}
