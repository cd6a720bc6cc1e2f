import type { SdkError } from '../../errors.ts'
import { overloaded, refused, tooLarge, transportDown, unroutable } from '../outgoing.ts'
import type { SendResult } from '../port.ts'
import { type AmqpConfirmChannel, type AmqpConnection, type AmqpMessage, replyCode } from './client.ts'
import type { Link } from './link.ts'
import type { Outgoing } from './properties.ts'

/** Messages that may wait for their confirms. Brokers answer for many at once, and memory is ours. */
const UNCONFIRMED_MAX = 4_096
/** Bytes of their bodies: a broker that has stopped answering is given no more. One message may go beyond. */
const UNCONFIRMED_BYTES_MAX = 64 * 1024 * 1024
/** Frames that the client library buffers before it asks to wait. */
const BUFFERED_FRAMES = 4_096

const NOT_FOUND = 404
const PRECONDITION_FAILED = 406

/** A channel with confirms, and what waits for them. */
class Session {
  /** Set when the broker closed it over one of its messages. */
  refusal: unknown = null
  over = false
  readonly channel: AmqpConfirmChannel
  /** How many of a message were given back and not confirmed yet. */
  readonly #returned = new Map<string, number>()
  readonly #waiting: (() => void)[] = []
  #unconfirmed = 0
  #unconfirmedBytes = 0
  #full = false

  constructor(channel: AmqpConfirmChannel) {
    this.channel = channel
    channel.on('error', (error) => (this.refusal = error))
    // Before the library tells those who wait for a confirm: they ask why.
    channel.prependListener('close', () => {
      this.over = true
      this.#goOn()
    })
    channel.on('drain', () => {
      this.#full = false
      this.#goOn()
    })
    channel.on('return', (message) => {
      const { fields, properties } = message as AmqpMessage
      const name = nameOf(fields.exchange, properties.messageId)
      this.#returned.set(name, (this.#returned.get(name) ?? 0) + 1)
    })
  }

  get takes(): boolean {
    if (this.over) return true
    return !this.#full && this.#unconfirmed < UNCONFIRMED_MAX && this.#unconfirmedBytes < UNCONFIRMED_BYTES_MAX
  }

  async untilTaken(): Promise<void> {
    while (!this.takes) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Calls `answered` once: with what became of the message, or null when the channel was lost over it or before. */
  put(item: Outgoing, answered: (result: SendResult | null) => void): void {
    if (this.over) return answered(null)
    const { exchange, routingKey, body, options } = item
    try {
      const room = this.channel.publish(exchange, routingKey, body, options, (error) => {
        this.#unconfirmed--
        this.#unconfirmedBytes -= body.byteLength
        answered(this.#resultOf(item, error))
        if (this.#waiting.length > 0 && this.takes) this.#goOn()
      })
      this.#unconfirmed++
      this.#unconfirmedBytes += body.byteLength
      if (!room) this.#full = true
    } catch (error) {
      // Something does not fit into its field; nothing of it was written.
      answered(refused(item.message, error))
    }
  }

  #resultOf(item: Outgoing, error: unknown): SendResult | null {
    if (this.over) return null
    if (error !== null && error !== undefined) return overloaded(item.message)
    if (this.#returned.size === 0) return 'sent'
    // The broker gives a message back before it confirms it.
    const name = nameOf(item.exchange, item.options.messageId)
    const count = this.#returned.get(name)
    if (count === undefined) return 'sent'
    if (count > 1) this.#returned.set(name, count - 1)
    else this.#returned.delete(name)
    return unroutable(item.message)
  }

  #goOn(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** Where it is seen whether the broker takes messages. */
export type Taking = Pick<Link, 'blocked' | 'onBlocked'>

/** A call of {@link Publisher.send}. */
interface Call {
  /** Nobody waits for it any more: what it has not put yet, it must not put. */
  over: boolean
}

/** The sending side of a connection: everything is confirmed, and much is under way at once. */
export class Publisher {
  readonly #taking: Taking
  #connection: AmqpConnection | null = null
  #session: Promise<Session> | null = null

  constructor(taking: Taking) {
    this.#taking = taking
  }

  async attach(connection: AmqpConnection): Promise<void> {
    this.#connection = connection
    this.#session = null
    await this.#current()
  }

  detach(): void {
    this.#connection = null
    this.#session = null
  }

  /**
   * Sends in order; resolves when the broker has answered for each.
   *
   * @throws {SdkError} `transport_down`, also when the broker takes no messages: whoever waited here would send once more
   * what others have sent meanwhile
   */
  async send(items: readonly Outgoing[]): Promise<SendResult[]> {
    if (this.#taking.blocked) throw takesNothing()
    const call: Call = { over: false }
    let block = (): void => {}
    const blocked = new Promise<never>((_, reject) => (block = () => reject(takesNothing())))
    const unwatch = this.#taking.onBlocked(block)
    try {
      return await Promise.race([this.#sendAll(items, call), blocked])
    } finally {
      call.over = true
      unwatch()
    }
  }

  async #sendAll(items: readonly Outgoing[], call: Call): Promise<SendResult[]> {
    const results: (SendResult | null)[] = items.map(() => null)
    const session = await this.#current()
    await this.#putAll(session, items, results, call)
    for (const [i, item] of items.entries()) results[i] ??= await this.#sendAlone(session, item, call)
    return results as SendResult[]
  }

  async #putAll(
    session: Session,
    items: readonly Outgoing[],
    results: (SendResult | null)[],
    call: Call,
  ): Promise<void> {
    let left = items.length
    let finish = (): void => {}
    const finished = new Promise<void>((resolve) => (finish = resolve))
    if (left === 0) finish()
    for (const [i, item] of items.entries()) {
      if (!session.takes) await session.untilTaken()
      if (call.over) throw takesNothing()
      session.put(item, (result) => {
        results[i] = result
        if (--left === 0) finish()
      })
    }
    await finished
  }

  /**
   * The broker closes the channel over one message that it does not like and says not which. Each of those that it had
   * not confirmed gets a channel of its own, so that only the one is refused. What it had stored without a confirm comes twice.
   */
  async #sendAlone(lost: Session, item: Outgoing, call: Call): Promise<SendResult> {
    if (lost.refusal === null || replyCode(lost.refusal) === NOT_FOUND) throw connectionLost(lost.refusal)
    const session = await this.#open()
    const results: (SendResult | null)[] = [null]
    await this.#putAll(session, [item], results, call)
    const [result] = results
    if (result !== null && result !== undefined) {
      await session.channel.close().catch(() => {})
      return result
    }
    if (session.refusal === null || replyCode(session.refusal) === NOT_FOUND) throw connectionLost(session.refusal)
    return refusalOf(item, session.refusal)
  }

  /** The channel that all share, and a new one when the broker has closed it. */
  async #current(): Promise<Session> {
    for (;;) {
      const opening = (this.#session ??= this.#open())
      try {
        const session = await opening
        if (!session.over) return session
      } catch (error) {
        if (this.#session === opening) this.#session = null
        throw error
      }
      if (this.#session === opening) this.#session = null
    }
  }

  async #open(): Promise<Session> {
    const connection = this.#connection
    if (connection === null) throw connectionLost()
    try {
      return new Session(await connection.createConfirmChannel({ highWaterMark: BUFFERED_FRAMES }))
    } catch (error) {
      throw connectionLost(error)
    }
  }
}

function refusalOf({ message, body }: Outgoing, refusal: unknown): SdkError {
  // The broker's own limit on the size is the only precondition that a message can fail.
  if (replyCode(refusal) === PRECONDITION_FAILED) return tooLarge(message, body.length, body.length - 1)
  return refused(message, refusal)
}

/** What a broker's alarm is for whoever wants to send. */
export function takesNothing(): SdkError {
  return transportDown('the broker is short of memory or disk and takes no messages for now')
}

function connectionLost(cause?: unknown): SdkError {
  return transportDown('the connection to the broker was lost', cause ?? undefined)
}

function nameOf(exchange: string, id: unknown): string {
  return `${exchange}\n${String(id)}`
}
