import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ProtocolError } from './errors.ts'
import { octets, viewOf } from './octets.ts'
import { OutputBuffer } from './output-buffer.ts'
import { NO_PROPERTIES, PropertyScan, decodeProperties, encodeProperties, scanProperties } from './properties.ts'
import type { Properties } from './properties.ts'

const all = `
  fffc
  10'application/json' 04'gzip'
  0000000c 01'k' 'S' 00000005 'value'
  02 [delivery mode] 07 [priority]
  01'c' 02'rt' 05'60000' 01'm'
  000000006553f100 [timestamp]
  01't' 05'guest' 01'a' 01'z'`

const samples: readonly [bytes: string, properties: Properties][] = [
  ['0000 [none]', {}],
  [
    all,
    {
      contentType: 'application/json',
      contentEncoding: 'gzip',
      headers: new Map([['k', { type: 'S', value: 'value' }]]),
      deliveryMode: 2,
      priority: 7,
      correlationId: 'c',
      replyTo: 'rt',
      expiration: '60000',
      messageId: 'm',
      timestamp: 1_700_000_000n,
      type: 't',
      userId: 'guest',
      appId: 'a',
      clusterId: 'z',
    },
  ],
  [`8000 00`, { contentType: '' }],
  [`4000 01'e'`, { contentEncoding: 'e' }],
  [`2000 00000000`, { headers: new Map() }],
  [`1000 01`, { deliveryMode: 1 }],
  [`0800 ff`, { priority: 255 }],
  [`0400 01'c'`, { correlationId: 'c' }],
  [`0200 01'r'`, { replyTo: 'r' }],
  [`0100 01'0'`, { expiration: '0' }],
  [`0080 01'm'`, { messageId: 'm' }],
  [`0040 ffffffffffffffff`, { timestamp: 2n ** 64n - 1n }],
  [`0020 01't'`, { type: 't' }],
  [`0010 01'u'`, { userId: 'u' }],
  [`0008 01'a'`, { appId: 'a' }],
  [`0004 01'z'`, { clusterId: 'z' }],
]

function decode(bytes: Uint8Array): Properties {
  return decodeProperties(bytes, viewOf(bytes), 0, bytes.length)
}

function scan(bytes: Uint8Array): PropertyScan {
  const result = new PropertyScan()
  scanProperties(result, bytes, viewOf(bytes), 0, bytes.length)
  return result
}

function attempt<T>(run: () => T): T | Error {
  try {
    return run()
  } catch (error) {
    return error as Error
  }
}

describe.each(samples)('%s', (sample, properties) => {
  const bytes = octets(sample)

  test('is decoded to its properties', () => {
    expect(decode(bytes)).toEqual(properties)
  })

  test('is encoded as it came', () => {
    const out = new OutputBuffer(1)
    encodeProperties(out, properties)
    expect(out.written()).toEqual(bytes)
  })

  test('scanned, it has the same values', () => {
    const found = scan(bytes)
    const text = (start: number, end: number): string | undefined =>
      start < 0 ? undefined : Buffer.from(bytes.subarray(start, end)).toString()
    expect(found.deliveryMode).toBe(properties.deliveryMode ?? 0)
    expect(found.priority).toBe(properties.priority ?? 0)
    expect(text(found.replyToStart, found.replyToEnd)).toBe(properties.replyTo)
    expect(text(found.expirationStart, found.expirationEnd)).toBe(properties.expiration)
    expect(text(found.userIdStart, found.userIdEnd)).toBe(properties.userId)
    expect(found.headersStart >= 0).toBe(properties.headers !== undefined)
  })

  test('cut short anywhere or too long, it is a syntax error for the decoder and the scanner', () => {
    const longer = new Uint8Array(bytes.length + 1)
    longer.set(bytes)
    for (const wrong of [...bytes.keys()].map((size) => bytes.slice(0, size)).concat(longer)) {
      expect(attempt(() => decode(wrong))).toMatchObject({ name: 'ProtocolError', code: 502 })
      expect(attempt(() => scan(wrong))).toMatchObject({ name: 'ProtocolError', code: 502 })
    }
  })
})

test('a scan finds the headers with their length', () => {
  const bytes = octets(`ff 3000 0000000a 01'k' 'S' 00000003 'abc' 02 ff`)
  const found = new PropertyScan()
  scanProperties(found, bytes, viewOf(bytes), 1, bytes.length - 1)
  expect(found).toMatchObject({ flags: 0x3000, headersStart: 3, headersEnd: 17, deliveryMode: 2 })
})

test('a scan used again forgets the message before', () => {
  const found = scan(octets(all))
  scanProperties(found, NO_PROPERTIES, viewOf(NO_PROPERTIES), 0, 2)
  expect(found).toEqual(new PropertyScan())
})

test.each([
  ['continued flags', '0001 0000'],
  ['a fifteenth property', '0002'],
])('%s are refused clearly, since nobody could skip what follows', (_, sample) => {
  const error = { name: 'ProtocolError', code: 502, expected: 'flags of the 14 basic properties only', offset: 0 }
  expect(attempt(() => decode(octets(sample)))).toMatchObject(error)
  expect(attempt(() => scan(octets(sample)))).toMatchObject(error)
})

test('random octets never throw anything but ProtocolError, and what decodes passes the scan', () => {
  const noise = fc.uint8Array({ maxLength: 48 })
  const damaged = fc.tuple(fc.constantFrom(...samples), fc.nat(), fc.nat(255)).map(([[sample], position, octet]) => {
    const bytes = octets(sample)
    bytes[position % bytes.length] = octet
    return bytes
  })
  fc.assert(
    fc.property(fc.oneof(noise, damaged), (bytes) => {
      const scanned = attempt(() => scan(bytes))
      const decoded = attempt(() => decode(bytes))
      const foreign = [scanned, decoded].filter(
        (result) => result instanceof Error && !(result instanceof ProtocolError),
      )
      expect(foreign).toEqual([])
      expect(scanned instanceof Error && !(decoded instanceof Error)).toBe(false)
    }),
    { numRuns: 2000 },
  )
})
