import type { Log } from '../../log.ts'
import type { Message } from '../../message/message.ts'
import { readMessage } from '../incoming.ts'
import type { ReplyPlace } from '../port.ts'
import type { WireForm } from '../../wire/wire-form.ts'
import { type AmqpConnection, onChannel } from './client.ts'
import { wiredOf } from './properties.ts'
import { declareReplies } from './topology.ts'

export interface ReplyQueueOptions {
  readonly name: string
  readonly form: WireForm
  readonly log: Log
  readonly receive: (message: Message) => void
  readonly connection: () => AmqpConnection | null
  readonly closed: (queue: ReplyQueue) => void
}

/** A process's queue for replies, read over any number of connections one after the other. */
export class ReplyQueue implements ReplyPlace {
  readonly #options: ReplyQueueOptions
  #closed = false

  constructor(options: ReplyQueueOptions) {
    this.#options = options
  }

  address(): string {
    return this.#options.name
  }

  async start(connection: AmqpConnection): Promise<void> {
    const { name, form, log, receive } = this.#options
    const channel = await connection.createChannel()
    channel.on('error', (err) => log.warn({ err, queue: name }, 'replies are not read any more'))
    await declareReplies(channel, name)
    const take = (raw: ReturnType<typeof wiredOf>): void => {
      const message = readMessage(raw, form)
      if (message === null) log.warn({ contentType: raw.contentType }, 'a reply is no message; it is dropped')
      else receive(message)
    }
    // Nobody would send a reply once more: there is nothing to acknowledge.
    await channel.consume(name, (message) => message !== null && !this.#closed && take(wiredOf(message)), {
      noAck: true,
    })
  }

  end(): Promise<void> {
    return this.close()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const { connection, name, closed } = this.#options
    closed(this)
    const current = connection()
    // Where that fails, it expires.
    if (current !== null) await onChannel(current, (channel) => channel.deleteQueue(name)).catch(() => {})
  }
}
