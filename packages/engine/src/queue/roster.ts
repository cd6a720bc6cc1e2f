import type { Consumer } from './consumer.ts'
import { Rounds } from './rounds.ts'

/** The consumers of a queue, and whose turn it is. */
export class Roster {
  readonly consumers: Consumer[] = []
  /** There was one at some time. */
  everUsed = false
  readonly #rounds = new Rounds()
  /** Only one gets messages, until it leaves. */
  readonly #single: boolean
  #active: Consumer | null = null

  constructor(single: boolean) {
    this.#single = single
  }

  /** Somebody can take messages as soon as there are some. */
  get awaits(): boolean {
    return this.#single ? this.#active !== null && this.#active.ableToTake : !this.#rounds.empty
  }

  add(consumer: Consumer): void {
    this.consumers.push(consumer)
    this.everUsed = true
    this.#chooseActive()
  }

  remove(consumer: Consumer): void {
    this.#rounds.remove(consumer)
    const at = this.consumers.indexOf(consumer)
    if (at >= 0) this.consumers.splice(at, 1)
    if (this.#active === consumer) this.#active = null
    this.#chooseActive()
  }

  isActive(consumer: Consumer): boolean {
    return !this.#single || this.#active === consumer
  }

  /** A consumer can take messages (again). `false`: it is not its turn. */
  enlist(consumer: Consumer): boolean {
    if (this.#single) return consumer === this.#active
    this.#rounds.add(consumer)
    return true
  }

  /** Who gets the next message; null: nobody can take one. */
  next(): Consumer | null {
    if (this.#single) {
      const active = this.#active
      return active !== null && active.ableToTake ? active : null
    }
    for (;;) {
      const consumer = this.#rounds.first()
      if (consumer === null || consumer.ableToTake) return consumer
      this.#rounds.skip()
    }
  }

  /** The one that {@link next} named got its message. */
  served(consumer: Consumer): void {
    // Its receiver may have cancelled it, or made somebody with a higher priority able to take messages.
    if (this.#single || this.#rounds.first() !== consumer) return
    if (consumer.ableToTake) this.#rounds.rotate()
    else this.#rounds.skip()
  }

  #chooseActive(): void {
    if (!this.#single || this.#active !== null) return
    let best: Consumer | null = null
    for (const consumer of this.consumers) if (best === null || consumer.priority > best.priority) best = consumer
    this.#active = best
  }
}
