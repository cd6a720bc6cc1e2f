import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { copyRange } from '@stathmos/std'
import { FRAME_BODY, FRAME_HEADER, FRAME_METHOD, FrameScan } from './frame.ts'
import { ContentHeaderScan } from './hot-decode.ts'
import {
  SETTLE_FRAME_SIZE,
  deliverySize,
  encodeAck,
  encodeDelivery,
  encodeGetOk,
  encodeNack,
  encodeReturn,
  getOkSize,
  returnSize,
} from './hot-encode.ts'
import { decodeMethod } from './methods.gen.ts'
import type { Method } from './methods.gen.ts'
import { octets, viewOf } from './octets.ts'
import { shortStringBytes } from './output-buffer.ts'

interface Stored {
  readonly source: Uint8Array
  readonly addressStart: number
  readonly addressEnd: number
  readonly propsEnd: number
  readonly bodyEnd: number
}

/** A message in the middle of other bytes, as it lies in a block that was read from disk. */
function stored(exchange: string, key: string, props: Uint8Array, body: Uint8Array): Stored {
  const address = [...shortStringBytes(exchange), ...shortStringBytes(key)]
  const source = Uint8Array.of(0xaa, 0xaa, 0xaa, ...address, ...props, ...body, 0xaa)
  const addressEnd = 3 + address.length
  const propsEnd = addressEnd + props.length
  return { source, addressStart: 3, addressEnd, propsEnd, bodyEnd: propsEnd + body.length }
}

type Encode = (out: Uint8Array, start: number) => number

function deliver(message: Stored, tag: string, deliveryTag: number, redelivered: boolean, frameMax: number): Encode {
  const { source, addressStart, addressEnd, propsEnd, bodyEnd } = message
  return (out, start) =>
    encodeDelivery(
      out,
      viewOf(out),
      start,
      5,
      shortStringBytes(tag),
      deliveryTag,
      redelivered,
      source,
      viewOf(source),
      addressStart,
      addressEnd,
      addressEnd,
      propsEnd,
      propsEnd,
      bodyEnd,
      frameMax,
    )
}

/** Encodes where nothing but the promised octets may change. */
function encode(size: number, run: Encode): Uint8Array {
  const out = new Uint8Array(size + 4).fill(0xbb)
  expect(run(out, 2)).toBe(2 + size)
  expect([out[0], out[1], out[size + 2], out[size + 3]]).toEqual([0xbb, 0xbb, 0xbb, 0xbb])
  return out.slice(2, size + 2)
}

/** Reads back what a client would: the method, the property list, and the body put together. */
function receive(bytes: Uint8Array, frameMax: number): { method: Method; props: Uint8Array; body: Uint8Array } {
  const view = viewOf(bytes)
  const frame = new FrameScan()
  const next = (type: number): void => {
    expect(frame.read(bytes, view, frame.next, bytes.length, 0)).toBe(true)
    expect(frame).toMatchObject({ type, channel: 5 })
  }
  next(FRAME_METHOD)
  const method = decodeMethod(view, bytes, frame.payloadStart, frame.payloadEnd)
  next(FRAME_HEADER)
  const header = new ContentHeaderScan()
  header.read(view, frame.payloadStart, frame.payloadEnd)
  const props = bytes.slice(header.propertiesStart, frame.payloadEnd)
  const body: number[] = []
  while (frame.next < bytes.length) {
    const start = frame.next
    next(FRAME_BODY)
    expect(frame.payloadEnd).toBeGreaterThan(frame.payloadStart)
    if (frameMax !== 0) expect(frame.next - start).toBeLessThanOrEqual(frameMax)
    body.push(...bytes.subarray(frame.payloadStart, frame.payloadEnd))
  }
  expect(body.length).toBe(header.bodySize)
  return { method, props, body: Uint8Array.from(body) }
}

test('a delivery is a method, a header and a body frame [4.2.6]', () => {
  const message = stored('ex', 'key', octets('1000 02'), octets(`'hello'`))
  const bytes = encode(deliverySize(3, 7, 3, 5, 4096), deliver(message, 'c1', 7, true, 4096))
  expect(bytes).toEqual(
    octets(`
      01 0005 00000017 003c 003c [deliver] 02'c1' 0000000000000007 01 [redelivered] 02'ex' 03'key' ce
      02 0005 0000000f 003c 0000 [weight] 0000000000000005 [body size] 1000 02 [persistent] ce
      03 0005 00000005 'hello' ce`),
  )
})

test('a message without a body has no body frame [4.2.6.2]', () => {
  const message = stored('', 'q', octets('0000'), octets(''))
  const bytes = encode(deliverySize(1, 3, 2, 0, 4096), deliver(message, '', 1, false, 4096))
  expect(bytes).toEqual(
    octets(`
      01 0005 00000011 003c 003c [deliver] 00 0000000000000001 00 00 01'q' ce
      02 0005 0000000e 003c 0000 0000000000000000 0000 ce`),
  )
})

test('a get-ok says how many are left', () => {
  const message = stored('ex', 'key', octets('0000'), octets(`'hi'`))
  const { source, addressStart, addressEnd, propsEnd, bodyEnd } = message
  const bytes = encode(getOkSize(7, 2, 2, 0), (out, at) =>
    encodeGetOk(
      out,
      viewOf(out),
      at,
      5,
      2 ** 40,
      false,
      3_000_000_000,
      source,
      viewOf(source),
      addressStart,
      addressEnd,
      addressEnd,
      propsEnd,
      propsEnd,
      bodyEnd,
      0,
    ),
  )
  expect(bytes).toEqual(
    octets(`
      01 0005 00000018 003c 0047 [get-ok] 0000010000000000 00 02'ex' 03'key' b2d05e00 [left] ce
      02 0005 0000000e 003c 0000 0000000000000002 0000 ce
      03 0005 00000002 'hi' ce`),
  )
})

test('a return says why', () => {
  const message = stored('ex', 'key', octets('0000'), octets(`'hi'`))
  const { source, addressStart, addressEnd, propsEnd, bodyEnd } = message
  const reason = shortStringBytes('NO_ROUTE')
  const bytes = encode(returnSize(9, 7, 2, 2, 4096), (out, at) =>
    encodeReturn(
      out,
      viewOf(out),
      at,
      5,
      312,
      reason,
      source,
      viewOf(source),
      addressStart,
      addressEnd,
      addressEnd,
      propsEnd,
      propsEnd,
      bodyEnd,
      4096,
    ),
  )
  expect(bytes).toEqual(
    octets(`
      01 0005 00000016 003c 0032 [return] 0138 08'NO_ROUTE' 02'ex' 03'key' ce
      02 0005 0000000e 003c 0000 0000000000000002 0000 ce
      03 0005 00000002 'hi' ce`),
  )
})

test('confirms are an ack or a nack, for one or for all up to a tag [confirm]', () => {
  const acked = encode(SETTLE_FRAME_SIZE, (out, at) => encodeAck(out, viewOf(out), at, 5, 9, true))
  expect(acked).toEqual(octets(`01 0005 0000000d 003c 0050 [ack] 0000000000000009 01 ce`))
  const refused = encode(SETTLE_FRAME_SIZE, (out, at) => encodeNack(out, viewOf(out), at, 5, 2 ** 32, false))
  expect(refused).toEqual(octets(`01 0005 0000000d 003c 0078 [nack] 0000000100000000 00 ce`))
})

test.each([
  ['one octet short of two frames', 4088, 1],
  ['one octet into the second frame', 4089, 2],
  ['exactly two frames', 8176, 2],
])('a body of %s is split at frame-max', (_, bodySize, frames) => {
  const body = Uint8Array.from({ length: bodySize }, (__, i) => i * 31)
  const message = stored('', 'q', octets('0000'), body)
  const size = deliverySize(1, 3, 2, bodySize, 4096)
  const bytes = encode(size, deliver(message, '', 1, false, 4096))
  expect(receive(bytes, 4096).body).toEqual(body)
  expect(size).toBe(deliverySize(1, 3, 2, 0, 4096) + bodySize + frames * 8)
})

test('what is delivered is what was stored, whatever its size and the frame-max', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 12 })
  fc.assert(
    fc.property(
      name,
      name,
      name,
      fc.uint8Array({ minLength: 2, maxLength: 400 }),
      fc.uint8Array({ maxLength: 2000, size: 'max' }),
      fc.record({ deliveryTag: fc.maxSafeNat(), redelivered: fc.boolean() }),
      fc.constantFrom(0, 64, 136, 137, 4096),
      (exchange, key, consumerTag, props, body, facts, frameMax) => {
        const message = stored(exchange, key, props, body)
        const tagSize = shortStringBytes(consumerTag).length
        const addressSize = message.addressEnd - message.addressStart
        const size = deliverySize(tagSize, addressSize, props.length, body.length, frameMax)
        const run = deliver(message, consumerTag, facts.deliveryTag, facts.redelivered, frameMax)
        const received = receive(encode(size, run), frameMax)
        expect(received).toEqual({
          method: { name: 'basic.deliver', consumerTag, ...facts, exchange, routingKey: key },
          props,
          body,
        })
      },
    ),
  )
})

test('ranges of every length and alignment are copied exactly', () => {
  const source = Uint8Array.from({ length: 400 }, (_, i) => i * 7 + 1)
  for (let size = 0; size <= 180; size++) {
    const start = size % 9
    const at = size % 7
    const out = new Uint8Array(400)
    expect(copyRange(out, viewOf(out), at, source, viewOf(source), start, start + size)).toBe(at + size)
    const expected = new Uint8Array(400)
    expected.set(source.subarray(start, start + size), at)
    expect(out).toEqual(expected)
  }
})
