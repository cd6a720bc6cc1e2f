import { Credit, type MessageView, type Queue } from '@stathmos/engine'
import type { Timer } from '@stathmos/std'
import { REPLY, deliverySize, encodeDelivery, encodeGetOk, getOkSize, shortStringBytes } from '@stathmos/wire/amqp'

import type { ChannelScope } from './channel-scope.ts'
import { AmqpConsumer, type ConsumerHost } from './consumer.ts'
import type { Content, ReplyConsumer } from './direct-reply.ts'
import { Refusal } from './errors.ts'
import { isUntouched, writeProperties } from './message.ts'
import { argumentsOf } from './queue-arguments.ts'
import { type DeliverySource, type Settle, Unacked } from './unacked.ts'

/** What a client can do with a delivery. `return` gives it back; `fail` does too, and counts it as a failed attempt. */
export type Outcome = 'accept' | 'reject' | 'return' | 'fail'

/** How the outcomes of a channel's deliveries take effect. */
export type SettleAs = Readonly<Record<Outcome, Settle>>

/** The receiving side of a channel: its consumers, and the deliveries that wait for their acknowledgement. */
export class Deliveries implements ConsumerHost, ReplyConsumer {
  readonly consumers = new Map<string, AmqpConsumer>()
  readonly unacked = new Unacked()
  /** Limit of consumers made from now on; 0: none. */
  prefetchCount = 0
  globalPrefetchCount = 0
  /** The limit that all consumers of the channel share; null until it has its first consumer. */
  credit: Credit | null = null
  /** What the channel's requests carry as reply-to; null while it does not consume direct replies. */
  replyName: string | null = null
  #replyTag: Uint8Array | null = null
  #replyTagText = ''
  /** Where settlements go that wait for a commit; null: they take effect at once. */
  transaction: { readonly settleAs: SettleAs } | null = null
  readonly #channel: ChannelScope
  readonly #getSources = new WeakMap<Queue, DeliverySource>()
  #timer: Timer | null = null
  /** When the timer fires; Infinity: it is not set. */
  #watchedMs = Infinity
  /** Settled deliveries of one source in a row, whose credit is given back at once. */
  #runSource: DeliverySource | null = null
  #runCount = 0
  readonly #settleAs: SettleAs = {
    accept: (source, ticket, returned) => {
      if (!returned) source.queue.accept(ticket)
      this.#settled(source)
    },
    reject: (source, ticket, returned) => {
      if (!returned) source.queue.reject(ticket, 'rejected')
      this.#settled(source)
    },
    return: (source, ticket, returned) => {
      if (!returned) source.queue.release(ticket)
      this.#settled(source)
    },
    fail: (source, ticket, returned) => {
      if (!returned) source.queue.release(ticket, { failed: true })
      this.#settled(source)
    },
  }

  constructor(channel: ChannelScope) {
    this.#channel = channel
  }

  /** A delivery goes out; it is given back when nobody settles it in time. */
  add(source: DeliverySource, ticket: number): number {
    const { turnMs } = this.#channel.connection
    if (turnMs + source.timeoutMs < this.#watchedMs) this.#watch(turnMs, turnMs + source.timeoutMs)
    return this.unacked.add(source, ticket, turnMs)
  }

  skip(): number {
    return this.unacked.skip()
  }

  /** @throws {Refusal} 406 when the tag names no delivery that waits */
  settle(tag: number, multiple: boolean, outcome: Outcome): void {
    const { transaction } = this
    const known =
      transaction === null
        ? this.unacked.take(tag, multiple, false, this.#settleAs[outcome])
        : this.unacked.take(tag, multiple, true, transaction.settleAs[outcome])
    this.#endRun()
    if (!known) throw new Refusal(REPLY.preconditionFailed, `unknown delivery tag ${tag}`)
  }

  /** Gives everything back that is not settled: it will be delivered again. */
  recover(): void {
    this.unacked.take(0, true, false, this.#settleAs.return)
    this.#endRun()
  }

  // ---- consumers

  /** @throws {EngineError} `exclusive_consumer`, `owned_elsewhere` */
  consume(
    queue: Queue,
    tag: string,
    options: { readonly noAck: boolean; readonly exclusive: boolean; readonly priority: number },
  ): void {
    const { noAck, exclusive, priority } = options
    const channel = this.#channel
    const consumer = new AmqpConsumer(channel, this, queue, tag, noAck)
    this.credit ??= new Credit(this.globalPrefetchCount === 0 ? Infinity : this.globalPrefetchCount)
    consumer.engine = queue.subscribe({
      receiver: consumer,
      credit: noAck || this.prefetchCount === 0 ? Infinity : this.prefetchCount,
      // Deliveries that need no acknowledgement never give a shared limit back.
      sharedCredit: noAck ? null : this.credit,
      priority,
      exclusive,
      autoAccept: noAck,
      tag,
      owner: channel.connection,
    })
    this.consumers.set(tag, consumer)
    if (channel.connection.congested) consumer.engine.pause()
  }

  /** A limit over all consumers of the channel, those it has included; 0: none. */
  limitAll(count: number): void {
    this.globalPrefetchCount = count
    const { credit } = this
    if (credit === null) return
    const limit = count === 0 ? Infinity : count - this.unacked.count
    credit.available = 0
    credit.grant(limit)
  }

  /** Ends a consumer; what it holds can still be settled. An unknown tag is fine. */
  cancel(tag: string): void {
    if (this.#replyTag !== null && tag === this.#replyTagText) return this.#closeReplies()
    const consumer = this.consumers.get(tag)
    if (consumer === undefined) return
    this.consumers.delete(tag)
    consumer.engine?.cancel()
  }

  cancelledByBroker(consumer: AmqpConsumer): void {
    const channel = this.#channel
    if (!this.consumers.delete(consumer.tag)) return
    if (!channel.connection.capabilities.consumerCancelNotify) return
    const { tag: consumerTag } = consumer
    channel.connection.notify(() => channel.send({ name: 'basic.cancel', consumerTag, noWait: true }))
  }

  pause(): void {
    for (const consumer of this.consumers.values()) consumer.engine?.pause()
  }

  resume(): void {
    for (const consumer of this.consumers.values()) consumer.engine?.resume()
  }

  // ---- direct replies

  /** @throws {Refusal} 406 when the channel consumes replies already */
  consumeReplies(tag: string): void {
    if (this.#replyTag !== null) throw new Refusal(REPLY.preconditionFailed, 'reply consumer already set')
    const { context } = this.#channel.connection
    this.replyName = context.replies.open(this.#channel.vhost.name, this)
    this.#replyTag = shortStringBytes(tag)
    this.#replyTagText = tag
  }

  hasTag(tag: string): boolean {
    return this.consumers.has(tag) || (this.#replyTag !== null && this.#replyTagText === tag)
  }

  reply(content: Content): boolean {
    const tagBytes = this.#replyTag
    if (tagBytes === null) return false
    const { connection, number } = this.#channel
    // No queue holds replies back, and whoever sends them must not wait for one that does not read.
    const { backlogBytesHigh, messageBytesMax } = connection.context.world.limits
    if (connection.transport.backlog >= backlogBytesHigh + messageBytesMax) return false
    const { frameMax } = connection
    const { bytes, view, addressStart, addressEnd, propsStart, propsEnd, bodyStart, bodyEnd } = content
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
      this.unacked.skip(),
      false,
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
    return true
  }

  #closeReplies(): void {
    if (this.replyName === null) return
    this.#channel.connection.context.replies.close(this.replyName)
    this.replyName = null
    this.#replyTag = null
  }

  // ---- basic.get

  /** Answers one basic.get with the message in hand. */
  got(queue: Queue, ticket: number, message: MessageView, remaining: number, noAck: boolean): void {
    const channel = this.#channel
    const { connection, number } = channel
    const tag = noAck ? this.unacked.skip() : this.add(this.#getSource(queue), ticket)
    let { bytes, view, addressStart, addressEnd, originStart, originEnd, bodyStart, bodyEnd } = message
    const failures = argumentsOf(queue.definition).type === 'quorum' ? message.attempts : 0
    const { scratch, options } = connection.context
    const rebuilt = failures > 0 || !isUntouched(message)
    if (rebuilt) {
      scratch.putBytes(bytes.subarray(addressStart, addressEnd))
      const propsAt = scratch.length
      writeProperties(scratch, message, { deliveryCount: failures, foreignHeaders: options.originHeaders })
      const bodyAt = scratch.length
      scratch.putBytes(bytes.subarray(bodyStart, bodyEnd))
      ;({ bytes, view } = scratch)
      addressStart = 0
      addressEnd = originStart = propsAt
      originEnd = bodyStart = bodyAt
      bodyEnd = scratch.length
    }
    const { frameMax } = connection
    const size = getOkSize(addressEnd - addressStart, originEnd - originStart, bodyEnd - bodyStart, frameMax)
    const out = connection.output.room(size)
    const at = out.reserve(size)
    out.length = encodeGetOk(
      out.bytes,
      out.view,
      at,
      number,
      tag,
      message.redelivered,
      remaining,
      bytes,
      view,
      addressStart,
      addressEnd,
      originStart,
      originEnd,
      bodyStart,
      bodyEnd,
      frameMax,
    )
    if (rebuilt) scratch.reset()
  }

  #getSource(queue: Queue): DeliverySource {
    let source = this.#getSources.get(queue)
    if (source === undefined) {
      const { consumerTimeoutMs } = this.#channel.connection.context.options.limits
      // Limits are for consumers: what was fetched gives no credit back.
      source = { queue, timeoutMs: queue.definition.settings.leaseMs ?? consumerTimeoutMs, settled: () => {} }
      this.#getSources.set(queue, source)
    }
    return source
  }

  // ---- the end

  /**
   * Ends the consumers and gives back what they hold.
   *
   * @param outcome `fail` where the client ends them, in whatever way: it may be a message that brings it down, again and
   *   again; `return` where it is the broker's doing
   */
  dispose(outcome: 'fail' | 'return'): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#closeReplies()
    for (const consumer of this.consumers.values()) consumer.engine?.cancel()
    this.consumers.clear()
    this.unacked.drain(this.#settleAs[outcome])
    this.#runSource = null
  }

  #settled(source: DeliverySource): void {
    if (this.#runSource !== source) {
      this.#endRun()
      this.#runSource = source
    }
    this.#runCount++
  }

  #endRun(): void {
    const source = this.#runSource
    if (source === null) return
    const count = this.#runCount
    this.#runSource = null
    this.#runCount = 0
    source.settled(count)
  }

  #watch(nowMs: number, dueMs: number): void {
    const { clock } = this.#channel.connection.context.world
    this.#timer?.cancel()
    this.#watchedMs = dueMs
    this.#timer = clock.after(dueMs - nowMs, () => {
      this.#timer = null
      this.#watchedMs = Infinity
      const firedMs = clock.monotonic()
      const nextMs = this.unacked.expire(firedMs, (source, ticket) => source.queue.release(ticket, { failed: true }))
      this.unacked.trim()
      if (nextMs !== Infinity) this.#watch(firedMs, nextMs)
    })
  }
}
