import { REPLY, ProtocolError } from './errors.ts'
import type { OutputBuffer } from './output-buffer.ts'
import {
  longStringEnd,
  readOctet,
  readShort,
  readText,
  requireEnd,
  requireOctets,
  shortStringEnd,
} from './primitives.ts'
import { decodeTable, encodeTable } from './table.ts'
import type { Table } from './table.ts'

/**
 * The properties of a message: 16 flag bits, the highest for the first property, then the properties that are there,
 * in this order (AMQP 0-9-1 §4.2.6.1 and the basic class). Bit 0 says that more flags follow; 14 properties never
 * need them, and a list that sets bit 0 or 1 has properties that nobody could skip, so it is refused.
 */
export interface Properties {
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly headers?: Table
  /** 1 transient, 2 persistent. */
  readonly deliveryMode?: number
  readonly priority?: number
  readonly correlationId?: string
  readonly replyTo?: string
  /** Milliseconds, as the text that the publisher wrote. */
  readonly expiration?: string
  readonly messageId?: string
  /** Seconds since 1970; 64 bits, of which peers have been seen to use all. */
  readonly timestamp?: bigint
  readonly type?: string
  readonly userId?: string
  readonly appId?: string
  readonly clusterId?: string
}

export const FLAG_CONTENT_TYPE = 0x8000
export const FLAG_CONTENT_ENCODING = 0x4000
export const FLAG_HEADERS = 0x2000
export const FLAG_DELIVERY_MODE = 0x1000
export const FLAG_PRIORITY = 0x0800
export const FLAG_CORRELATION_ID = 0x0400
export const FLAG_REPLY_TO = 0x0200
export const FLAG_EXPIRATION = 0x0100
export const FLAG_MESSAGE_ID = 0x0080
export const FLAG_TIMESTAMP = 0x0040
export const FLAG_TYPE = 0x0020
export const FLAG_USER_ID = 0x0010
export const FLAG_APP_ID = 0x0008
export const FLAG_CLUSTER_ID = 0x0004

const FLAGS_UNKNOWN = 0x0003

/** Flags without a property: what a message without properties has. */
export const NO_PROPERTIES: Uint8Array = Uint8Array.of(0, 0)

/**
 * What a broker must know of a property list, read without building anything. One object is reused for every message:
 * {@link scanProperties} sets every field. Ranges are -1, -1 where the property is absent; those of text leave out the
 * length octet, that of the headers includes the length, as {@link decodeTable} takes it.
 */
export class PropertyScan {
  flags = 0
  /** 0 when absent. */
  deliveryMode = 0
  /** 0 when absent, which means the same. */
  priority = 0
  headersStart = -1
  headersEnd = -1
  replyToStart = -1
  replyToEnd = -1
  expirationStart = -1
  expirationEnd = -1
  userIdStart = -1
  userIdEnd = -1
}

/**
 * Reads flags and property list from `start` to `end` into `scan`.
 *
 * The inside of the headers is not looked at: {@link validateTable} does that.
 *
 * @throws {ProtocolError} 502 where the list does not end at `end` exactly, or has flags beyond the 14 properties
 */
export function scanProperties(
  scan: PropertyScan,
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): void {
  const flags = readFlags(view, start, end)
  let at = start + 2
  scan.flags = flags
  scan.deliveryMode = 0
  scan.priority = 0
  scan.headersStart = scan.headersEnd = -1
  scan.replyToStart = scan.replyToEnd = -1
  scan.expirationStart = scan.expirationEnd = -1
  scan.userIdStart = scan.userIdEnd = -1

  if (flags & FLAG_CONTENT_TYPE) at = shortStringEnd(bytes, at, end)
  if (flags & FLAG_CONTENT_ENCODING) at = shortStringEnd(bytes, at, end)
  if (flags & FLAG_HEADERS) {
    scan.headersStart = at
    at = scan.headersEnd = longStringEnd(view, at, end)
  }
  if (flags & FLAG_DELIVERY_MODE) scan.deliveryMode = readOctet(bytes, at++, end)
  if (flags & FLAG_PRIORITY) scan.priority = readOctet(bytes, at++, end)
  if (flags & FLAG_CORRELATION_ID) at = shortStringEnd(bytes, at, end)
  if (flags & FLAG_REPLY_TO) {
    scan.replyToStart = at + 1
    at = scan.replyToEnd = shortStringEnd(bytes, at, end)
  }
  if (flags & FLAG_EXPIRATION) {
    scan.expirationStart = at + 1
    at = scan.expirationEnd = shortStringEnd(bytes, at, end)
  }
  if (flags & FLAG_MESSAGE_ID) at = shortStringEnd(bytes, at, end)
  if (flags & FLAG_TIMESTAMP) {
    requireOctets(at, 8, end, 'a timestamp')
    at += 8
  }
  if (flags & FLAG_TYPE) at = shortStringEnd(bytes, at, end)
  if (flags & FLAG_USER_ID) {
    scan.userIdStart = at + 1
    at = scan.userIdEnd = shortStringEnd(bytes, at, end)
  }
  if (flags & FLAG_APP_ID) at = shortStringEnd(bytes, at, end)
  if (flags & FLAG_CLUSTER_ID) at = shortStringEnd(bytes, at, end)
  requireEnd(at, end)
}

/**
 * Decodes flags and property list from `start` to `end`. Copies what it keeps: the bytes may be reused.
 *
 * @throws {ProtocolError} 502 as {@link scanProperties} and {@link decodeTable}, and where text is not UTF-8
 */
export function decodeProperties(bytes: Uint8Array, view: DataView, start: number, end: number): Properties {
  const flags = readFlags(view, start, end)
  const properties: { -readonly [K in keyof Properties]: Properties[K] } = {}
  let at = start + 2
  const text = (): string => {
    const from = at + 1
    at = shortStringEnd(bytes, at, end)
    return readText(bytes, from, at)
  }
  if (flags & FLAG_CONTENT_TYPE) properties.contentType = text()
  if (flags & FLAG_CONTENT_ENCODING) properties.contentEncoding = text()
  if (flags & FLAG_HEADERS) {
    const from = at
    at = longStringEnd(view, at, end)
    properties.headers = decodeTable(bytes, view, from, at)
  }
  if (flags & FLAG_DELIVERY_MODE) properties.deliveryMode = readOctet(bytes, at++, end)
  if (flags & FLAG_PRIORITY) properties.priority = readOctet(bytes, at++, end)
  if (flags & FLAG_CORRELATION_ID) properties.correlationId = text()
  if (flags & FLAG_REPLY_TO) properties.replyTo = text()
  if (flags & FLAG_EXPIRATION) properties.expiration = text()
  if (flags & FLAG_MESSAGE_ID) properties.messageId = text()
  if (flags & FLAG_TIMESTAMP) {
    requireOctets(at, 8, end, 'a timestamp')
    properties.timestamp = view.getBigUint64(at)
    at += 8
  }
  if (flags & FLAG_TYPE) properties.type = text()
  if (flags & FLAG_USER_ID) properties.userId = text()
  if (flags & FLAG_APP_ID) properties.appId = text()
  if (flags & FLAG_CLUSTER_ID) properties.clusterId = text()
  requireEnd(at, end)
  return properties
}

/** Writes flags and property list. */
export function encodeProperties(out: OutputBuffer, properties: Properties): void {
  const start = out.length
  let flags = 0
  const text = (flag: number, value: string | undefined): void => {
    if (value === undefined) return
    flags |= flag
    out.putShortString(value)
  }
  const octet = (flag: number, value: number | undefined): void => {
    if (value === undefined) return
    flags |= flag
    out.putOctet(value)
  }
  out.putShort(0)
  text(FLAG_CONTENT_TYPE, properties.contentType)
  text(FLAG_CONTENT_ENCODING, properties.contentEncoding)
  if (properties.headers !== undefined) {
    flags |= FLAG_HEADERS
    encodeTable(out, properties.headers)
  }
  octet(FLAG_DELIVERY_MODE, properties.deliveryMode)
  octet(FLAG_PRIORITY, properties.priority)
  text(FLAG_CORRELATION_ID, properties.correlationId)
  text(FLAG_REPLY_TO, properties.replyTo)
  text(FLAG_EXPIRATION, properties.expiration)
  text(FLAG_MESSAGE_ID, properties.messageId)
  if (properties.timestamp !== undefined) {
    flags |= FLAG_TIMESTAMP
    out.putBigLongLong(properties.timestamp)
  }
  text(FLAG_TYPE, properties.type)
  text(FLAG_USER_ID, properties.userId)
  text(FLAG_APP_ID, properties.appId)
  text(FLAG_CLUSTER_ID, properties.clusterId)
  out.view.setUint16(start, flags)
}

function readFlags(view: DataView, start: number, end: number): number {
  const flags = readShort(view, start, end)
  if (flags & FLAGS_UNKNOWN) {
    const received = `flags 0x${flags.toString(16).padStart(4, '0')}`
    throw new ProtocolError(REPLY.syntaxError, 'flags of the 14 basic properties only', received, start)
  }
  return flags
}
