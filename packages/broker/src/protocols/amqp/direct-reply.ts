import type { Random } from '@stathmos/std'

import { REPLY_KEY_PREFIX, token } from './names.ts'

/** Whoever consumes its own direct replies. */
export interface ReplyConsumer {
  /**
   * A message whose address, properties and body lie in `bytes`, copied before the call returns. `false`: it is not
   * taken, because too many wait to be read.
   */
  reply(content: Content): boolean
}

/** A message on its way past the engine: ranges of one array. */
export interface Content {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly addressStart: number
  readonly addressEnd: number
  readonly propsStart: number
  readonly propsEnd: number
  readonly bodyStart: number
  readonly bodyEnd: number
}

/**
 * Direct replies: a requester consumes `amq.rabbitmq.reply-to`, its requests carry a name made up for
 * its channel, and what is published to that name through the default exchange goes straight to the
 * channel, without a queue. A reply to a channel that is gone is dropped, and so is
 * one to a client that does not read.
 */
export class DirectReplies {
  readonly #random: Random
  readonly #consumers = new Map<string, { vhost: string; consumer: ReplyConsumer }>()

  constructor(random: Random) {
    this.#random = random
  }

  /** @returns the name that requests carry, which nobody can guess */
  open(vhost: string, consumer: ReplyConsumer): string {
    const name = REPLY_KEY_PREFIX + token(this.#random)
    this.#consumers.set(name, { vhost, consumer })
    return name
  }

  close(name: string): void {
    this.#consumers.delete(name)
  }

  /** Who gets what is published to `name`, if it is still there. */
  find(vhost: string, name: string): ReplyConsumer | undefined {
    const found = this.#consumers.get(name)
    return found !== undefined && found.vhost === vhost ? found.consumer : undefined
  }
}
