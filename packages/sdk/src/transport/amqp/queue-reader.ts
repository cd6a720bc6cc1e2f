import type { Clock } from '../../time/clock.ts'
import type { Log } from '../../log.ts'
import { Incoming, type Reading } from '../incoming.ts'
import type { AmqpChannel, AmqpConnection, AmqpMessage } from './client.ts'
import { isRedelivered, wiredOf } from './properties.ts'

/** A message that the broker has handed out, from one channel. */
export interface Parcel {
  readonly incoming: Incoming
  /** Its consumer's handler has it; before that it waits for its turn. */
  inHands: boolean
}

export interface QueueReaderOptions {
  readonly queue: string
  readonly prefetch: number
  readonly ordered: boolean
  readonly reading: Reading & { readonly log: Log; readonly clock: Clock }
  /** A parcel has come and waits to be taken. */
  arrived(parcel: Parcel): void
  /** A parcel is settled, or was taken back by the broker. */
  readonly gone: (parcel: Parcel) => void
  /** Of an ordered consumer: a parcel is on its way back. Nothing that comes after it may be handed on before it. */
  readonly releasing: (reader: QueueReader) => void
  /** The broker closed the channel, or ended the consumer; the connection may be there still. */
  ended(reader: QueueReader): void
}

/** What exists while the queue is read over one channel. */
interface Session {
  readonly channel: AmqpChannel
  readonly parcels: Set<Parcel>
  tag: string
  over: boolean
  /** It has been handed something: of single active consumers it is the one. */
  served: boolean
  /** What comes now goes back at once. */
  cancelled: boolean
  /** Nothing more may be handed on; called when the last that is in hands is settled. */
  leaving: (() => void) | null
}

/**
 * Reads one queue over a channel of its own. Closing the channel gives back everything at once, in its place and before
 * the next consumer's turn: a cancelled consumer would first let others overtake what it holds.
 */
export class QueueReader {
  readonly queue: string
  readonly #options: QueueReaderOptions
  #session: Session | null = null

  constructor(options: QueueReaderOptions) {
    this.queue = options.queue
    this.#options = options
  }

  get reading(): boolean {
    return this.#session !== null
  }

  get served(): boolean {
    return this.#session?.served ?? false
  }

  /** Whether it gives its queue up at present. */
  get leaving(): boolean {
    return this.#session !== null && this.#session.leaving !== null
  }

  async start(connection: AmqpConnection): Promise<void> {
    const channel = await connection.createChannel()
    const session: Session = {
      channel,
      parcels: new Set(),
      tag: '',
      over: false,
      served: false,
      cancelled: false,
      leaving: null,
    }
    this.#session = session
    channel.on('error', (err) => {
      this.#options.reading.log.warn({ err, queue: this.queue }, 'the broker closed the channel of a consumer')
    })
    channel.on('close', () => this.#over(session))
    await channel.prefetch(this.#options.prefetch)
    const receive = (message: AmqpMessage | null): void => {
      if (message !== null) this.#arrive(session, message)
      // The queue was deleted, or its node is gone.
      else {
        this.#over(session)
        void channel.close().catch(() => {})
      }
    }
    session.tag = (await channel.consume(this.queue, receive, { noAck: false })).consumerTag
  }

  /** Takes nothing more and leaves what waits to others at once; what is in hands can be settled still. */
  async cancel(): Promise<void> {
    const session = this.#session
    if (session === null || session.over) return
    session.cancelled = true
    await session.channel.cancel(session.tag).catch(() => {})
    for (const parcel of [...session.parcels]) if (!parcel.inHands) parcel.incoming.release()
    session.leaving = () => {
      session.leaving = () => {}
      void session.channel.close().catch(() => {})
    }
    this.#leaveWhenDone(session)
  }

  /** The connection is gone. */
  drop(): void {
    if (this.#session !== null) this.#over(this.#session)
  }

  /** Ends at once; resolves when the broker knows, and has every settlement. What is unsettled goes back. */
  async end(): Promise<void> {
    const session = this.#session
    this.drop()
    // The client library would let the goodbye of the connection overtake what the channel has still to write.
    await session?.channel.close().catch(() => {})
  }

  /** Resolves when what is in hands is settled, and the queue is the next consumer's, with all that waited. */
  async leave(): Promise<void> {
    const session = this.#session
    if (session === null || session.over || session.leaving !== null) return
    for (const parcel of session.parcels) {
      if (parcel.inHands) continue
      session.parcels.delete(parcel)
      parcel.incoming.revoke()
      this.#options.gone(parcel)
    }
    const done = new Promise<void>((resolve) => (session.leaving = resolve))
    this.#leaveWhenDone(session)
    await done
    this.#over(session)
    await session.channel.close().catch(() => {})
  }

  #arrive(session: Session, message: AmqpMessage): void {
    if (session.over) return
    session.served = true
    if (session.cancelled) return session.channel.nack(message, false, true)
    // What comes while the queue is given up goes with its channel.
    if (session.leaving !== null) return
    const { ordered, reading, gone, releasing } = this.#options
    const settle = (outcome: 'accept' | 'release'): void => {
      if (outcome === 'accept') session.channel.ack(message)
      // Given back alone it would come after all that the broker has handed out already.
      else if (!ordered) session.channel.nack(message, false, true)
      session.parcels.delete(parcel)
      gone(parcel)
      this.#leaveWhenDone(session)
    }
    const incoming = new Incoming(wiredOf(message), isRedelivered(message), reading, settle, () => {
      if (ordered) releasing(this)
    })
    const parcel: Parcel = { incoming, inHands: false }
    session.parcels.add(parcel)
    this.#options.arrived(parcel)
  }

  #leaveWhenDone(session: Session): void {
    if (session.leaving === null) return
    for (const { inHands } of session.parcels) if (inHands) return
    session.leaving()
  }

  #over(session: Session): void {
    if (session.over) return
    session.over = true
    for (const parcel of session.parcels) {
      parcel.incoming.revoke()
      this.#options.gone(parcel)
    }
    session.parcels.clear()
    const left = session.leaving
    left?.()
    if (this.#session === session) this.#session = null
    if (left === null) this.#options.ended(this)
  }
}
