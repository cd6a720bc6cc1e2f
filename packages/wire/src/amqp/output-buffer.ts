import { assert } from '@stathmos/std'
import { cutToUtf8, utf8Length, writeUtf8 } from './utf8.ts'

/** Longest short string in octets (AMQP 0-9-1 §4.2.5.3). */
export const SHORT_STRING_OCTETS_MAX = 255

/**
 * Bytes on their way out: a growing array with the elementary puts, none of which allocates while there is room.
 * Made to be pooled: {@link reset} and write again, once nobody reads {@link written} any more.
 *
 * {@link bytes} and {@link view} are replaced when the buffer grows: take them after {@link reserve}, keep them for one
 * burst of writes, then move {@link length}.
 */
export class OutputBuffer {
  bytes: Uint8Array
  view: DataView
  /** Octets written; the next put goes here. */
  length = 0
  readonly #initialCapacity: number

  constructor(capacity: number) {
    this.#initialCapacity = capacity
    this.bytes = new Uint8Array(capacity)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Makes room for `size` more octets and returns where they begin. Does not move {@link length}. */
  reserve(size: number): number {
    const needed = this.length + size
    if (needed > this.bytes.length) this.#grow(needed)
    return this.length
  }

  /** What has been written, without a copy: valid until the next {@link reset}. */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  /** Starts again at zero, giving back the memory of an unusually long burst. */
  reset(): void {
    this.length = 0
    if (this.bytes.length > this.#initialCapacity) this.#replace(new Uint8Array(this.#initialCapacity))
  }

  putOctet(value: number): void {
    const at = this.reserve(1)
    this.bytes[at] = value
    this.length = at + 1
  }

  putShort(value: number): void {
    const at = this.reserve(2)
    this.view.setUint16(at, value)
    this.length = at + 2
  }

  putLong(value: number): void {
    const at = this.reserve(4)
    this.view.setUint32(at, value)
    this.length = at + 4
  }

  /** @param value a safe integer, 0 or more */
  putLongLong(value: number): void {
    const at = this.reserve(8)
    setLongLong(this.view, at, value)
    this.length = at + 8
  }

  putBigLongLong(value: bigint): void {
    const at = this.reserve(8)
    this.view.setBigUint64(at, value)
    this.length = at + 8
  }

  putFloat(value: number): void {
    const at = this.reserve(4)
    this.view.setFloat32(at, value)
    this.length = at + 4
  }

  putDouble(value: number): void {
    const at = this.reserve(8)
    this.view.setFloat64(at, value)
    this.length = at + 8
  }

  putBytes(value: Uint8Array): void {
    const at = this.reserve(value.length)
    this.bytes.set(value, at)
    this.length = at + value.length
  }

  /** A length octet and UTF-8. More than 255 octets is our own mistake: limit names where they enter. */
  putShortString(text: string): void {
    const size = utf8Length(text)
    assert(size <= SHORT_STRING_OCTETS_MAX, 'a short string has at most 255 octets')
    const at = this.reserve(1 + size)
    this.bytes[at] = size
    this.length = writeUtf8(this.bytes, at + 1, text)
  }

  /** A short string for people, cut at a character to fit: it may quote names of any length. */
  putReplyText(text: string): void {
    this.putShortString(cutToUtf8(text, SHORT_STRING_OCTETS_MAX))
  }

  /** A 32-bit length and the octets, of text in UTF-8. */
  putLongString(value: string | Uint8Array): void {
    if (typeof value !== 'string') {
      this.putLong(value.length)
      this.putBytes(value)
      return
    }
    const size = utf8Length(value)
    this.putLong(size)
    const at = this.reserve(size)
    this.length = writeUtf8(this.bytes, at, value)
  }

  #grow(needed: number): void {
    const bytes = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    bytes.set(this.bytes.subarray(0, this.length))
    this.#replace(bytes)
  }

  #replace(bytes: Uint8Array): void {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
  }
}

/** Writes a safe integer as 64 bits: two words, since bigints cost an allocation. */
export function setLongLong(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 0x1_0000_0000))
  view.setUint32(at + 4, value >>> 0)
}

/** `text` as a short string with its length octet, for writers that copy it often (a consumer tag). */
export function shortStringBytes(text: string): Uint8Array {
  const size = utf8Length(text)
  assert(size <= SHORT_STRING_OCTETS_MAX, 'a short string has at most 255 octets')
  const bytes = new Uint8Array(1 + size)
  bytes[0] = size
  writeUtf8(bytes, 1, text)
  return bytes
}
