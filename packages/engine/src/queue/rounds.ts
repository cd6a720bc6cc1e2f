import type { Consumer } from './consumer.ts'

/**
 * Consumers that can take a message, in fair rounds, the highest priority first. Only those who can take
 * one are in here, so that a pick costs the same with one consumer or ten thousand.
 */
export class Rounds {
  readonly #levels: Level[] = []

  get empty(): boolean {
    return this.#levels.length === 0
  }

  add(consumer: Consumer): void {
    if (consumer.waiting) return
    consumer.waiting = true
    let at = 0
    const levels = this.#levels
    while (at < levels.length && levels[at]!.priority > consumer.priority) at++
    if (at === levels.length || levels[at]!.priority !== consumer.priority) {
      levels.splice(at, 0, new Level(consumer.priority))
    }
    levels[at]!.push(consumer)
  }

  /** The one whose turn it is; it stays where it is until {@link rotate} or {@link skip}. Null: nobody. */
  first(): Consumer | null {
    return this.#levels.length === 0 ? null : this.#levels[0]!.first()
  }

  /** The first one took a message and can take another: it goes to the end of its round. */
  rotate(): void {
    this.#levels[0]!.rotate()
  }

  /** The first one cannot take more: it leaves the rounds. */
  skip(): void {
    const level = this.#levels[0]!
    level.shift().waiting = false
    if (level.size === 0) this.#levels.shift()
  }

  remove(consumer: Consumer): void {
    if (!consumer.waiting) return
    consumer.waiting = false
    const at = this.#levels.findIndex((level) => level.priority === consumer.priority)
    const level = this.#levels[at]!
    level.remove(consumer)
    if (level.size === 0) this.#levels.splice(at, 1)
  }
}

/** A ring of consumers. */
class Level {
  readonly priority: number
  #items: (Consumer | undefined)[] = [undefined, undefined]
  #head = 0
  size = 0

  constructor(priority: number) {
    this.priority = priority
  }

  first(): Consumer {
    return this.#items[this.#head]!
  }

  push(consumer: Consumer): void {
    if (this.size === this.#items.length) this.#grow()
    this.#items[(this.#head + this.size) & (this.#items.length - 1)] = consumer
    this.size++
  }

  shift(): Consumer {
    const consumer = this.#items[this.#head]!
    this.#items[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#items.length - 1)
    this.size--
    return consumer
  }

  rotate(): void {
    if (this.size > 1) this.push(this.shift())
  }

  remove(consumer: Consumer): void {
    const kept: Consumer[] = []
    for (let i = 0; i < this.size; i++) {
      const item = this.#items[(this.#head + i) & (this.#items.length - 1)]!
      if (item !== consumer) kept.push(item)
    }
    this.#items.fill(undefined)
    for (const [i, item] of kept.entries()) this.#items[i] = item
    this.#head = 0
    this.size = kept.length
  }

  #grow(): void {
    const items: (Consumer | undefined)[] = Array.from({ length: this.#items.length * 2 })
    for (let i = 0; i < this.size; i++) items[i] = this.#items[(this.#head + i) & (this.#items.length - 1)]
    this.#items = items
    this.#head = 0
  }
}
