import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  FRAME_HEADER_BYTES,
  FRAME_RECORDS,
  frameEpoch,
  frameIntact,
  frameKind,
  frameLength,
  framePosition,
  getPosition,
  sealFrame,
  setPosition,
} from './frame.ts'

const STAMP = { kind: FRAME_RECORDS, position: 0x0000_0012_3456_789a, epoch: 7, salt: 0xdeadbeef }

function sealed(record: Uint8Array, stamp = STAMP): Buffer {
  const head = new Uint8Array(FRAME_HEADER_BYTES)
  sealFrame([head, record], FRAME_HEADER_BYTES + record.length, stamp)
  return Buffer.concat([head, record])
}

const viewOf = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

test('a frame begins with the header that FORMAT.md describes', () => {
  const bytes = sealed(Buffer.from('ab'))
  const crc = bytes.subarray(12, 16).toString('hex')
  expect(bytes.toString('hex')).toBe(
    [
      '53544d46', // magic "STMF"
      '01', // version
      '00', // kind: records
      '0000',
      '22000000', // length: 34
      crc,
      '9a78563412000000', // position
      '07000000', // epoch
      '6d48839e', // CRC-32 of the records
      '6162', // the records
    ].join(''),
  )
  expect(crc).toBe('ee8794b7')
  const view = viewOf(bytes)
  expect(frameLength(view, 0)).toBe(34)
  expect([frameKind(view, 0), framePosition(view, 0), frameEpoch(view, 0)]).toEqual([0, STAMP.position, 7])
  expect(frameIntact(bytes, view, 0, 34, STAMP.salt)).toBe(true)
})

test('any changed bit fails the check', () => {
  const bytes = sealed(Buffer.from('some records'))
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const rotten = Buffer.from(bytes)
    rotten[bit >>> 3]! ^= 1 << (bit & 7)
    const view = viewOf(rotten)
    const length = frameLength(view, 0)
    expect(length === bytes.length && frameIntact(rotten, view, 0, length, STAMP.salt), `bit ${bit}`).toBe(false)
  }
})

test('a frame passes with its own salt and with no other', () => {
  const bytes = sealed(Buffer.from('some records'))
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (salt) => {
      expect(frameIntact(bytes, viewOf(bytes), 0, bytes.length, salt)).toBe(salt === STAMP.salt)
    }),
  )
})

test('how a frame is cut into pieces makes no difference', () => {
  const record = Buffer.from('some records in a row')
  const whole = sealed(record)
  for (let cut = 0; cut <= record.length; cut++) {
    const pieces = [new Uint8Array(FRAME_HEADER_BYTES), record.subarray(0, cut), record.subarray(cut)]
    sealFrame(pieces, whole.length, STAMP)
    expect(Buffer.concat(pieces)).toEqual(whole)
    const joined = Buffer.concat([new Uint8Array(FRAME_HEADER_BYTES), record])
    sealFrame([joined], joined.length, STAMP)
    expect(joined).toEqual(whole)
  }
})

test('every safe integer is a position', () => {
  const view = new DataView(new ArrayBuffer(8))
  fc.assert(
    fc.property(fc.maxSafeNat(), (position) => {
      setPosition(view, 0, position)
      expect(getPosition(view, 0)).toBe(position)
    }),
  )
  setPosition(view, 0, Number.MAX_SAFE_INTEGER)
  expect(getPosition(view, 0)).toBe(Number.MAX_SAFE_INTEGER)
})
