import { Draft, type DurableWaiter, type Exchange, HELD, type Headers, type Queue, type Route } from '@stathmos/engine'
import {
  ContentHeaderScan,
  FRAME_BODY,
  FRAME_OVERHEAD,
  PropertyScan,
  PublishScan,
  REPLY,
  SETTLE_FRAME_SIZE,
  type Table,
  decodeProperties,
  decodeTable,
  encodeAck,
  encodeNack,
  encodeProperties,
  encodeReturn,
  returnSize,
  scanProperties,
  shortStringBytes,
  validateTable,
} from '@stathmos/wire/amqp'

import type { Address, Addresses } from './addresses.ts'
import type { ChannelScope } from './channel-scope.ts'
import { type ConfirmSink, Confirms } from './confirms.ts'
import type { Owing } from './connection-scope.ts'
import type { Content } from './direct-reply.ts'
import { Refusal, exchangeNotFound, resource } from './errors.ts'
import {
  AMQP_ORIGIN_KIND,
  headersOfTable,
  moreKeys,
  readDelay,
  readExpiration,
  withDelayServed,
  without,
} from './message.ts'
import { REPLY_QUEUE } from './names.ts'

const NOTHING = new Uint8Array(0)
const NOTHING_VIEW = new DataView(NOTHING.buffer)
const PERSISTENT = 2
const NO_ROUTE = shortStringBytes('NO_ROUTE')

/** First size of a body that comes in several frames; it grows with what arrives, whatever its header claims. */
const ASSEMBLY_BYTES_AT_FIRST = 64 * 1024

/** Where publishes go that wait for a commit. */
export interface PublishLater {
  publish(route: Route, draft: Draft, mandatory: boolean): void
}

/** One thread, one frame at a time: all channels read with the same objects. */
const publishScan = new PublishScan()
const headerScan = new ContentHeaderScan()
const propertyScan = new PropertyScan()

/**
 * The publishing side of a channel: method, header and body become one draft, the draft becomes a
 * message, and the publisher is told. A message whose three frames lie in one chunk is published from
 * where it lies, without an object made for it.
 */
export class Publishing implements ConfirmSink, DurableWaiter, Owing {
  confirms: Confirms | null = null
  /** Null: publishes take effect at once. */
  transaction: PublishLater | null = null
  readonly #channel: ChannelScope
  /** What the channel's requests for direct replies carry. */
  readonly #replies: { readonly replyName: string | null }
  readonly #addresses: Addresses
  readonly #draft = new Draft()
  readonly #headers = (): Headers => headersOfTable(this.#table())
  /** What the channel takes next of a message under way. */
  #awaited: 'method' | 'header' | 'body' = 'method'
  #address: Address | null = null
  #lastAddress: Address | null = null
  #mandatory = false
  #bodySize = 0
  #headersStart = -1
  #headersEnd = -1
  #assembly: Uint8Array = NOTHING
  #assembled = 0
  #permitted: Exchange<Queue> | null = null
  #permittedTurn = -1
  #told = true
  #waiting = false

  constructor(channel: ChannelScope, replies: { readonly replyName: string | null }) {
    this.#channel = channel
    this.#replies = replies
    this.#addresses = channel.connection.context.addressesOf(channel.vhost)
  }

  /** A message is under way: a method would be out of order. */
  get underWay(): boolean {
    return this.#awaited !== 'method'
  }

  /** What a basic.publish names: exchange and key, checked and looked up. */
  method(bytes: Uint8Array, start: number, end: number): void {
    publishScan.read(bytes, start, end)
    if (publishScan.immediate) throw new Refusal(REPLY.notImplemented, 'immediate=true')
    const { addressStart, addressEnd } = publishScan
    let address = this.#lastAddress
    if (address !== null && address.is(bytes, addressStart, addressEnd)) this.#addresses.refresh(address)
    else address = this.#lastAddress = this.#addresses.find(bytes, addressStart, addressEnd)
    const { route } = address
    if (route === null) throw exchangeNotFound(address.exchange, this.#channel.vhost.name)
    const { exchange } = route
    const { connection } = this.#channel
    if (this.#permitted !== exchange || this.#permittedTurn !== connection.turn) {
      connection.require('write', 'exchange', exchange.name)
      this.#permitted = exchange
      this.#permittedTurn = connection.turn
    }
    if (exchange.internal) {
      const thing = resource('exchange', exchange.name, this.#channel.vhost.name)
      throw new Refusal(REPLY.accessRefused, `cannot publish to internal ${thing}`)
    }
    this.#address = address
    this.#mandatory = publishScan.mandatory
    this.#awaited = 'header'
  }

  /**
   * The content header at `start`. What follows it in the chunk begins at `next`: when that is the
   * whole body, the properties stay where they are.
   */
  header(bytes: Uint8Array, view: DataView, start: number, end: number, next: number, chunkEnd: number): void {
    if (this.#awaited !== 'header') throw unexpected(this.#awaited, 'header')
    headerScan.read(view, start, end)
    const { bodySize } = headerScan
    const { messageBytesMax } = this.#channel.connection.context.world.limits
    if (bodySize > messageBytesMax) {
      const text = `message size ${bodySize} is larger than configured max size ${messageBytesMax}`
      throw new Refusal(REPLY.preconditionFailed, text)
    }
    scanProperties(propertyScan, bytes, view, headerScan.propertiesStart, end)
    const draft = this.#draft
    draft.originKind = AMQP_ORIGIN_KIND
    draft.persistent = propertyScan.deliveryMode === PERSISTENT
    draft.priority = propertyScan.priority
    draft.ttlMs =
      propertyScan.expirationStart < 0
        ? -1
        : readExpiration(bytes, propertyScan.expirationStart, propertyScan.expirationEnd)
    draft.delayMs = 0
    draft.headers = null
    draft.moreKeys = null
    const whole = bodySize === 0 || (next + FRAME_OVERHEAD + bodySize <= chunkEnd && this.#isBody(bytes, view, next))
    if (whole) {
      draft.origin = bytes
      draft.originView = view
      draft.originStart = headerScan.propertiesStart
      draft.originEnd = end
    } else this.#keepOrigin(bytes, headerScan.propertiesStart, end)
    // From here on the scan's other ranges are read in `bytes`, which are here still.
    if (propertyScan.userIdStart >= 0) this.#checkUserId(bytes)
    const headers = propertyScan.headersStart < 0 ? null : this.#readHeaders(bytes, view)
    const replyTo = propertyScan.replyToStart < 0 ? null : this.#replyName(bytes)
    if (headers !== null || replyTo !== null) this.#rewrite(headers, replyTo)
    this.#bodySize = bodySize
    this.#assembled = 0
    this.#awaited = 'body'
    if (bodySize === 0) this.#publish(NOTHING, NOTHING_VIEW, 0, 0)
  }

  body(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    if (this.#awaited !== 'body') throw unexpected(this.#awaited, 'body')
    if (this.#assembled === 0 && end - start === this.#bodySize) return this.#publish(bytes, view, start, end)
    const size = this.#assembled + end - start
    if (size > this.#bodySize) {
      throw new Refusal(REPLY.frameError, `a body of ${size} octets where its header says ${this.#bodySize}`)
    }
    if (size > this.#assembly.length) {
      const doubled = Math.max(this.#assembly.length * 2, ASSEMBLY_BYTES_AT_FIRST)
      const larger = new Uint8Array(Math.max(size, Math.min(this.#bodySize, doubled)))
      larger.set(this.#assembly.subarray(0, this.#assembled))
      this.#assembly = larger
    }
    this.#assembly.set(bytes.subarray(start, end), this.#assembled)
    this.#assembled = size
    if (size < this.#bodySize) return
    const whole = this.#assembly
    this.#assembly = NOTHING
    this.#publish(whole, new DataView(whole.buffer), 0, size)
  }

  // ---- confirms

  /** From now on every publish is confirmed. */
  select(): void {
    this.confirms ??= new Confirms(this)
  }

  /** Confirms what is on disk, and has itself woken for the rest. */
  tell(durablePosition: number): void {
    this.#told = true
    const confirms = this.confirms
    if (confirms === null || this.#channel.over) return
    confirms.tell(durablePosition)
    if (confirms.settled || this.#waiting) return
    this.#waiting = true
    this.#channel.connection.context.world.engine.awaitDurable(this)
  }

  durable(position: number): void {
    this.#waiting = false
    this.tell(position)
  }

  ack(tag: number, multiple: boolean): void {
    const out = this.#channel.connection.output.room(SETTLE_FRAME_SIZE)
    const at = out.reserve(SETTLE_FRAME_SIZE)
    out.length = encodeAck(out.bytes, out.view, at, this.#channel.number, tag, multiple)
  }

  nack(tag: number): void {
    const out = this.#channel.connection.output.room(SETTLE_FRAME_SIZE)
    const at = out.reserve(SETTLE_FRAME_SIZE)
    out.length = encodeNack(out.bytes, out.view, at, this.#channel.number, tag, false)
  }

  /** Sends a message back: it was mandatory and reached no queue. */
  giveBack(address: Uint8Array, draft: Draft): void {
    const content = this.#contentOf(address, draft)
    const { connection, number } = this.#channel
    const { frameMax } = connection
    const size = returnSize(
      NO_ROUTE.length,
      content.addressEnd - content.addressStart,
      content.propsEnd - content.propsStart,
      content.bodyEnd - content.bodyStart,
      frameMax,
    )
    const out = connection.output.room(size)
    const at = out.reserve(size)
    out.length = encodeReturn(
      out.bytes,
      out.view,
      at,
      number,
      REPLY.noRoute,
      NO_ROUTE,
      content.bytes,
      content.view,
      content.addressStart,
      content.addressEnd,
      content.propsStart,
      content.propsEnd,
      content.bodyStart,
      content.bodyEnd,
      frameMax,
    )
  }

  // ---- one message

  #publish(body: Uint8Array, bodyView: DataView, start: number, end: number): void {
    const channel = this.#channel
    const draft = this.#draft
    const address = this.#address!
    const route = address.route!
    draft.body = body
    draft.bodyView = bodyView
    draft.bodyStart = start
    draft.bodyEnd = end
    this.#awaited = 'method'
    this.#address = null
    const { transaction } = this
    if (address.reply) this.#publishReply(address)
    else if (transaction !== null) transaction.publish(route, draft, this.#mandatory)
    else {
      const position = channel.vhost.publish(route, draft)
      if (position === 0 && this.#mandatory) this.giveBack(route.address, draft)
      const { confirms } = this
      if (confirms !== null) {
        const { turn } = channel.connection
        // What does not outlive a restart is as safe as it will ever be; its reply must not overtake its confirm.
        if (position > HELD && draft.persistent) confirms.owe(position, turn)
        else if (position >= 0) confirms.oweNothing(turn)
        else confirms.refuse()
        this.#owe()
      }
    }
    // The chunk belongs to the socket again, and a large body to nobody.
    draft.origin = draft.body = NOTHING
    draft.originView = draft.bodyView = NOTHING_VIEW
    draft.originStart = draft.originEnd = draft.bodyStart = draft.bodyEnd = 0
  }

  #owe(): void {
    if (!this.#told) return
    this.#told = false
    this.#channel.connection.owes(this)
  }

  /** A direct reply passes the engine by. It is routed when the requester is there (RabbitMQ 4.2). */
  #publishReply(address: Address): void {
    const { connection, vhost } = this.#channel
    const consumer = connection.context.replies.find(vhost.name, address.key)
    const taken = consumer !== undefined && consumer.reply(this.#contentOf(address.bytes, this.#draft))
    if (!taken && this.#mandatory) this.giveBack(address.bytes, this.#draft)
    if (this.confirms === null) return
    this.confirms.oweNothing(connection.turn)
    this.#owe()
  }

  #contentOf(address: Uint8Array, draft: Draft): Content {
    const propsSize = draft.originEnd - draft.originStart
    const bodySize = draft.bodyEnd - draft.bodyStart
    const propsStart = address.length
    const bodyStart = propsStart + propsSize
    const bytes = new Uint8Array(bodyStart + bodySize)
    bytes.set(address)
    bytes.set(draft.origin.subarray(draft.originStart, draft.originEnd), propsStart)
    bytes.set(draft.body.subarray(draft.bodyStart, draft.bodyEnd), bodyStart)
    return {
      bytes,
      view: new DataView(bytes.buffer),
      addressStart: 0,
      addressEnd: propsStart,
      propsStart,
      propsEnd: bodyStart,
      bodyStart,
      bodyEnd: bytes.length,
    }
  }

  // ---- properties that mean something to the broker

  #keepOrigin(bytes: Uint8Array, start: number, end: number): void {
    const draft = this.#draft
    const own = new Uint8Array(bytes.subarray(start, end))
    draft.origin = own
    draft.originView = new DataView(own.buffer)
    draft.originStart = 0
    draft.originEnd = own.length
  }

  #checkUserId(bytes: Uint8Array): void {
    const claimed = new TextDecoder().decode(bytes.subarray(propertyScan.userIdStart, propertyScan.userIdEnd))
    const { user } = this.#channel.connection
    if (claimed === user) return
    const text = `user_id property set to '${claimed}' but authenticated user was '${user}'`
    throw new Refusal(REPLY.preconditionFailed, text)
  }

  /** Reads what the headers ask of the broker. Returns other headers, where receivers must not see these. */
  #readHeaders(bytes: Uint8Array, view: DataView): Table | null {
    const { headersStart, headersEnd } = propertyScan
    const { headerBytesMax } = this.#channel.connection.context.options.limits
    if (headersEnd - headersStart > headerBytesMax) {
      const text = `header table of ${headersEnd - headersStart} bytes is larger than configured max size ${headerBytesMax}`
      throw new Refusal(REPLY.preconditionFailed, text)
    }
    validateTable(bytes, view, headersStart, headersEnd)
    const draft = this.#draft
    draft.headers = this.#headers
    // Where the headers are in the draft's own bytes, wherever those are.
    const shift = draft.originStart - headerScan.propertiesStart
    this.#headersStart = headersStart + shift
    this.#headersEnd = headersEnd + shift
    const { delayed } = this.#address!.route!.exchange
    const copies = namesCopies(bytes, headersStart, headersEnd)
    if (!delayed && !copies) return null
    const table = this.#table()
    if (delayed) draft.delayMs = readDelay(table)
    if (copies) draft.moreKeys = moreKeys(table)
    const shown = copies && table.has('BCC') ? without(table, 'BCC') : table
    const stored = draft.delayMs > 0 ? withDelayServed(shown) : shown
    return stored === table ? null : stored
  }

  #table(): Table {
    const draft = this.#draft
    return decodeTable(draft.origin, draft.originView, this.#headersStart, this.#headersEnd)
  }

  /** The name that a direct reply will find its way by, where the message is a request for one. */
  #replyName(bytes: Uint8Array): string | null {
    const { replyToStart, replyToEnd } = propertyScan
    if (replyToEnd - replyToStart !== REPLY_QUEUE.length) return null
    for (let i = 0; i < REPLY_QUEUE.length; i++) {
      if (bytes[replyToStart + i] !== REPLY_QUEUE.charCodeAt(i)) return null
    }
    const { replyName } = this.#replies
    if (replyName === null) throw new Refusal(REPLY.preconditionFailed, 'fast reply consumer does not exist')
    return replyName
  }

  /** Whether the frame at `at`, all in the chunk, is the whole body of the message under way. */
  #isBody(bytes: Uint8Array, view: DataView, at: number): boolean {
    return (
      bytes[at] === FRAME_BODY &&
      view.getUint16(at + 1) === this.#channel.number &&
      view.getUint32(at + 3) === headerScan.bodySize
    )
  }

  /** Makes the property list anew with other headers or another reply-to. */
  #rewrite(headers: Table | null, replyTo: string | null): void {
    const draft = this.#draft
    const old = decodeProperties(draft.origin, draft.originView, draft.originStart, draft.originEnd)
    const { scratch } = this.#channel.connection.context
    encodeProperties(scratch, {
      ...old,
      ...(headers === null ? {} : { headers }),
      ...(replyTo === null ? {} : { replyTo }),
    })
    const written = scratch.written()
    this.#keepOrigin(written, 0, written.length)
    scratch.reset()
    scanProperties(propertyScan, draft.origin, draft.originView, 0, draft.originEnd)
    this.#headersStart = propertyScan.headersStart
    this.#headersEnd = propertyScan.headersEnd
  }
}

const C = 0x43
const B = 0x42

/** Whether a table may have a header CC or BCC: its octets are searched for the two names, lengths included. */
function namesCopies(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start + 4; at + 2 < end; at++) {
    if (bytes[at + 1] === C && bytes[at] === 2 && bytes[at + 2] === C) return true
    if (bytes[at + 1] === B && bytes[at] === 3 && bytes[at + 2] === C && bytes[at + 3] === C) return true
  }
  return false
}

function unexpected(awaited: string, got: string): Refusal {
  const text =
    awaited === 'method'
      ? `expected method frame, got content ${got} frame instead`
      : `expected content ${awaited} for class 60, got content ${got} frame instead`
  return new Refusal(REPLY.unexpectedFrame, text)
}
