import { expect, test } from 'vitest'
import {
  decodeFileHeader,
  encodeFileHeader,
  FILE_HEADER_BYTES,
  journalFileName,
  parseJournalFileName,
} from './file-header.ts'

const HEADER = {
  number: 17,
  generation: 2,
  salt: 0xcafef00d,
  floor: 2 ** 40 + 5,
  epoch: 3,
  incarnation: '000102030405060708090a0b0c0d0e0f',
}

test('a file header has the layout that FORMAT.md describes', () => {
  const bytes = Buffer.from(encodeFileHeader(HEADER))
  expect(bytes.length).toBe(FILE_HEADER_BYTES)
  expect(bytes.subarray(0, 56).toString('hex')).toBe(
    [
      '53544154484a4e4c', // "STATHJNL"
      '0100', // version
      '0100', // kind: rewritten
      '0df0feca', // salt
      '0500000000010000', // floor
      '03000000', // epoch
      '02000000', // generation
      '1100000000000000', // number
      '000102030405060708090a0b0c0d0e0f', // incarnation
    ].join(''),
  )
  expect(decodeFileHeader(bytes)).toEqual(HEADER)
})

test('a header with a changed bit, or cut short, is refused with the reason', () => {
  const bytes = encodeFileHeader(HEADER)
  for (let bit = 0; bit < bytes.length * 8; bit += 13) {
    const rotten = bytes.slice()
    rotten[bit >>> 3]! ^= 1 << (bit & 7)
    expect(decodeFileHeader(rotten)).toBeTypeOf('string')
  }
  expect(decodeFileHeader(bytes.subarray(0, FILE_HEADER_BYTES - 1))).toMatch(/cut short/)
})

test('file names and numbers belong together, and other names are nobody’s', () => {
  expect(journalFileName(17, 0)).toBe('0000000017.jnl')
  expect(journalFileName(17, 2)).toBe('0000000017.2.jnl')
  for (const [number, generation] of [
    [1, 0],
    [17, 2],
    [12345678901, 0],
  ] as const) {
    expect(parseJournalFileName(journalFileName(number, generation))).toEqual({ number, generation })
  }
  for (const name of ['reserve', '17.jnl', '0000000017.jnl.tmp', 'x0000000017.jnl', '0000000017.x.jnl']) {
    expect(parseJournalFileName(name)).toBeNull()
  }
})
