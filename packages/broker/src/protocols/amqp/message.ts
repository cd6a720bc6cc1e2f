import { type Death, type HeaderValue, type Headers, type MessageView, NO_HEADERS, Timestamp } from '@stathmos/engine'
import {
  type Field,
  FLAG_HEADERS,
  type OutputBuffer,
  type Properties,
  PropertyScan,
  REPLY,
  type Table,
  decodeProperties,
  decodeTable,
  encodeProperties,
  scanProperties,
} from '@stathmos/wire/amqp'

import { Refusal } from './errors.ts'
import { typeName } from './field-type.ts'

/** The engine's number for bytes that are AMQP property flags and a property list. */
export const AMQP_ORIGIN_KIND = 1

const PERSISTENT = 2
const TRANSIENT = 1

/** Longest time to live that a client may give, ms: ten years, as in RabbitMQ. */
export const TTL_MS_MAX = 10 * 365 * 86_400_000

/** A longer delay counts as this one, ms: a thousand years, so that every moment is one that a clock can show. */
const DELAY_MS_MAX = 1000 * 365 * 86_400_000

/** The headers of a message that came by AMQP, for whoever routes or delivers it otherwise. */
export function originHeaders(origin: Uint8Array): Headers {
  const view = new DataView(origin.buffer, origin.byteOffset, origin.byteLength)
  const scan = new PropertyScan()
  scanProperties(scan, origin, view, 0, origin.length)
  if ((scan.flags & FLAG_HEADERS) === 0) return NO_HEADERS
  return headersOfTable(decodeTable(origin, view, scan.headersStart, scan.headersEnd))
}

/** The routing keys beside its own of a message that came by AMQP: what is left of CC and BCC. */
export function originKeys(origin: Uint8Array): string[] | null {
  const view = new DataView(origin.buffer, origin.byteOffset, origin.byteLength)
  const scan = new PropertyScan()
  scanProperties(scan, origin, view, 0, origin.length)
  if ((scan.flags & FLAG_HEADERS) === 0) return null
  return moreKeys(decodeTable(origin, view, scan.headersStart, scan.headersEnd))
}

/** A table in neutral form: types that differ on the wire only become one. */
export function headersOfTable(table: Table): Headers {
  if (table.size === 0) return NO_HEADERS
  const headers = new Map<string, HeaderValue>()
  for (const [name, field] of table) headers.set(name, neutral(field))
  return headers
}

/** Headers that another protocol sent, as a table. */
export function tableOfHeaders(headers: Headers): Table {
  const table = new Map<string, Field>()
  for (const [name, value] of headers) table.set(name, fieldOf(value))
  return table
}

function neutral(field: Field): HeaderValue {
  switch (field.type) {
    case 'l':
      return safeInteger(field.value)
    case 'T':
      return new Timestamp(Number(field.value) * 1000)
    case 'D':
      return field.value / 10 ** field.scale
    case 'A':
      return field.value.map(neutral)
    case 'F':
      return headersOfTable(field.value)
    default:
      return field.value
  }
}

function safeInteger(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

const INT32_MAX = 0x7fff_ffff
const INT64_MAX = 0x7fff_ffff_ffff_ffffn

function fieldOf(value: HeaderValue): Field {
  if (value === null) return { type: 'V', value }
  if (typeof value === 'boolean') return { type: 't', value }
  if (typeof value === 'string') return { type: 'S', value }
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) return { type: 'd', value }
    return Math.abs(value) <= INT32_MAX ? { type: 'I', value } : { type: 'l', value: BigInt(value) }
  }
  if (typeof value === 'bigint') {
    const fits = value <= INT64_MAX && value >= -INT64_MAX
    return fits ? { type: 'l', value } : { type: 'S', value: value.toString() }
  }
  if (value instanceof Uint8Array) return { type: 'x', value }
  if (value instanceof Timestamp) return { type: 'T', value: BigInt(Math.max(0, Math.floor(value.ms / 1000))) }
  if (value instanceof Map) return { type: 'F', value: tableOfHeaders(value) }
  return { type: 'A', value: (value as readonly HeaderValue[]).map(fieldOf) }
}

/**
 * The expiration property, ms: decimal digits, read without making a string.
 *
 * @throws {Refusal} 406 for anything else
 */
export function readExpiration(bytes: Uint8Array, start: number, end: number): number {
  let ms = 0
  let at = start
  for (; at < end; at++) {
    const digit = bytes[at]! - 0x30
    if (digit < 0 || digit > 9) break
    ms = ms * 10 + digit
    if (ms > TTL_MS_MAX) break
  }
  if (at === end && end > start) return ms
  const text = new TextDecoder().decode(bytes.subarray(start, end))
  throw new Refusal(REPLY.preconditionFailed, `invalid expiration '${text}': ${expirationFault(text)}`)
}

function expirationFault(text: string): string {
  if (/^-\d+$/.test(text)) return `{value_negative,${text}}`
  if (/^\d+$/.test(text)) return `{value_too_large,${text}}`
  const leftover = /^-?\d+(.+)$/s.exec(text)
  return leftover === null ? 'no_integer' : `{leftover_string,"${leftover[1]}"}`
}

/** `x-delay` of a message to a delayed exchange, ms; 0 when there is none that makes sense. */
export function readDelay(table: Table): number {
  const field = table.get('x-delay')
  if (field === undefined) return 0
  let ms: number
  if (field.type === 'S' && typeof field.value === 'string') ms = Number(field.value)
  else if (typeof field.value === 'number' || typeof field.value === 'bigint') ms = Number(field.value)
  else return 0
  return Number.isFinite(ms) && ms > 0 ? Math.min(Math.floor(ms), DELAY_MS_MAX) : 0
}

/**
 * The table of a message that is delayed now: `x-delay` is negated, so that receivers see that it was and no other
 * exchange delays it again, be it that they publish it with its headers once more (RabbitMQ x-delayed-message).
 */
export function withDelayServed(table: Table): Table {
  const field = table.get('x-delay')
  return field === undefined ? table : new Map(table).set('x-delay', negative(field))
}

function negative(field: Field): Field {
  const { type, value } = field
  if (type === 'S' && typeof value === 'string') return { type, value: `-${value.trim()}` }
  if (type === 'b' || type === 's' || type === 'I' || type === 'f' || type === 'd') return { type, value: -value }
  // The other types of integers have no sign.
  if (typeof value === 'bigint') return { type: 'l', value: -value }
  return typeof value === 'number' ? { type: 'l', value: BigInt(-value) } : field
}

/**
 * Further routing keys, from the headers CC and BCC.
 *
 * @throws {Refusal} 406 when a header is no array; what is in it and no string is passed over, as in RabbitMQ
 */
export function moreKeys(table: Table): string[] | null {
  const keys: string[] = []
  for (const name of ['CC', 'BCC']) {
    const field = table.get(name)
    if (field === undefined) continue
    if (field.type !== 'A') {
      const text = `invalid message: {unacceptable_type_in_header,"${name}",${typeName(field)}}`
      throw new Refusal(REPLY.preconditionFailed, text)
    }
    for (const item of field.value) {
      if (item.type === 'S' && typeof item.value === 'string') keys.push(item.value)
    }
  }
  return keys.length === 0 ? null : keys
}

/** The table without one header. */
export function without(table: Table, name: string): Table {
  const rest = new Map(table)
  rest.delete(name)
  return rest
}

/** What a delivery needs that is not in the sender's own properties. */
export interface DeliveryFacts {
  /** Failed attempts, for queues that tell of them; 0: nothing to tell. */
  readonly deliveryCount: number
  readonly foreignHeaders: ReadonlyMap<number, (origin: Uint8Array) => Headers>
}

/** Whether a message goes out with exactly the properties it came with. */
export function isUntouched(message: MessageView): boolean {
  return message.originKind === AMQP_ORIGIN_KIND && !message.hasHistory
}

/** Writes the properties that a receiver gets, with what happened to the message on its way. */
export function writeProperties(out: OutputBuffer, message: MessageView, facts: DeliveryFacts): void {
  let properties = propertiesOf(message, facts.foreignHeaders)
  const headers = new Map<string, Field>(properties.headers)
  if (facts.deliveryCount > 0) headers.set('x-delivery-count', { type: 'l', value: BigInt(facts.deliveryCount) })
  if (message.hasHistory) {
    const { deaths, first, last } = message.history
    headers.set('x-death', { type: 'A', value: deaths.map(deathField) })
    if (first !== null) setDeathNames(headers, 'x-first-death', first)
    if (last !== null) setDeathNames(headers, 'x-last-death', last)
    // Its time to live was that of its first queue (RabbitMQ: kept as original-expiration).
    const { expiration: _, ...rest } = properties
    properties = rest
  }
  encodeProperties(out, headers.size === 0 ? properties : { ...properties, headers })
}

function propertiesOf(message: MessageView, foreign: ReadonlyMap<number, (origin: Uint8Array) => Headers>): Properties {
  if (message.originKind === AMQP_ORIGIN_KIND) {
    return decodeProperties(message.bytes, message.view, message.originStart, message.originEnd)
  }
  const decode = foreign.get(message.originKind)
  const headers = decode === undefined ? NO_HEADERS : decode(message.origin())
  return {
    ...(headers.size === 0 ? {} : { headers: tableOfHeaders(headers) }),
    deliveryMode: message.persistent ? PERSISTENT : TRANSIENT,
    ...(message.priority === 0 ? {} : { priority: message.priority }),
    timestamp: BigInt(Math.floor(message.timestampMs / 1000)),
  }
}

function deathField(death: Death): Field {
  const text = (value: string): Field => ({ type: 'S', value })
  const fields = new Map<string, Field>([
    ['count', { type: 'l', value: BigInt(death.count) }],
    ['reason', text(death.reason)],
    ['queue', text(death.queue)],
    ['time', { type: 'T', value: BigInt(Math.floor(death.timeMs / 1000)) }],
    ['exchange', text(death.exchange)],
    ['routing-keys', { type: 'A', value: death.routingKeys.map(text) }],
  ])
  if (death.originalTtlMs !== undefined) fields.set('original-expiration', text(String(death.originalTtlMs)))
  return { type: 'F', value: fields }
}

function setDeathNames(
  headers: Map<string, Field>,
  prefix: string,
  death: { readonly queue: string; readonly reason: string; readonly exchange: string },
): void {
  headers.set(`${prefix}-queue`, { type: 'S', value: death.queue })
  headers.set(`${prefix}-reason`, { type: 'S', value: death.reason })
  headers.set(`${prefix}-exchange`, { type: 'S', value: death.exchange })
}
