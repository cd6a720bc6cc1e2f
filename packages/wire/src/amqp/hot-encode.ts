import { copyRange } from '@stathmos/std'
import { FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_HEADER_SIZE, FRAME_METHOD, FRAME_OVERHEAD } from './frame.ts'
import { BASIC_ACK, BASIC_NACK, CLASS_BASIC } from './hot-decode.ts'
import { METHOD_ID } from './methods.gen.ts'
import { setLongLong } from './output-buffer.ts'

/**
 * What goes out once per message, written straight into the output from the bytes of the stored message.
 * Nothing is allocated. The caller has made room (the `…Size` functions say how much, exactly), and `out` and `outView`,
 * `source` and `sourceView` are the same memory. Every writer returns where it ended.
 *
 * A message is: `address`, the two short strings exchange and routing key; `props`, property flags and list; `body`.
 * A property list is never split, so a header frame is as long as it is, whatever the frame-max.
 */

const BASIC_DELIVER = METHOD_ID['basic.deliver']
const BASIC_RETURN = METHOD_ID['basic.return']
const BASIC_GET_OK = METHOD_ID['basic.get-ok']

/** Class id, weight and body size, before the property flags. */
const CONTENT_HEADER_SIZE = 12

/** Frame, ids, delivery tag and bits of a basic.ack or basic.nack. */
export const SETTLE_FRAME_SIZE = FRAME_OVERHEAD + 13

/** Frame, ids, delivery tag and redelivered: what a basic.deliver has beside consumer tag and address. */
const DELIVER_FIXED_SIZE = FRAME_OVERHEAD + 13

/** Frame, ids, delivery tag, redelivered and message count: what a basic.get-ok has beside the address. */
const GET_OK_FIXED_SIZE = FRAME_OVERHEAD + 17

/** Frame, ids and reply code: what a basic.return has beside reply text and address. */
const RETURN_FIXED_SIZE = FRAME_OVERHEAD + 6

/** Octets of header frame and body frames. @param frameMax 0 for no limit */
export function contentSize(propsSize: number, bodySize: number, frameMax: number): number {
  const headerSize = FRAME_OVERHEAD + CONTENT_HEADER_SIZE + propsSize
  if (bodySize === 0) return headerSize
  const frames = frameMax === 0 ? 1 : Math.ceil(bodySize / (frameMax - FRAME_OVERHEAD))
  return headerSize + bodySize + frames * FRAME_OVERHEAD
}

/** Octets that {@link encodeDelivery} writes. @param tagSize of the consumer tag with its length octet */
export function deliverySize(
  tagSize: number,
  addressSize: number,
  propsSize: number,
  bodySize: number,
  frameMax: number,
): number {
  return DELIVER_FIXED_SIZE + tagSize + addressSize + contentSize(propsSize, bodySize, frameMax)
}

/** Octets that {@link encodeGetOk} writes. */
export function getOkSize(addressSize: number, propsSize: number, bodySize: number, frameMax: number): number {
  return GET_OK_FIXED_SIZE + addressSize + contentSize(propsSize, bodySize, frameMax)
}

/** Octets that {@link encodeReturn} writes. @param replyTextSize with its length octet */
export function returnSize(
  replyTextSize: number,
  addressSize: number,
  propsSize: number,
  bodySize: number,
  frameMax: number,
): number {
  return RETURN_FIXED_SIZE + replyTextSize + addressSize + contentSize(propsSize, bodySize, frameMax)
}

/** Writes a basic.deliver with its content. @param consumerTag a short string with its length octet */
export function encodeDelivery(
  out: Uint8Array,
  outView: DataView,
  start: number,
  channel: number,
  consumerTag: Uint8Array,
  deliveryTag: number,
  redelivered: boolean,
  source: Uint8Array,
  sourceView: DataView,
  addressStart: number,
  addressEnd: number,
  propsStart: number,
  propsEnd: number,
  bodyStart: number,
  bodyEnd: number,
  frameMax: number,
): number {
  const tagSize = consumerTag.length
  const size = DELIVER_FIXED_SIZE - FRAME_OVERHEAD + tagSize + addressEnd - addressStart
  let at = putMethodStart(out, outView, start, channel, size, BASIC_DELIVER)
  for (let i = 0; i < tagSize; i++) out[at++] = consumerTag[i] as number
  setLongLong(outView, at, deliveryTag)
  out[at + 8] = redelivered ? 1 : 0
  at = copyRange(out, outView, at + 9, source, sourceView, addressStart, addressEnd)
  out[at++] = FRAME_END
  return putContent(out, outView, at, channel, source, sourceView, propsStart, propsEnd, bodyStart, bodyEnd, frameMax)
}

/** Writes a basic.get-ok with its content. @param messageCount how many are left in the queue */
export function encodeGetOk(
  out: Uint8Array,
  outView: DataView,
  start: number,
  channel: number,
  deliveryTag: number,
  redelivered: boolean,
  messageCount: number,
  source: Uint8Array,
  sourceView: DataView,
  addressStart: number,
  addressEnd: number,
  propsStart: number,
  propsEnd: number,
  bodyStart: number,
  bodyEnd: number,
  frameMax: number,
): number {
  const size = GET_OK_FIXED_SIZE - FRAME_OVERHEAD + addressEnd - addressStart
  let at = putMethodStart(out, outView, start, channel, size, BASIC_GET_OK)
  setLongLong(outView, at, deliveryTag)
  out[at + 8] = redelivered ? 1 : 0
  at = copyRange(out, outView, at + 9, source, sourceView, addressStart, addressEnd)
  outView.setUint32(at, messageCount)
  out[at + 4] = FRAME_END
  return putContent(
    out,
    outView,
    at + 5,
    channel,
    source,
    sourceView,
    propsStart,
    propsEnd,
    bodyStart,
    bodyEnd,
    frameMax,
  )
}

/** Writes a basic.return with its content. @param replyText a short string with its length octet */
export function encodeReturn(
  out: Uint8Array,
  outView: DataView,
  start: number,
  channel: number,
  replyCode: number,
  replyText: Uint8Array,
  source: Uint8Array,
  sourceView: DataView,
  addressStart: number,
  addressEnd: number,
  propsStart: number,
  propsEnd: number,
  bodyStart: number,
  bodyEnd: number,
  frameMax: number,
): number {
  const textSize = replyText.length
  const size = RETURN_FIXED_SIZE - FRAME_OVERHEAD + textSize + addressEnd - addressStart
  let at = putMethodStart(out, outView, start, channel, size, BASIC_RETURN)
  outView.setUint16(at, replyCode)
  at += 2
  for (let i = 0; i < textSize; i++) out[at++] = replyText[i] as number
  at = copyRange(out, outView, at, source, sourceView, addressStart, addressEnd)
  out[at++] = FRAME_END
  return putContent(out, outView, at, channel, source, sourceView, propsStart, propsEnd, bodyStart, bodyEnd, frameMax)
}

/** Writes a basic.ack, {@link SETTLE_FRAME_SIZE} octets. */
export function encodeAck(
  out: Uint8Array,
  outView: DataView,
  start: number,
  channel: number,
  deliveryTag: number,
  multiple: boolean,
): number {
  return putSettle(out, outView, start, channel, BASIC_ACK, deliveryTag, multiple ? 1 : 0)
}

/** Writes a basic.nack without requeue, {@link SETTLE_FRAME_SIZE} octets: how a broker says that it has not kept it. */
export function encodeNack(
  out: Uint8Array,
  outView: DataView,
  start: number,
  channel: number,
  deliveryTag: number,
  multiple: boolean,
): number {
  return putSettle(out, outView, start, channel, BASIC_NACK, deliveryTag, multiple ? 1 : 0)
}

function putSettle(
  out: Uint8Array,
  outView: DataView,
  start: number,
  channel: number,
  methodId: number,
  deliveryTag: number,
  bits: number,
): number {
  const at = putMethodStart(out, outView, start, channel, SETTLE_FRAME_SIZE - FRAME_OVERHEAD, methodId)
  setLongLong(outView, at, deliveryTag)
  out[at + 8] = bits
  out[at + 9] = FRAME_END
  return at + 10
}

/** Frame header and method id; `size` is that of the payload. */
function putMethodStart(
  out: Uint8Array,
  outView: DataView,
  at: number,
  channel: number,
  size: number,
  methodId: number,
): number {
  out[at] = FRAME_METHOD
  outView.setUint16(at + 1, channel)
  outView.setUint32(at + 3, size)
  outView.setUint32(at + 7, methodId)
  return at + 11
}

/** Header frame and body frames. An empty body has no frame (AMQP 0-9-1 §4.2.6.2). */
function putContent(
  out: Uint8Array,
  outView: DataView,
  start: number,
  channel: number,
  source: Uint8Array,
  sourceView: DataView,
  propsStart: number,
  propsEnd: number,
  bodyStart: number,
  bodyEnd: number,
  frameMax: number,
): number {
  out[start] = FRAME_HEADER
  outView.setUint16(start + 1, channel)
  outView.setUint32(start + 3, CONTENT_HEADER_SIZE + propsEnd - propsStart)
  // Class id and the weight, which is always 0.
  outView.setUint32(start + 7, CLASS_BASIC << 16)
  setLongLong(outView, start + 11, bodyEnd - bodyStart)
  let at = copyRange(out, outView, start + 19, source, sourceView, propsStart, propsEnd)
  out[at++] = FRAME_END

  const payloadMax = frameMax === 0 ? bodyEnd - bodyStart : frameMax - FRAME_OVERHEAD
  let from = bodyStart
  while (from < bodyEnd) {
    const to = Math.min(from + payloadMax, bodyEnd)
    out[at] = FRAME_BODY
    outView.setUint16(at + 1, channel)
    outView.setUint32(at + 3, to - from)
    at = copyRange(out, outView, at + FRAME_HEADER_SIZE, source, sourceView, from, to)
    out[at++] = FRAME_END
    from = to
  }
  return at
}
