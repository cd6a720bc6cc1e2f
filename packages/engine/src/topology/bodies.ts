import type { Shard } from '../line/shard.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Outcomes } from '../queue/outcome.ts'

/** The end of a delivery that may make a dead letter of its message. */
export interface Ending {
  readonly queue: Outcomes
  readonly ticket: number
  /** A release as a failed attempt; else a rejection. */
  readonly failed: boolean
}

/** The messages of which a commit makes dead letters, all in memory at one moment. */
export class Bodies {
  readonly #shard: Shard
  readonly #endings: readonly Ending[]
  readonly #copies = new Map<number, MessageView>()

  constructor(shard: Shard, endings: readonly Ending[]) {
    this.#shard = shard
    this.#endings = endings
  }

  /** Whether {@link find} has them all. It stays true until the end of the turn. */
  get complete(): boolean {
    return this.#endings.every((ending) => {
      const position = positionOf(ending)
      return position === null || this.find(position) !== null
    })
  }

  /** The message at `position`; valid until the next call. */
  find(position: number): MessageView | null {
    return this.#copies.get(position) ?? this.#shard.peek(position)
  }

  /**
   * Copies them, so that none leaves memory while another one is read, in the order in which they are on disk. Stops as
   * soon as they are no longer `wanted`. Rejects when one cannot be read: the engine has failed then.
   */
  async bringIn(wanted: () => boolean): Promise<void> {
    const inOrder = this.#endings
      .map((ending) => ({ ending, position: positionOf(ending) ?? -1 }))
      .sort((one, other) => one.position - other.position)
    for (const { ending } of inOrder) {
      while (wanted()) {
        // Asked again after every read: what was in a queue that is gone may have left the disk with it.
        const position = positionOf(ending)
        if (position === null || this.#copies.has(position)) break
        const message = this.#shard.peek(position)
        if (message === null) await this.#shard.load(position)
        else this.#copies.set(position, message.copy())
      }
    }
  }
}

function positionOf({ queue, ticket, failed }: Ending): number | null {
  return queue.doomed(ticket, failed)?.position ?? null
}
