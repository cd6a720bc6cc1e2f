import type { Wired } from '../../wire/wire-form.ts'

/** A message in a queue. */
export interface Entry {
  /** Its place among all messages of the engine. */
  readonly place: number
  readonly raw: Wired
  readonly key: string | null
  redelivered: boolean
}

/** Messages of one partition that wait, first in, first out; what is given back returns to its own place. */
export class Lane {
  readonly #waiting: Entry[] = []

  get size(): number {
    return this.#waiting.length
  }

  add(entry: Entry): void {
    const waiting = this.#waiting
    let at = waiting.length
    while (at > 0 && waiting[at - 1]!.place > entry.place) at--
    waiting.splice(at, 0, entry)
  }

  /** Takes the next message; with `pick`, any that is the first of its key, by its number among them. */
  take(pick?: (count: number) => number): Entry | undefined {
    if (pick === undefined) return this.#waiting.shift()
    const seen = new Set<string>()
    const first = this.#waiting.filter(({ key }) => {
      if (key === null) return true
      if (seen.has(key)) return false
      seen.add(key)
      return true
    })
    if (first.length === 0) return undefined
    const chosen = first[pick(first.length) % first.length]!
    this.#waiting.splice(this.#waiting.indexOf(chosen), 1)
    return chosen
  }
}
