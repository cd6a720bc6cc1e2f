import type { Clock, Timer } from '../../time/clock.ts'
import type { Log } from '../../log.ts'
import type { Random } from '../../random.ts'
import { queuesOf } from '../consumer-queues.ts'
import type { Reading } from '../incoming.ts'
import type { ConsumerTopology, Delivery, Subscription } from '../port.ts'
import { type AmqpConnection, onChannel } from './client.ts'
import { type Parcel, QueueReader } from './queue-reader.ts'
import { partitionsToLeave } from './sharing.ts'
import { declareConsumer, type QueueArguments } from './topology.ts'

export interface AmqpSubscriptionOptions {
  readonly consumer: ConsumerTopology
  readonly prefetch: number
  readonly queueArguments: QueueArguments
  readonly reading: Reading & { readonly log: Log; readonly clock: Clock; readonly random: Random }
  readonly receive: (delivery: Delivery) => void
  /** The connection to read over; null while there is none. */
  readonly connection: () => AmqpConnection | null
}

/** A queue that the broker no longer lets us read is tried again after this. */
const RESTART_MS = 1_000
/** How often an ordered consumer looks whether others wait for their share, in ms; up to as much again is chance. */
const SHARE_MS = 5_000

/** A consumer's queues, read over any number of connections one after the other; a gate keeps to the prefetch. */
export class AmqpSubscription implements Subscription {
  readonly #options: AmqpSubscriptionOptions
  readonly #readers: readonly QueueReader[]
  /** What waits for its turn, in the order of arrival. At most one prefetch for each queue. */
  readonly #waiting = new Set<Parcel>()
  /** Queues that are tried again before long. */
  readonly #restarting = new Set<QueueReader>()
  #inHands = 0
  #paused = false
  #closed = false
  #pumping = false
  #sharing: Timer | null = null

  constructor(options: AmqpSubscriptionOptions) {
    this.#options = options
    const { consumer, prefetch, reading } = options
    this.#readers = queuesOf(consumer).map(
      ({ name }) =>
        new QueueReader({
          queue: name,
          prefetch,
          ordered: consumer.ordered,
          reading,
          releasing: (each) => this.#giveBack(each),
          arrived: (parcel) => {
            this.#waiting.add(parcel)
            this.#pump()
          },
          gone: (parcel) => {
            this.#waiting.delete(parcel)
            if (parcel.inHands) this.#inHands--
            parcel.inHands = false
            this.#pump()
          },
          ended: (reader) => this.#restartLater(reader),
        }),
    )
    if (consumer.ordered && consumer.partitions > 1) this.#shareLater()
  }

  /** Makes sure that the queues are there, and reads them. */
  async start(connection: AmqpConnection): Promise<void> {
    if (this.#closed) return
    const { consumer, queueArguments } = this.#options
    await onChannel(connection, (channel) => declareConsumer(channel, consumer, queueArguments))
    for (const reader of this.#readers) if (!this.#closed) await reader.start(connection)
  }

  /** The connection is gone. */
  lost(): void {
    for (const reader of this.#readers) reader.drop()
  }

  /** The transport is closed. Resolves when the broker has every settlement. */
  async end(): Promise<void> {
    this.#closed = true
    this.#sharing?.cancel()
    await Promise.all(this.#readers.map((reader) => reader.end()))
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#pump()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#sharing?.cancel()
    // Nothing more is delivered from here on, which is what was asked for. When the queues are others' is another matter.
    if (this.#options.consumer.ordered) for (const reader of this.#readers) void reader.leave()
    else await Promise.all(this.#readers.map((reader) => reader.cancel()))
  }

  #pump(): void {
    // Receivers settle within the call, which comes back here.
    if (this.#pumping) return
    this.#pumping = true
    for (const parcel of this.#waiting) {
      if (this.#paused || this.#closed || this.#inHands >= this.#options.prefetch) break
      this.#waiting.delete(parcel)
      parcel.inHands = true
      this.#inHands++
      this.#receive(parcel)
    }
    this.#pumping = false
  }

  #receive({ incoming }: Parcel): void {
    const { receive, reading, consumer } = this.#options
    try {
      receive(incoming)
    } catch (error) {
      // Thrown through the client library it would end the connection.
      reading.log.error({ err: error, queue: consumer.queue }, 'receiving a message failed; it is released')
      incoming.release()
    }
  }

  /** Everything of the queue goes back to its place at once, when what is in hands is settled, and is read from there. */
  #giveBack(reader: QueueReader): void {
    this.#readAnew(reader).catch((err: unknown) => {
      const { reading } = this.#options
      reading.log.warn({ err, queue: reader.queue }, 'a queue cannot be read again; it is tried again')
      // Without a connection, the next one starts it.
      if (!reader.reading && this.#options.connection() !== null) this.#restartLater(reader)
    })
  }

  async #readAnew(reader: QueueReader): Promise<void> {
    await reader.leave()
    const current = this.#options.connection()
    if (!this.#closed && !reader.reading && current !== null) await reader.start(current)
  }

  #restartLater(reader: QueueReader): void {
    if (this.#closed || this.#restarting.has(reader)) return
    this.#restarting.add(reader)
    this.#options.reading.clock.after(RESTART_MS, () => void this.#restart(reader))
  }

  async #restart(reader: QueueReader): Promise<void> {
    const { reading, connection, consumer, queueArguments } = this.#options
    const current = connection()
    try {
      // A new connection has started it already, or will.
      if (this.#closed || reader.reading || current === null) return
      await onChannel(current, (channel) => declareConsumer(channel, consumer, queueArguments))
      if (!this.#closed && !reader.reading) await reader.start(current)
    } catch (err) {
      reading.log.error({ err, queue: reader.queue }, 'a queue cannot be read; it is tried again')
    } finally {
      this.#restarting.delete(reader)
      if (current !== null && !reader.reading) this.#restartLater(reader)
    }
  }

  // ---- sharing with other processes

  #shareLater(): void {
    const { clock, random } = this.#options.reading
    this.#sharing = clock.after(SHARE_MS + (random.uint32() % SHARE_MS), () => {
      this.#share()
        .catch((err: unknown) => {
          this.#options.reading.log.debug({ err }, 'how many processes share the partitions could not be asked')
        })
        .finally(() => {
          if (!this.#closed) this.#shareLater()
        })
        .catch(() => {})
    })
  }

  /**
   * Brokers let the first consumer of a queue have it all and others wait. Who reads more than its share gives the rest
   * up, and queues behind those who wait.
   */
  async #share(): Promise<void> {
    const connection = this.#options.connection()
    if (connection === null) return
    const counts = await onChannel(connection, async (channel) => {
      const answers = await Promise.all(this.#readers.map(({ queue }) => channel.checkQueue(queue)))
      return answers.map(({ consumerCount }) => consumerCount)
    })
    const served = this.#readers.map((reader) => reader.served && !reader.leaving)
    await Promise.all(
      partitionsToLeave(counts, served).map(async (partition) => {
        await this.#readAnew(this.#readers[partition]!)
      }),
    )
  }
}
