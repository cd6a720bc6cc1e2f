import type { Consumer, Credit, MessageView, Queue, Receiver } from '@stathmos/engine'
import { deliverySize, encodeDelivery, shortStringBytes } from '@stathmos/wire/amqp'

import type { ChannelScope } from './channel-scope.ts'
import { isUntouched, writeProperties } from './message.ts'
import { argumentsOf } from './queue-arguments.ts'
import type { DeliverySource } from './unacked.ts'

/** The receiving side of the channel that a consumer is on. */
export interface ConsumerHost {
  /** The limit that all consumers of the channel share. */
  readonly credit: Credit | null
  /** A tag for a delivery that will be settled. */
  add(source: DeliverySource, ticket: number): number
  /** A tag for a delivery that counts as settled. */
  skip(): number
  cancelledByBroker(consumer: AmqpConsumer): void
}

/** One consumer of a channel: encodes each delivery straight into the connection's output. */
export class AmqpConsumer implements Receiver, DeliverySource {
  readonly queue: Queue
  readonly tag: string
  readonly timeoutMs: number
  /** Set as soon as the engine has made it. */
  engine: Consumer | null = null
  readonly #channel: ChannelScope
  readonly #host: ConsumerHost
  readonly #tagBytes: Uint8Array
  readonly #noAck: boolean
  /** Its queue tells how often a message has failed. */
  readonly #counts: boolean

  constructor(channel: ChannelScope, host: ConsumerHost, queue: Queue, tag: string, noAck: boolean) {
    const settings = argumentsOf(queue.definition)
    this.#channel = channel
    this.#host = host
    this.queue = queue
    this.tag = tag
    this.#tagBytes = shortStringBytes(tag)
    this.#noAck = noAck
    this.#counts = settings.type === 'quorum'
    this.timeoutMs = queue.definition.settings.leaseMs ?? channel.connection.context.options.limits.consumerTimeoutMs
  }

  deliver(_consumer: Consumer, ticket: number, message: MessageView): void {
    const { connection } = this.#channel
    const tag = this.#noAck ? this.#host.skip() : this.#host.add(this, ticket)
    const failures = this.#counts ? message.attempts : 0
    if (failures === 0 && isUntouched(message)) {
      this.#encode(
        tag,
        message.redelivered,
        message.bytes,
        message.view,
        message.addressStart,
        message.addressEnd,
        message.originStart,
        message.originEnd,
        message.bodyStart,
        message.bodyEnd,
      )
    } else {
      const { scratch, options } = connection.context
      scratch.putBytes(message.bytes.subarray(message.addressStart, message.addressEnd))
      const propsStart = scratch.length
      writeProperties(scratch, message, { deliveryCount: failures, foreignHeaders: options.originHeaders })
      const bodyStart = scratch.length
      scratch.putBytes(message.bytes.subarray(message.bodyStart, message.bodyEnd))
      const { bytes, view, length } = scratch
      this.#encode(tag, message.redelivered, bytes, view, 0, propsStart, propsStart, bodyStart, bodyStart, length)
      scratch.reset()
    }
    connection.watchBacklog()
  }

  flush(): void {
    const { connection } = this.#channel
    connection.output.flush()
    connection.watchBacklog()
  }

  cancelled(): void {
    this.#host.cancelledByBroker(this)
  }

  settled(count: number): void {
    const consumer = this.engine
    if (consumer !== null && !consumer.cancelled) consumer.grant(count)
    else this.#host.credit?.grant(count)
  }

  #encode(
    tag: number,
    redelivered: boolean,
    bytes: Uint8Array,
    view: DataView,
    addressStart: number,
    addressEnd: number,
    propsStart: number,
    propsEnd: number,
    bodyStart: number,
    bodyEnd: number,
  ): void {
    const { connection, number } = this.#channel
    const { frameMax } = connection
    const tagBytes = this.#tagBytes
    const size = deliverySize(
      tagBytes.length,
      addressEnd - addressStart,
      propsEnd - propsStart,
      bodyEnd - bodyStart,
      frameMax,
    )
    const out = connection.output.room(size)
    const at = out.reserve(size)
    out.length = encodeDelivery(
      out.bytes,
      out.view,
      at,
      number,
      tagBytes,
      tag,
      redelivered,
      bytes,
      view,
      addressStart,
      addressEnd,
      propsStart,
      propsEnd,
      bodyStart,
      bodyEnd,
      frameMax,
    )
  }
}
