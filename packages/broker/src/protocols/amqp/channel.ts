import type { Queue, VHost } from '@stathmos/engine'
import {
  BASIC_ACK,
  BASIC_NACK,
  BASIC_PUBLISH,
  BASIC_REJECT,
  FRAME_BODY,
  FRAME_HEADER,
  FRAME_METHOD,
  type FrameScan,
  type Method,
  REPLY,
  SettleScan,
  decodeMethod,
} from '@stathmos/wire/amqp'

import type { ChannelInfo } from '../../session/registry.ts'
import type { ChannelScope } from './channel-scope.ts'
import type { ConnectionScope } from './connection-scope.ts'
import { Deliveries, type Outcome } from './deliveries.ts'
import { Refusal, queueLocked, queueNotFound } from './errors.ts'
import { Publishing } from './publishing.ts'
import type { AmqpTransaction } from './transaction.ts'

const settleScan = new SettleScan()

/** Handles the methods that do not come once for every message. */
export type Handle = (channel: AmqpChannel, method: Method) => void

/**
 * One channel. After an error it is `closing`: what it held has been given back, and everything is
 * dropped until the client has answered channel.close; then its number is free.
 */
export class AmqpChannel implements ChannelScope {
  readonly connection: ConnectionScope
  readonly number: number
  readonly vhost: VHost
  readonly deliveries: Deliveries
  transaction: AmqpTransaction | null = null
  /** The method being handled, for error replies. */
  methodId = 0
  /** What an empty queue name stands for; null: nothing was declared yet. */
  lastQueue: string | null = null
  readonly #handle: Handle
  #publishing: Publishing | null = null
  #phase: 'open' | 'closing' | 'gone' = 'open'

  constructor(connection: ConnectionScope, number: number, handle: Handle) {
    this.#handle = handle
    this.connection = connection
    this.number = number
    this.vhost = connection.broker!
    this.deliveries = new Deliveries(this)
  }

  /** Nothing may be sent on it any more. */
  get over(): boolean {
    return this.#phase !== 'open'
  }

  get publishing(): Publishing {
    return (this.#publishing ??= new Publishing(this, this.deliveries))
  }

  /** @returns false when the frame cannot be taken now */
  frame(scan: FrameScan, bytes: Uint8Array, view: DataView, end: number): boolean {
    const { type, payloadStart, payloadEnd } = scan
    if (this.#phase !== 'open') {
      this.#frameWhileClosing(scan, bytes, view)
      return true
    }
    if (type === FRAME_METHOD) {
      const id = payloadEnd - payloadStart < 4 ? 0 : view.getUint32(payloadStart)
      const publishing = this.#publishing
      if (publishing !== null && publishing.underWay) {
        const text = 'expected content for class 60, got method frame instead'
        throw new Refusal(REPLY.unexpectedFrame, text)
      }
      this.methodId = id
      switch (id) {
        case BASIC_PUBLISH:
          if (!this.connection.admits()) return false
          ;(publishing ?? this.publishing).method(bytes, payloadStart, payloadEnd)
          return true
        case BASIC_ACK:
          settleScan.readAck(bytes, view, payloadStart, payloadEnd)
          this.deliveries.settle(settleScan.deliveryTag, settleScan.multiple, 'accept')
          return true
        case BASIC_NACK:
          settleScan.readNack(bytes, view, payloadStart, payloadEnd)
          this.#settle(settleScan.requeue ? 'return' : 'reject')
          return true
        case BASIC_REJECT:
          settleScan.readReject(bytes, view, payloadStart, payloadEnd)
          // Unlike a nack, it says that the message could not be processed (RabbitMQ 4.3).
          this.#settle(settleScan.requeue ? 'fail' : 'reject')
          return true
        default:
          this.#method(decodeMethod(view, bytes, payloadStart, payloadEnd))
          return true
      }
    }
    if (type === FRAME_HEADER) {
      this.publishing.header(bytes, view, payloadStart, payloadEnd, scan.next, end)
      return true
    }
    if (type === FRAME_BODY) {
      this.publishing.body(bytes, view, payloadStart, payloadEnd)
      return true
    }
    throw new Refusal(REPLY.unexpectedFrame, `heartbeat on channel ${this.number}`)
  }

  send(method: Method): void {
    if (this.#phase !== 'open') return
    this.connection.send(this.number, method)
  }

  /** Answers now, or once what was done is on disk where that matters; not at all where the client does not wait. */
  answer(method: Method, { noWait = false, durable = false } = {}): void {
    const answer = (): void => {
      if (!noWait) this.send(method)
      this.connection.sendNotices()
    }
    if (durable && !noWait) this.connection.whenDurable(answer)
    else answer()
  }

  /** Ends the channel with an error. */
  fail(refusal: Refusal): void {
    if (this.#phase !== 'open') return
    this.send({
      name: 'channel.close',
      replyCode: refusal.code,
      replyText: refusal.message,
      classId: this.methodId >>> 16,
      methodId: this.methodId & 0xffff,
    })
    this.dispose()
    this.#phase = 'closing'
  }

  /** Gives back what the channel holds, as {@link Deliveries.dispose} does. Nothing is sent any more. */
  dispose(outcome: 'fail' | 'return' = 'fail'): void {
    if (this.#phase !== 'open') return
    this.#phase = 'gone'
    this.transaction?.rollback()
    this.deliveries.dispose(outcome)
  }

  /**
   * The queue of that name, or for '' the one declared last, if this connection may use it.
   *
   * @throws {Refusal} 404, or 405 when it is exclusive to another connection
   */
  queue(name: string): Queue {
    const found = this.vhost.queue(name)
    if (found === undefined) throw queueNotFound(name, this.vhost.name)
    if (found.owner !== null && found.owner !== this.connection) throw queueLocked(name, this.vhost.name)
    return found
  }

  /** @throws {Refusal} 404 for '' when nothing has been declared on the channel */
  queueName(name: string): string {
    if (name !== '') return name
    if (this.lastQueue === null) throw new Refusal(REPLY.notFound, 'no previously declared queue')
    return this.lastQueue
  }

  info(): ChannelInfo {
    const { deliveries, transaction } = this
    const confirms = this.#publishing?.confirms ?? null
    return {
      number: this.number,
      consumerCount: deliveries.consumers.size,
      unackedCount: deliveries.unacked.count,
      unconfirmedCount: confirms?.outstanding ?? 0,
      prefetchCount: deliveries.prefetchCount,
      globalPrefetchCount: deliveries.globalPrefetchCount,
      confirming: confirms !== null,
      transactional: transaction !== null,
    }
  }

  #settle(outcome: Outcome): void {
    this.deliveries.settle(settleScan.deliveryTag, settleScan.multiple, outcome)
  }

  #method(method: Method): void {
    if (method.name === 'channel.close') {
      this.dispose()
      this.connection.beforeGoodbye(() => {
        this.connection.send(this.number, { name: 'channel.close-ok' })
        this.connection.channelGone(this.number)
      })
      return
    }
    this.#handle(this, method)
  }

  /** Both sides may close at once: the client's close is answered, and ours is still to be. */
  #frameWhileClosing({ type, payloadStart, payloadEnd }: FrameScan, bytes: Uint8Array, view: DataView): void {
    if (type !== FRAME_METHOD) return
    const method = decodeMethod(view, bytes, payloadStart, payloadEnd)
    if (method.name === 'channel.close-ok') this.connection.channelGone(this.number)
    else if (method.name === 'channel.close') this.connection.send(this.number, { name: 'channel.close-ok' })
  }
}
