import type { DeathReason } from '../message/death.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Shard } from '../shard.ts'
import type { Line } from './line.ts'

interface Burial {
  readonly line: Line
  readonly seq: number
  readonly position: number
  readonly reason: DeathReason
}

/**
 * Messages that a queue gave up and that go elsewhere, in the order in which it did: one whose body is on
 * disk only holds up those behind it, so that a long backlog is read once, block by block.
 */
export class Burials {
  readonly #shard: Shard
  readonly #bury: (message: MessageView, reason: DeathReason, settle: () => void) => void
  /** Everybody who waited is buried. */
  readonly #onIdle: () => void
  #waiting: Burial[] = []
  #next = 0
  #busy = false
  #closed = false

  constructor(
    shard: Shard,
    bury: (message: MessageView, reason: DeathReason, settle: () => void) => void,
    onIdle: () => void,
  ) {
    this.#shard = shard
    this.#bury = bury
    this.#onIdle = onIdle
  }

  /** Whether some wait for the disk. */
  get pending(): boolean {
    return this.#waiting.length > 0
  }

  /** Ends a taken entry: its dead letter and its settlement are in one frame, this one where the body is in memory. */
  add(line: Line, seq: number, position: number, reason: DeathReason): void {
    this.#waiting.push({ line, seq, position, reason })
    this.#work()
  }

  /** The queue is gone, with whatever still waits. */
  close(): void {
    this.#closed = true
    this.#waiting = []
    this.#next = 0
  }

  #work(): void {
    if (this.#busy) return
    this.#busy = true
    while (this.#next < this.#waiting.length) {
      const { line, seq, position, reason } = this.#waiting[this.#next]!
      const message = this.#shard.peek(position)
      if (message === null) return this.#resumeAfter(this.#shard.load(position))
      this.#next++
      this.#bury(message, reason, () => line.settle(seq))
    }
    this.#busy = false
    this.#waiting = []
    this.#next = 0
  }

  #resumeAfter(loaded: Promise<void>): void {
    loaded.then(
      () => {
        this.#busy = false
        this.#work()
        if (!this.pending && !this.#closed) this.#onIdle()
      },
      (error: unknown) => this.#shard.fail(error),
    )
  }
}
