import { isUtf8 } from 'node:buffer'
import { REPLY, ProtocolError } from './errors.ts'

/**
 * The elementary domains of AMQP (0-9-1 §4.2.5), read from `bytes` and a `view` of the same memory.
 * Every reader takes the `end` it must not pass and throws {@link ProtocolError} instead of passing it.
 */

/** Keeps a byte order mark: it is part of the name. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** Beyond this many characters the native decoder wins over the loop. */
const ASCII_LOOP_MAX = 24

/** 2^32 and the high word of 2^53, for 64-bit numbers held in doubles. */
const WORD = 0x1_0000_0000
const SAFE_HIGH_WORD_END = 0x20_0000

/** Throws unless `size` octets are left between `at` and `end`. */
export function requireOctets(at: number, size: number, end: number, expected: string): void {
  if (end - at < size) throwTruncated(at, end, expected)
}

/** Throws unless everything has been read. */
export function requireEnd(at: number, end: number): void {
  if (at !== end) throw new ProtocolError(REPLY.syntaxError, 'the end', `${end - at} more octets`, at)
}

export function readOctet(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) throwTruncated(at, end, 'an octet')
  return bytes[at] as number
}

export function readShort(view: DataView, at: number, end: number): number {
  if (end - at < 2) throwTruncated(at, end, 'a 16-bit integer')
  return view.getUint16(at)
}

export function readLong(view: DataView, at: number, end: number): number {
  if (end - at < 4) throwTruncated(at, end, 'a 32-bit integer')
  return view.getUint32(at)
}

/** An unsigned 64-bit integer as a number. @throws {ProtocolError} from 2^53 on, where numbers lose their last digits. */
export function readLongLong(view: DataView, at: number, end: number): number {
  if (end - at < 8) throwTruncated(at, end, 'a 64-bit integer')
  const high = view.getUint32(at)
  if (high >= SAFE_HIGH_WORD_END) {
    throw new ProtocolError(REPLY.syntaxError, 'an integer below 2^53', String(view.getBigUint64(at)), at)
  }
  return high * WORD + view.getUint32(at + 4)
}

/** Where the short string that begins (with its length octet) at `at` ends. */
export function shortStringEnd(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) throwTruncated(at, end, 'a short string')
  const next = at + 1 + (bytes[at] as number)
  if (next > end) throwTruncated(at + 1, end, `a short string of ${next - at - 1} octets`)
  return next
}

/** Where the long string or table that begins (with its 32-bit length) at `at` ends. */
export function longStringEnd(view: DataView, at: number, end: number): number {
  if (end - at < 4) throwTruncated(at, end, 'a long string')
  const next = at + 4 + view.getUint32(at)
  if (next > end) throwTruncated(at + 4, end, `a long string of ${next - at - 4} octets`)
  return next
}

/** The octets from `start` to `end` as UTF-8. @throws {ProtocolError} when they are not. */
export function readText(bytes: Uint8Array, start: number, end: number): string {
  const text = tryReadText(bytes, start, end)
  if (text === undefined) throw new ProtocolError(REPLY.syntaxError, 'UTF-8', 'other octets', start)
  return text
}

/** The octets from `start` to `end` as UTF-8, or undefined when they are not. */
export function tryReadText(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start <= ASCII_LOOP_MAX) {
    let text = ''
    let at = start
    for (; at < end; at++) {
      const octet = bytes[at] as number
      if (octet > 0x7f) break
      text += String.fromCharCode(octet)
    }
    if (at === end) return text
  }
  // Asked first, not tried: a table full of bad strings would cost an exception for each.
  const octets = bytes.subarray(start, end)
  return isUtf8(octets) ? utf8.decode(octets) : undefined
}

/** The octets from `start` to `end`, copied even where `bytes` is a Buffer, whose `slice` shares its memory. */
export function copyOctets(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(bytes.subarray(start, end))
}

function throwTruncated(at: number, end: number, expected: string): never {
  throw new ProtocolError(REPLY.syntaxError, expected, `${Math.max(0, end - at)} octets`, at)
}
