import type { Activity } from '../work/activity.ts'

/** The places in which handlers run: a bound on how many do at a time in this process. */
export class Slots {
  readonly #count: number
  readonly #activity: Activity
  readonly #freed: (next: 'stored' | 'delivered') => void
  readonly #idle: (() => void)[] = []
  #taken = 0
  /** Stored messages found no free place. */
  #storedWait = false

  /** @param freed is called when a place is free again, with whose turn it is */
  constructor(count: number, activity: Activity, freed: (next: 'stored' | 'delivered') => void) {
    this.#count = count
    this.#activity = activity
    this.#freed = freed
  }

  get free(): number {
    return this.#count - this.#taken
  }

  /** Runs `work` in so many places. It must not reject. */
  async during(places: number, work: () => Promise<void>): Promise<void> {
    this.#taken += places
    const end = this.#activity.begin()
    try {
      await work()
    } finally {
      this.#return(places)
      end()
    }
  }

  /** Takes half of the free places, at least one, until it is known what for; 0 when there is none. */
  reserve(): number {
    const places = Math.max(0, Math.ceil(this.free / 2))
    this.#storedWait = places === 0
    this.#taken += places
    return places
  }

  unreserve(places: number): void {
    this.#return(places)
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    while (this.#taken > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #return(places: number): void {
    this.#taken -= places
    const next = this.#storedWait ? 'stored' : 'delivered'
    this.#storedWait = false
    this.#freed(next)
    if (this.#taken === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }
}
