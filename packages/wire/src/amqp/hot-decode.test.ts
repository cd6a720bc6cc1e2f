import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ProtocolError } from './errors.ts'
import { CLASS_BASIC, ContentHeaderScan, PublishScan, SettleScan } from './hot-decode.ts'
import { decodeMethod } from './methods.gen.ts'
import { octets, viewOf } from './octets.ts'

function attempt<T>(run: () => T): T | Error {
  try {
    return run()
  } catch (error) {
    return error as Error
  }
}

type Read = (bytes: Uint8Array, start: number, end: number) => object

const publish: Read = (bytes, start, end) => {
  const scan = new PublishScan()
  scan.read(bytes, start, end)
  return scan
}
const header: Read = (bytes, start, end) => {
  const scan = new ContentHeaderScan()
  scan.read(viewOf(bytes), start, end)
  return scan
}
const settle =
  (method: 'readAck' | 'readNack' | 'readReject'): Read =>
  (bytes, start, end) => {
    const scan = new SettleScan()
    scan[method](bytes, viewOf(bytes), start, end)
    return scan
  }

const samples: readonly [payload: string, read: Read, values: object][] = [
  [
    `003c 0028 [publish] 0000 02'ex' 03'key' 01 [mandatory]`,
    publish,
    { addressStart: 6, keyStart: 9, addressEnd: 13, mandatory: true, immediate: false },
  ],
  [
    `003c 0028 [publish] ffff 00 00 02 [immediate]`,
    publish,
    { addressStart: 6, keyStart: 7, addressEnd: 8, mandatory: false, immediate: true },
  ],
  [`003c 0050 [ack] 0000000000000007 01`, settle('readAck'), { deliveryTag: 7, multiple: true, requeue: false }],
  [
    `003c 0078 [nack] 001fffffffffffff 03`,
    settle('readNack'),
    { deliveryTag: Number.MAX_SAFE_INTEGER, multiple: true, requeue: true },
  ],
  [
    `003c 0078 [nack] 0000000000000002 01 [multiple]`,
    settle('readNack'),
    { deliveryTag: 2, multiple: true, requeue: false },
  ],
  [
    `003c 0078 [nack] 0000000000000003 02 [requeue]`,
    settle('readNack'),
    { deliveryTag: 3, multiple: false, requeue: true },
  ],
  [`003c 0078 [nack] 0000000000000000 00`, settle('readNack'), { deliveryTag: 0, multiple: false, requeue: false }],
  [
    `003c 005a [reject] 0000000100000000 01`,
    settle('readReject'),
    { deliveryTag: 2 ** 32, multiple: false, requeue: true },
  ],
]

describe.each(samples)('%s', (sample, read, values) => {
  const payload = octets(sample)

  test('is read to its values, wherever it lies', () => {
    expect(read(payload, 0, payload.length)).toMatchObject(values)
    const chunk = Uint8Array.of(0xff, 0xff, 0xff, ...payload, 0xff)
    expect(JSON.stringify(decodeMethod(viewOf(chunk), chunk, 3, 3 + payload.length))).toBe(
      JSON.stringify(decodeMethod(viewOf(payload), payload, 0, payload.length)),
    )
    const moved = { ...(read(chunk, 3, 3 + payload.length) as Record<string, number>) }
    for (const name of ['addressStart', 'keyStart', 'addressEnd']) if (name in moved) moved[name]! -= 3
    expect(moved).toMatchObject(values)
  })

  test('cut short anywhere or too long, it is a syntax error', () => {
    for (let size = 4; size < payload.length; size++) {
      expect(attempt(() => read(payload, 0, size))).toMatchObject({ name: 'ProtocolError', code: 502 })
    }
    const longer = Uint8Array.of(...payload, 0)
    expect(attempt(() => read(longer, 0, longer.length))).toMatchObject({ name: 'ProtocolError', code: 502 })
  })
})

test('a delivery tag that a number cannot hold exactly is refused', () => {
  const payload = octets(`003c0050 0020000000000000 00`)
  expect(attempt(() => settle('readAck')(payload, 0, payload.length))).toMatchObject({ code: 502, offset: 4 })
})

describe('a content header', () => {
  const payload = octets(`003c 0000 [weight] 0000000100000002 [body size] 1000 02`)

  test('is read to its body size and the place of its properties [4.2.6.1]', () => {
    expect(header(payload, 0, payload.length)).toEqual({ bodySize: 2 ** 32 + 2, propertiesStart: 12 })
  })

  test('cut short of its flags, it is a syntax error', () => {
    for (let size = 0; size < 14; size++) {
      expect(attempt(() => header(payload, 0, size))).toMatchObject({ name: 'ProtocolError', code: 502 })
    }
  })

  test.each([
    ['of another class is an unexpected frame', `0032 0000 0000000000000000 0000`, { code: 505, received: '50' }],
    ['with a weight is a syntax error', `003c 0001 0000000000000000 0000`, { code: 502, received: '1', offset: 2 }],
    ['with a size beyond 2^53 is a syntax error', `003c 0000 ffffffffffffffff 0000`, { code: 502, offset: 4 }],
  ])('%s', (_, sample, error) => {
    const bytes = octets(sample)
    expect(attempt(() => header(bytes, 0, bytes.length))).toMatchObject({ name: 'ProtocolError', ...error })
  })
})

test('random octets never throw anything but ProtocolError', () => {
  const reads = [publish, header, settle('readAck'), settle('readNack'), settle('readReject')]
  fc.assert(
    fc.property(fc.constantFrom(...reads), fc.uint8Array({ maxLength: 40 }), (read, noise) => {
      // Half of the headers get past the class id.
      const bytes = read === header && noise.length > 1 && noise[1]! & 1 ? noise.with(0, 0).with(1, CLASS_BASIC) : noise
      const result = attempt(() => read(bytes, 0, bytes.length))
      expect(result instanceof Error && !(result instanceof ProtocolError)).toBe(false)
    }),
    { numRuns: 2000 },
  )
})
