import { REPLY, ProtocolError } from './errors.ts'
import type { OutputBuffer } from './output-buffer.ts'
import {
  copyOctets,
  longStringEnd,
  readLong,
  readOctet,
  readText,
  requireOctets,
  shortStringEnd,
  tryReadText,
} from './primitives.ts'

/**
 * A field with the type it has on the wire, so that it is written as it came:
 *
 *     t bool   b i8   B u8   s i16   u u16   I i32   i u32   l i64   f float   d double
 *     D decimal = value / 10^scale   S long string   x octets   T u64 seconds   A array   F table   V void
 *
 * The letters are RabbitMQ's, which every client uses, not those of the specification's §4.2.1.
 * An `S` is text where its octets are UTF-8, and the octets themselves otherwise.
 */
export type Field =
  | { readonly type: 't'; readonly value: boolean }
  | { readonly type: 'b' | 'B' | 's' | 'u' | 'I' | 'i' | 'f' | 'd'; readonly value: number }
  | { readonly type: 'l' | 'T'; readonly value: bigint }
  | { readonly type: 'D'; readonly value: number; readonly scale: number }
  | { readonly type: 'S'; readonly value: string | Uint8Array }
  | { readonly type: 'x'; readonly value: Uint8Array }
  | { readonly type: 'A'; readonly value: readonly Field[] }
  | { readonly type: 'F'; readonly value: Table }
  | { readonly type: 'V'; readonly value: null }

/** Fields by name, in wire order. Never a plain object: the names are the peer's. Of a repeated name the last counts. */
export type Table = ReadonlyMap<string, Field>

export const EMPTY_TABLE: Table = new Map()

const VOID: Field = { type: 'V', value: null }

/** Tables and arrays within each other; deeper is an attack on the stack, not a message. */
export const TABLE_DEPTH_MAX = 16

/**
 * Reads the table at `start`, with its 32-bit length, which must end at `end` exactly.
 * Copies what it keeps: the bytes may be reused.
 *
 * @throws {ProtocolError} 502 wherever {@link validateTable} does
 */
export function decodeTable(bytes: Uint8Array, view: DataView, start: number, end: number): Table {
  requireLength(view, start, end)
  return readTable(bytes, view, start + 4, end, 1)
}

/**
 * Checks the table at `start` as {@link decodeTable} would, building nothing: what passes here decodes later.
 *
 * @throws {ProtocolError} 502: a length beyond its container, an unknown type, a name that is not UTF-8, too deep
 */
export function validateTable(bytes: Uint8Array, view: DataView, start: number, end: number): void {
  requireLength(view, start, end)
  checkTable(bytes, view, start + 4, end, 1)
}

/** Writes `table` with its length. */
export function encodeTable(out: OutputBuffer, table: Table): void {
  const start = out.length
  out.putLong(0)
  for (const [name, field] of table) {
    out.putShortString(name)
    encodeField(out, field)
  }
  out.view.setUint32(start, out.length - start - 4)
}

function requireLength(view: DataView, start: number, end: number): void {
  const length = readLong(view, start, end)
  if (length !== end - start - 4) {
    throw new ProtocolError(REPLY.syntaxError, `a table of ${end - start - 4} octets`, `${length}`, start)
  }
}

function readTable(bytes: Uint8Array, view: DataView, start: number, end: number, depth: number): Table {
  if (start === end) return EMPTY_TABLE
  requireDepth(start, depth)
  const table = new Map<string, Field>()
  let at = start
  while (at < end) {
    const nameEnd = shortStringEnd(bytes, at, end)
    const name = readText(bytes, at + 1, nameEnd)
    const valueEnd = fieldEnd(bytes, view, nameEnd, end)
    table.set(name, readField(bytes, view, nameEnd, valueEnd, depth))
    at = valueEnd
  }
  return table
}

function readArray(bytes: Uint8Array, view: DataView, start: number, end: number, depth: number): Field[] {
  requireDepth(start, depth)
  const fields: Field[] = []
  let at = start
  while (at < end) {
    const valueEnd = fieldEnd(bytes, view, at, end)
    fields.push(readField(bytes, view, at, valueEnd, depth))
    at = valueEnd
  }
  return fields
}

function checkTable(bytes: Uint8Array, view: DataView, start: number, end: number, depth: number): void {
  if (start === end) return
  requireDepth(start, depth)
  let at = start
  while (at < end) {
    const nameEnd = shortStringEnd(bytes, at, end)
    checkText(bytes, at + 1, nameEnd)
    at = checkField(bytes, view, nameEnd, end, depth)
  }
}

function checkArray(bytes: Uint8Array, view: DataView, start: number, end: number, depth: number): void {
  requireDepth(start, depth)
  let at = start
  while (at < end) at = checkField(bytes, view, at, end, depth)
}

function checkField(bytes: Uint8Array, view: DataView, at: number, end: number, depth: number): number {
  const valueEnd = fieldEnd(bytes, view, at, end)
  const type = bytes[at]
  if (type === 0x46) checkTable(bytes, view, at + 5, valueEnd, depth + 1)
  else if (type === 0x41) checkArray(bytes, view, at + 5, valueEnd, depth + 1)
  return valueEnd
}

function checkText(bytes: Uint8Array, start: number, end: number): void {
  for (let at = start; at < end; at++) {
    if ((bytes[at] as number) > 0x7f) {
      readText(bytes, start, end)
      return
    }
  }
}

function requireDepth(start: number, depth: number): void {
  if (depth > TABLE_DEPTH_MAX) {
    throw new ProtocolError(REPLY.syntaxError, `at most ${TABLE_DEPTH_MAX} nested tables and arrays`, 'more', start)
  }
}

/** Where the field whose type octet is at `at` ends; its fixed or declared size fits before `end`. */
function fieldEnd(bytes: Uint8Array, view: DataView, at: number, end: number): number {
  const type = readOctet(bytes, at, end)
  let size: number
  switch (type) {
    case 0x56: // V
      return at + 1
    case 0x74: // t
    case 0x62: // b
    case 0x42: // B
      size = 1
      break
    case 0x73: // s
    case 0x75: // u
      size = 2
      break
    case 0x49: // I
    case 0x69: // i
    case 0x66: // f
      size = 4
      break
    case 0x44: // D
      size = 5
      break
    case 0x6c: // l
    case 0x64: // d
    case 0x54: // T
      size = 8
      break
    case 0x53: // S
    case 0x78: // x
    case 0x41: // A
    case 0x46: // F
      return longStringEnd(view, at + 1, end)
    default:
      throw new ProtocolError(REPLY.syntaxError, 'a field type', `octet ${type}`, at)
  }
  requireOctets(at + 1, size, end, `a field of ${size} octets`)
  return at + 1 + size
}

/** Reads the field from its type octet at `at` to `end`, both vouched for by {@link fieldEnd}. */
function readField(bytes: Uint8Array, view: DataView, at: number, end: number, depth: number): Field {
  const type = String.fromCharCode(bytes[at] as number) as Field['type']
  switch (type) {
    case 't':
      return { type, value: bytes[at + 1] !== 0 }
    case 'b':
      return { type, value: view.getInt8(at + 1) }
    case 'B':
      return { type, value: view.getUint8(at + 1) }
    case 's':
      return { type, value: view.getInt16(at + 1) }
    case 'u':
      return { type, value: view.getUint16(at + 1) }
    case 'I':
      return { type, value: view.getInt32(at + 1) }
    case 'i':
      return { type, value: view.getUint32(at + 1) }
    case 'f':
      return { type, value: view.getFloat32(at + 1) }
    case 'd':
      return { type, value: view.getFloat64(at + 1) }
    case 'l':
      return { type, value: view.getBigInt64(at + 1) }
    case 'T':
      return { type, value: view.getBigUint64(at + 1) }
    case 'D':
      return { type, scale: view.getUint8(at + 1), value: view.getUint32(at + 2) }
    case 'S':
      return { type, value: tryReadText(bytes, at + 5, end) ?? copyOctets(bytes, at + 5, end) }
    case 'x':
      return { type, value: copyOctets(bytes, at + 5, end) }
    case 'A':
      return { type, value: readArray(bytes, view, at + 5, end, depth + 1) }
    case 'F':
      return { type, value: readTable(bytes, view, at + 5, end, depth + 1) }
    case 'V':
      return VOID
  }
}

function encodeField(out: OutputBuffer, field: Field): void {
  out.putOctet(field.type.charCodeAt(0))
  switch (field.type) {
    case 't':
      return out.putOctet(field.value ? 1 : 0)
    case 'b':
    case 'B':
      return out.putOctet(field.value)
    case 's':
    case 'u':
      return out.putShort(field.value)
    case 'I':
    case 'i':
      return out.putLong(field.value)
    case 'f':
      return out.putFloat(field.value)
    case 'd':
      return out.putDouble(field.value)
    case 'l':
    case 'T':
      return out.putBigLongLong(field.value)
    case 'D':
      out.putOctet(field.scale)
      return out.putLong(field.value)
    case 'S':
    case 'x':
      return out.putLongString(field.value)
    case 'A':
      return encodeArray(out, field.value)
    case 'F':
      return encodeTable(out, field.value)
    case 'V':
      return
  }
}

function encodeArray(out: OutputBuffer, fields: readonly Field[]): void {
  const start = out.length
  out.putLong(0)
  for (const field of fields) encodeField(out, field)
  out.view.setUint32(start, out.length - start - 4)
}
