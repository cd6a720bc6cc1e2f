import type { DeathReason } from '../message/death.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Shard } from '../line/shard.ts'
import type { Line } from '../line/line.ts'
import type { FindBody } from './outcome.ts'

interface Burial {
  readonly line: Line
  readonly seq: number
  readonly position: number
  readonly reason: DeathReason
  /** Tells whoever waits for it that it is done; null: nobody can wait yet. */
  buried: (() => void) | null
}

/**
 * Messages that a queue gave up and that go elsewhere, in the order in which it did: one whose body is on
 * disk only holds up those behind it, so that a long backlog is read once, block by block. Those of a transaction
 * wait for none: all of it is in one frame.
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
  add(line: Line, seq: number, position: number, reason: DeathReason, find?: FindBody): void {
    const found = find?.(position) ?? null
    if (found !== null) return this.#bury(found, reason, () => line.settle(seq))
    const burial: Burial = { line, seq, position, reason, buried: null }
    this.#waiting.push(burial)
    this.#work()
    const asked = reason === 'rejected' || reason === 'delivery_limit'
    if (asked && this.pending) this.#shard.owe(new Promise<void>((resolve) => (burial.buried = resolve)))
  }

  /** The queue is gone, with whatever still waits. */
  close(): void {
    this.#closed = true
    for (const burial of this.#waiting) burial.buried?.()
    this.#waiting = []
    this.#next = 0
  }

  #work(): void {
    if (this.#busy) return
    this.#busy = true
    while (this.#next < this.#waiting.length) {
      const burial = this.#waiting[this.#next]!
      const { line, seq, position, reason } = burial
      const message = this.#shard.peek(position)
      if (message === null) return this.#resumeAfter(this.#shard.load(position))
      this.#next++
      this.#bury(message, reason, () => line.settle(seq))
      burial.buried?.()
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
