import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ProtocolError } from './errors.ts'
import { FRAME_METHOD, FrameScan, HEARTBEAT, PROTOCOL_HEADER, beginFrame, endFrame } from './frame.ts'
import { octets, viewOf } from './octets.ts'
import { OutputBuffer } from './output-buffer.ts'

const sample = octets(`01 0005 00000003 'abc' ce`)

function read(bytes: Uint8Array, frameMax = 4096): FrameScan | 'more' {
  const frame = new FrameScan()
  return frame.read(bytes, viewOf(bytes), 0, bytes.length, frameMax) ? frame : 'more'
}

test('the protocol header says AMQP 0-9-1 [4.2.2]', () => {
  expect(PROTOCOL_HEADER).toEqual(octets(`'AMQP' 00 00 09 01`))
})

test('a frame is found with its type, channel and payload [4.2.3]', () => {
  expect(read(sample)).toEqual({ type: 1, channel: 5, payloadStart: 7, payloadEnd: 10, next: 11 })
})

test('a heartbeat is a frame without payload', () => {
  expect(read(HEARTBEAT)).toMatchObject({ type: 8, channel: 0, payloadStart: 7, payloadEnd: 7, next: 8 })
})

test('frames follow each other in one chunk', () => {
  const chunk = Uint8Array.of(0xff, ...sample, ...HEARTBEAT)
  const frame = new FrameScan()
  expect(frame.read(chunk, viewOf(chunk), 1, chunk.length, 4096)).toBe(true)
  expect(frame.read(chunk, viewOf(chunk), frame.next, chunk.length, 4096)).toBe(true)
  expect(frame).toMatchObject({ type: 8, next: chunk.length })
})

test('cut short anywhere, a frame needs more', () => {
  for (let size = 0; size < sample.length; size++) expect(read(sample.slice(0, size))).toBe('more')
})

test.each([
  ['an unknown type, at the first octet', `04`, { code: 501, received: 'type 4', offset: 0 }],
  ['the letters of another protocol', `'GET / HTTP/1.1'`, { code: 501, offset: 0 }],
  ['a wrong frame end', `01 0005 00000001 'a' cf`, { code: 501, received: '207', offset: 8 }],
  ['a size above frame-max, before its payload has come', `03 0001 00000ff9`, { code: 501, received: '4097 octets' }],
])('%s is a frame error', (_, bytes, error) => {
  expect(() => read(octets(bytes))).toThrow(expect.objectContaining({ name: 'ProtocolError', ...error }))
})

test('a frame of exactly frame-max is taken, and frame-max 0 sets no limit', () => {
  expect(read(octets(`03 0001 00000ff8`))).toBe('more')
  expect(read(octets(`03 0001 ffffffff`), 0)).toBe('more')
})

test('a frame is written around a payload of any size', () => {
  const out = new OutputBuffer(4)
  const frame = beginFrame(out, FRAME_METHOD, 5)
  out.putBytes(octets(`'abc'`))
  endFrame(out, frame)
  expect(out.written()).toEqual(sample)
})

test('random octets never throw anything but ProtocolError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 32 }), fc.constantFrom(0, 4096), (bytes, frameMax) => {
      try {
        read(bytes, frameMax)
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError)
      }
    }),
  )
})
