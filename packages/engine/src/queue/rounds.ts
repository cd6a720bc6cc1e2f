import type { Consumer } from './consumer.ts'

/**
 * Consumers that can take a message, in fair rounds, the highest priority first. Only those who can take
 * one are in here, so that a pick costs the same with one consumer or ten thousand.
 *
 * The consumers of one priority are a ring, linked by {@link Consumer.before} and {@link Consumer.behind}: one
 * that leaves, in its turn or out of it, costs the same as well.
 */
export class Rounds {
  /** Of each ring the one whose turn it is, the highest priority first. */
  readonly #firsts: Consumer[] = []

  get empty(): boolean {
    return this.#firsts.length === 0
  }

  add(consumer: Consumer): void {
    if (consumer.waiting) return
    consumer.waiting = true
    const at = this.#ringOf(consumer.priority)
    const first = this.#firsts[at]
    if (first === undefined || first.priority !== consumer.priority) {
      this.#firsts.splice(at, 0, consumer)
      return
    }
    // The last of a ring is before the first.
    const last = first.before
    last.behind = first.before = consumer
    consumer.before = last
    consumer.behind = first
  }

  /** The one whose turn it is; it stays where it is until {@link rotate} or {@link skip}. Null: nobody. */
  first(): Consumer | null {
    return this.#firsts.length === 0 ? null : this.#firsts[0]!
  }

  /** The first one took a message and can take another: it goes to the end of its round. */
  rotate(): void {
    this.#firsts[0] = this.#firsts[0]!.behind
  }

  /** The first one cannot take more: it leaves the rounds. */
  skip(): void {
    this.#leave(this.#firsts[0]!, 0)
  }

  remove(consumer: Consumer): void {
    if (consumer.waiting) this.#leave(consumer, this.#ringOf(consumer.priority))
  }

  #leave(consumer: Consumer, at: number): void {
    consumer.waiting = false
    const { before, behind } = consumer
    if (behind === consumer) {
      this.#firsts.splice(at, 1)
      return
    }
    before.behind = behind
    behind.before = before
    consumer.before = consumer.behind = consumer
    if (this.#firsts[at] === consumer) this.#firsts[at] = behind
  }

  /** Where the ring of a priority is among {@link #firsts}, or where it would go. */
  #ringOf(priority: number): number {
    const firsts = this.#firsts
    let at = 0
    while (at < firsts.length && firsts[at]!.priority > priority) at++
    return at
  }
}
