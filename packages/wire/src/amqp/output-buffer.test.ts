import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { octets } from './octets.ts'
import { OutputBuffer, shortStringBytes } from './output-buffer.ts'
import { cutToUtf8, utf8Length } from './utf8.ts'

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(fc.nat(0xffff)).map((u) => String.fromCharCode(...u)),
)

test('numbers are written most significant octet first', () => {
  const out = new OutputBuffer(1)
  out.putOctet(1)
  out.putShort(0x0203)
  out.putLong(0x04050607)
  out.putLongLong(Number.MAX_SAFE_INTEGER)
  out.putBigLongLong(-2n)
  out.putFloat(1.5)
  out.putDouble(-0.1)
  expect(out.written()).toEqual(octets(`01 0203 04050607 001fffffffffffff fffffffffffffffe 3fc00000 bfb999999999999a`))
})

test('text is written as UTF-8 as the platform does, lone surrogates included', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const expected = new TextEncoder().encode(text)
      expect(utf8Length(text)).toBe(expected.length)
      const out = new OutputBuffer(1)
      out.putLongString(text)
      expect(out.written().slice(4)).toEqual(expected)
      expect(new DataView(out.bytes.buffer).getUint32(0)).toBe(expected.length)
    }),
  )
})

test('text is cut at a character, at the last that fits', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(40), (text, octetsMax) => {
      const cut = cutToUtf8(text, octetsMax)
      expect(text.startsWith(cut)).toBe(true)
      expect(utf8Length(cut)).toBeLessThanOrEqual(octetsMax)
      const next = text.codePointAt(cut.length)
      if (next !== undefined) expect(utf8Length(cut + String.fromCodePoint(next))).toBeGreaterThan(octetsMax)
    }),
  )
})

test('a short string of 255 octets is written, a longer one is our own mistake', () => {
  const out = new OutputBuffer(1)
  out.putShortString('é'.repeat(127) + 'x')
  expect(out.written().subarray(0, 1)).toEqual(octets('ff'))
  expect(() => out.putShortString('é'.repeat(128))).toThrow('a short string has at most 255 octets')
  expect(() => shortStringBytes('x'.repeat(256))).toThrow('a short string has at most 255 octets')
})

test('room reserved is there, and does not count until the length is moved', () => {
  const out = new OutputBuffer(4)
  out.putShort(0x0102)
  const at = out.reserve(100)
  expect(at).toBe(2)
  expect(out.bytes.length).toBeGreaterThanOrEqual(102)
  expect(out.written()).toEqual(octets('0102'))
})

test('reset starts again in the same memory, and gives back what a burst took', () => {
  const out = new OutputBuffer(8)
  const memory = out.bytes
  out.putLong(1)
  out.reset()
  expect(out.bytes).toBe(memory)
  out.putBytes(new Uint8Array(1000))
  out.reset()
  expect([out.bytes.length, out.length]).toEqual([8, 0])
  out.putOctet(7)
  expect(out.written()).toEqual(octets('07'))
})
