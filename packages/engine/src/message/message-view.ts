import { copyOf } from '@stathmos/std'
import { NO_HISTORY, type Death, type History } from './death.ts'
import {
  FLAG_PERSISTENT,
  MESSAGE_ADDRESS_LENGTH,
  MESSAGE_BODY_LENGTH,
  MESSAGE_EXPIRES,
  MESSAGE_EXTENSION_LENGTH,
  MESSAGE_FLAGS,
  MESSAGE_HEADER_BYTES,
  MESSAGE_ORIGIN_KIND,
  MESSAGE_ORIGIN_LENGTH,
  MESSAGE_PLACES,
  MESSAGE_PRIORITY,
  MESSAGE_TIMESTAMP,
  PLACE_BYTES,
} from '../storage/record.ts'
import { decodeExtension } from './extension.ts'

const UTF8 = new TextDecoder()
const NO_BYTES = new Uint8Array(0)

/** A stored message, read in place. One object is reused: valid during the call that hands it over only. */
export class MessageView {
  /** Where the message is in the journal; its id within the broker. */
  position = 0
  bytes: Uint8Array = NO_BYTES
  view: DataView = new DataView(NO_BYTES.buffer)
  /** `[addressStart, addressEnd)`: exchange and routing key, each a length octet and UTF-8. */
  addressStart = 0
  addressEnd = 0
  originKind = 0
  originStart = 0
  originEnd = 0
  bodyStart = 0
  bodyEnd = 0
  persistent = false
  priority = 0
  timestampMs = 0
  /** ms since 1970; 0: never. */
  expiresAtMs = 0
  /** It may have been in somebody's hands before. */
  redelivered = false
  /** Failed attempts before this one. */
  attempts = 0
  #start = 0
  #extensionStart = 0
  #extensionEnd = 0

  /** Points at the record at `at`. */
  read(bytes: Uint8Array, view: DataView, at: number, position: number): this {
    this.position = position
    this.#start = at
    this.bytes = bytes
    this.view = view
    this.persistent = (bytes[at + MESSAGE_FLAGS]! & FLAG_PERSISTENT) !== 0
    this.originKind = bytes[at + MESSAGE_ORIGIN_KIND]!
    this.priority = bytes[at + MESSAGE_PRIORITY]!
    this.timestampMs = view.getFloat64(at + MESSAGE_TIMESTAMP, true)
    this.expiresAtMs = view.getFloat64(at + MESSAGE_EXPIRES, true)
    const address = at + MESSAGE_HEADER_BYTES + view.getUint32(at + MESSAGE_PLACES, true) * PLACE_BYTES
    const origin = address + view.getUint16(at + MESSAGE_ADDRESS_LENGTH, true)
    const extension = origin + view.getUint32(at + MESSAGE_ORIGIN_LENGTH, true)
    const body = extension + view.getUint32(at + MESSAGE_EXTENSION_LENGTH, true)
    this.addressStart = address
    this.addressEnd = origin
    this.originStart = origin
    this.originEnd = extension
    this.#extensionStart = extension
    this.#extensionEnd = body
    this.bodyStart = body
    this.bodyEnd = body + view.getUint32(at + MESSAGE_BODY_LENGTH, true)
    return this
  }

  /** The exchange it was published to. */
  get exchange(): string {
    const start = this.addressStart + 1
    return UTF8.decode(this.bytes.subarray(start, start + this.bytes[this.addressStart]!))
  }

  /** The routing key it was published with. */
  get key(): string {
    const start = this.addressStart + 1 + this.bytes[this.addressStart]! + 1
    return UTF8.decode(this.bytes.subarray(start, this.addressEnd))
  }

  get hasHistory(): boolean {
    return this.#extensionEnd > this.#extensionStart
  }

  /** What happened to it before it came into this queue. */
  get history(): History {
    if (this.#extensionEnd === this.#extensionStart) return NO_HISTORY
    return decodeExtension(this.bytes.subarray(this.#extensionStart, this.#extensionEnd)).history ?? NO_HISTORY
  }

  get deaths(): readonly Death[] {
    return this.history.deaths
  }

  /** The message as it is stored, in memory of its own: valid for as long as somebody has it. */
  copy(): MessageView {
    const bytes = copyOf(this.bytes, this.#start, this.bodyEnd)
    return new MessageView().read(bytes, new DataView(bytes.buffer), 0, this.position)
  }

  /** Of the body and of the sender's opaque bytes. */
  get contentBytes(): number {
    return this.bodyEnd - this.bodyStart + this.originEnd - this.originStart
  }

  /** A copy of the body. */
  body(): Uint8Array {
    return copyOf(this.bytes, this.bodyStart, this.bodyEnd)
  }

  /** A copy of the sender's opaque bytes. */
  origin(): Uint8Array {
    return copyOf(this.bytes, this.originStart, this.originEnd)
  }
}
