import { REPLY, ProtocolError } from './errors.ts'
import type { OutputBuffer } from './output-buffer.ts'

/**
 * A frame (AMQP 0-9-1 §2.3.5):
 *
 *     type:octet  channel:short  size:long  payload:size octets  end:octet = 0xce
 */

export const FRAME_METHOD = 1
export const FRAME_HEADER = 2
export const FRAME_BODY = 3
export const FRAME_HEARTBEAT = 8

/** Octet that ends every frame (AMQP 0-9-1 §4.2.3). */
export const FRAME_END = 0xce

/** Octets before the payload. */
export const FRAME_HEADER_SIZE = 7

/** Octets of a frame that are not its payload: header and end. A negotiated frame-max includes them. */
export const FRAME_OVERHEAD = 8

/** The smallest frame-max that may be negotiated, and the limit before negotiation (AMQP 0-9-1 §4.9). */
export const FRAME_MIN_SIZE = 4096

/** The first octets of a connection: "AMQP", then protocol 0, version 0-9-1 (AMQP 0-9-1 §4.2.2). */
export const PROTOCOL_HEADER: Uint8Array = Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1)

export const HEARTBEAT: Uint8Array = Uint8Array.of(FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END)

/** Where the frame last read lies; reused for every frame of a connection. */
export class FrameScan {
  type = 0
  channel = 0
  payloadStart = 0
  payloadEnd = 0
  /** Where the next frame begins. */
  next = 0

  /**
   * Reads the frame at `start`. False: it is not all there yet, and nothing has changed.
   *
   * @param frameMax the negotiated limit in octets, 0 for none
   * @throws {ProtocolError} 501 as soon as the octets at hand show a type, a size or an end that cannot be
   */
  read(bytes: Uint8Array, view: DataView, start: number, end: number, frameMax: number): boolean {
    if (start >= end) return false
    const type = bytes[start] as number
    if (type !== FRAME_METHOD && type !== FRAME_HEADER && type !== FRAME_BODY && type !== FRAME_HEARTBEAT) {
      throw new ProtocolError(REPLY.frameError, 'a frame of type 1, 2, 3 or 8', `type ${type}`, start)
    }
    if (end - start < FRAME_HEADER_SIZE) return false
    const size = view.getUint32(start + 3)
    if (frameMax !== 0 && size > frameMax - FRAME_OVERHEAD) {
      const limit = `a frame of at most ${frameMax} octets`
      throw new ProtocolError(REPLY.frameError, limit, `${size + FRAME_OVERHEAD} octets`, start + 3)
    }
    const payloadStart = start + FRAME_HEADER_SIZE
    const payloadEnd = payloadStart + size
    if (payloadEnd >= end) return false
    if (bytes[payloadEnd] !== FRAME_END) {
      throw new ProtocolError(REPLY.frameError, `the frame end ${FRAME_END}`, String(bytes[payloadEnd]), payloadEnd)
    }
    this.type = type
    this.channel = view.getUint16(start + 1)
    this.payloadStart = payloadStart
    this.payloadEnd = payloadEnd
    this.next = payloadEnd + 1
    return true
  }
}

/** Begins a frame whose size is not known yet; hand what it returns to {@link endFrame}. */
export function beginFrame(out: OutputBuffer, type: number, channel: number): number {
  const start = out.reserve(FRAME_OVERHEAD)
  out.putOctet(type)
  out.putShort(channel)
  out.putLong(0)
  return start
}

export function endFrame(out: OutputBuffer, start: number): void {
  out.view.setUint32(start + 3, out.length - start - FRAME_HEADER_SIZE)
  out.putOctet(FRAME_END)
}
