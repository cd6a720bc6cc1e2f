import { REPLY, ProtocolError } from './errors.ts'
import { METHOD_ID } from './methods.gen.ts'
import { readLongLong, readOctet, requireEnd, requireOctets, shortStringEnd } from './primitives.ts'

/**
 * The methods that come once per message, read into reused objects of numbers: no allocation, no strings.
 * All take the payload of a method frame, whose first four octets the caller has read ({@link METHOD_ID}).
 */

export const BASIC_PUBLISH = METHOD_ID['basic.publish']
export const BASIC_ACK = METHOD_ID['basic.ack']
export const BASIC_REJECT = METHOD_ID['basic.reject']
export const BASIC_NACK = METHOD_ID['basic.nack']

/** Class id of everything about messages, as a content header names it. */
export const CLASS_BASIC = BASIC_PUBLISH >>> 16

/** Octets of class id and method id. */
const ID_SIZE = 4

/** A basic.publish. */
export class PublishScan {
  /** Exchange and routing key as two adjacent short strings, each with its length octet. Not checked to be UTF-8. */
  addressStart = 0
  addressEnd = 0
  /** Where the routing key's length octet is. */
  keyStart = 0
  mandatory = false
  immediate = false

  /** @throws {ProtocolError} 502 where the payload is not one basic.publish */
  read(bytes: Uint8Array, start: number, end: number): void {
    const addressStart = start + ID_SIZE + 2
    const keyStart = shortStringEnd(bytes, addressStart, end)
    const addressEnd = shortStringEnd(bytes, keyStart, end)
    const bits = readOctet(bytes, addressEnd, end)
    requireEnd(addressEnd + 1, end)
    this.addressStart = addressStart
    this.addressEnd = addressEnd
    this.keyStart = keyStart
    this.mandatory = (bits & 1) !== 0
    this.immediate = (bits & 2) !== 0
  }
}

/** The content header that follows a basic.publish: class id, weight, body size, properties. */
export class ContentHeaderScan {
  bodySize = 0
  /** Where the property flags begin; the list ends with the payload. */
  propertiesStart = 0

  /** @throws {ProtocolError} 505 for the header of another class, 502 where the payload is no content header */
  read(view: DataView, start: number, end: number): void {
    requireOctets(start, 14, end, 'a content header')
    const classId = view.getUint16(start)
    if (classId !== CLASS_BASIC) {
      throw new ProtocolError(REPLY.unexpectedFrame, `a content header of class ${CLASS_BASIC}`, `${classId}`, start)
    }
    const weight = view.getUint16(start + 2)
    if (weight !== 0) throw new ProtocolError(REPLY.syntaxError, 'weight 0', `${weight}`, start + 2)
    this.bodySize = readLongLong(view, start + 4, end)
    this.propertiesStart = start + 12
  }
}

/** A basic.ack, basic.nack or basic.reject; each read sets every field. */
export class SettleScan {
  /** 0 with `multiple`: all that are outstanding. */
  deliveryTag = 0
  multiple = false
  requeue = false

  /** @throws {ProtocolError} 502 where the payload is not one basic.ack */
  readAck(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    this.multiple = (this.#read(bytes, view, start, end) & 1) !== 0
    this.requeue = false
  }

  /** @throws {ProtocolError} 502 where the payload is not one basic.nack */
  readNack(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const bits = this.#read(bytes, view, start, end)
    this.multiple = (bits & 1) !== 0
    this.requeue = (bits & 2) !== 0
  }

  /** @throws {ProtocolError} 502 where the payload is not one basic.reject */
  readReject(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    this.multiple = false
    this.requeue = (this.#read(bytes, view, start, end) & 1) !== 0
  }

  #read(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    const tag = readLongLong(view, start + ID_SIZE, end)
    const bits = readOctet(bytes, start + ID_SIZE + 8, end)
    requireEnd(start + ID_SIZE + 9, end)
    this.deliveryTag = tag
    return bits
  }
}
