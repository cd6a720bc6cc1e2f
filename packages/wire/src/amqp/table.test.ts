import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ProtocolError } from './errors.ts'
import { octets, viewOf } from './octets.ts'
import { OutputBuffer } from './output-buffer.ts'
import { EMPTY_TABLE, TABLE_DEPTH_MAX, decodeTable, encodeTable, validateTable } from './table.ts'
import type { Field, Table } from './table.ts'

function decode(bytes: Uint8Array): Table {
  return decodeTable(bytes, viewOf(bytes), 0, bytes.length)
}

function validate(bytes: Uint8Array): void {
  validateTable(bytes, viewOf(bytes), 0, bytes.length)
}

function encode(table: Table): Uint8Array {
  const out = new OutputBuffer(1)
  encodeTable(out, table)
  return out.written()
}

/** A table of one field named "f". */
function tableOf(field: Uint8Array): Uint8Array {
  const table = new Uint8Array(6 + field.length)
  viewOf(table).setUint32(0, 2 + field.length)
  table[4] = 1
  table[5] = 0x66
  table.set(field, 6)
  return table
}

/** A table with an array in an array in an array. */
function nested(levels: number): Uint8Array {
  let field = octets(`'V'`)
  for (let level = 0; level < levels; level++) {
    const outer = new Uint8Array(5 + field.length)
    outer[0] = 0x41
    viewOf(outer).setUint32(1, field.length)
    outer.set(field, 5)
    field = outer
  }
  return tableOf(field)
}

function attempt(run: () => unknown): unknown {
  try {
    run()
    return undefined
  } catch (error) {
    return error
  }
}

const samples: readonly [field: string, value: Field][] = [
  [`'t' 01`, { type: 't', value: true }],
  [`'t' 00`, { type: 't', value: false }],
  [`'b' 80`, { type: 'b', value: -128 }],
  [`'B' ff`, { type: 'B', value: 255 }],
  [`'s' 8000`, { type: 's', value: -32_768 }],
  [`'u' ffff`, { type: 'u', value: 65_535 }],
  [`'I' 80000000`, { type: 'I', value: -2_147_483_648 }],
  [`'i' ffffffff`, { type: 'i', value: 4_294_967_295 }],
  [`'l' 8000000000000000`, { type: 'l', value: -(2n ** 63n) }],
  [`'f' 3fc00000`, { type: 'f', value: 1.5 }],
  [`'d' bfb999999999999a`, { type: 'd', value: -0.1 }],
  [`'D' 02 00003039 [123.45]`, { type: 'D', scale: 2, value: 12_345 }],
  [`'S' 00000003 'abc'`, { type: 'S', value: 'abc' }],
  [`'S' 00000004 f09f9880`, { type: 'S', value: '😀' }],
  [`'S' 00000003 efbbbf [a byte order mark]`, { type: 'S', value: '\ufeff' }],
  [`'S' 00000002 c328 [not UTF-8]`, { type: 'S', value: octets('c328') }],
  [`'x' 00000002 0061`, { type: 'x', value: octets('0061') }],
  [`'T' ffffffffffffffff`, { type: 'T', value: 2n ** 64n - 1n }],
  [`'V'`, { type: 'V', value: null }],
  [`'A' 00000000`, { type: 'A', value: [] }],
  [
    `'A' 00000006 't'01 'V' 'u'0001`,
    {
      type: 'A',
      value: [
        { type: 't', value: true },
        { type: 'V', value: null },
        { type: 'u', value: 1 },
      ],
    },
  ],
  [`'F' 00000000`, { type: 'F', value: EMPTY_TABLE }],
  [
    `'F' 0000000a 01'a' 'A' 00000003 's'0001`,
    { type: 'F', value: new Map([['a', { type: 'A', value: [{ type: 's', value: 1 }] }]]) },
  ],
]

describe.each(samples)('the field %s', (sample, value) => {
  const bytes = tableOf(octets(sample))

  test('is decoded with its type', () => {
    expect(decode(bytes)).toEqual(new Map([['f', value]]))
    validate(bytes)
  })

  test('is encoded as it came', () => {
    expect(encode(new Map([['f', value]]))).toEqual(bytes)
  })

  test('cut short anywhere, it is a syntax error for the decoder and the checker', () => {
    for (let size = 0; size < bytes.length; size++) {
      const cut = bytes.slice(0, size)
      expect(attempt(() => decode(cut))).toMatchObject({ name: 'ProtocolError', code: 502 })
      expect(attempt(() => validate(cut))).toMatchObject({ name: 'ProtocolError', code: 502 })
      if (size < 4) continue
      // With its length put right, the table ends inside the field or is whole again without it.
      viewOf(cut).setUint32(0, size - 4)
      if (size > 4) expect(attempt(() => decode(cut))).toMatchObject({ name: 'ProtocolError', code: 502 })
    }
  })
})

test('a table owns what it keeps, even when it comes from a Buffer', () => {
  const chunk = Buffer.from(tableOf(octets(`'x' 00000002 0102`)))
  const table = decode(chunk)
  chunk.fill(0)
  expect(table.get('f')?.value).toEqual(octets('0102'))
})

test('__proto__ is a name like any other', () => {
  const bytes = octets(`00000013 09'__proto__' 'S' 00000004 'evil'`)
  const table = decode(bytes)
  expect([...table]).toEqual([['__proto__', { type: 'S', value: 'evil' }]])
  expect(encode(table)).toEqual(bytes)
  expect(({} as Record<string, unknown>)['type']).toBeUndefined()
})

test('of a repeated name the last counts', () => {
  expect(decode(octets(`00000008 01'a' 'B'01 01'a' 'B'02`))).toEqual(new Map([['a', { type: 'B', value: 2 }]]))
})

test.each([
  ['an unknown type', `00000003 01'a' 'z'`, { expected: 'a field type', received: 'octet 122', offset: 6 }],
  ['a name that is not UTF-8', `00000003 01 ff 'V'`, { expected: 'UTF-8', offset: 5 }],
  ['a string longer than its table', `00000008 01'a' 'S' 00000002 'x'`, { offset: 11 }],
  ['an inner table longer than the outer one', `00000007 01'a' 'F' 00000001`, { offset: 11 }],
  ['a length of four gigabytes', `00000007 01'a' 'x' ffffffff`, { expected: 'a long string of 4294967295 octets' }],
  ['a length that is not that of the table', `00000003 01'a' 'V' 'V'`, { offset: 0 }],
])('%s is a syntax error', (_, sample, error) => {
  const expected = { name: 'ProtocolError', code: 502, ...error }
  expect(attempt(() => decode(octets(sample)))).toMatchObject(expected)
  expect(attempt(() => validate(octets(sample)))).toMatchObject(expected)
})

test(`arrays nest ${TABLE_DEPTH_MAX} deep and no deeper, however many octets they promise`, () => {
  // The table itself is the first level.
  const deepest = nested(TABLE_DEPTH_MAX - 1)
  expect(encode(decode(deepest))).toEqual(deepest)
  validate(deepest)
  for (const levels of [TABLE_DEPTH_MAX, 20_000]) {
    expect(attempt(() => decode(nested(levels)))).toMatchObject({ name: 'ProtocolError', code: 502 })
    expect(attempt(() => validate(nested(levels)))).toMatchObject({ name: 'ProtocolError', code: 502 })
  }
})

const { table: anyTable } = fc.letrec<{ table: Table; field: Field }>((tie) => ({
  table: fc
    .array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 12 }), tie('field')), { maxLength: 4 })
    .map((entries) => new Map(entries)),
  field: fc.oneof(
    { maxDepth: 4 },
    fc.record({ type: fc.constant('t' as const), value: fc.boolean() }),
    fc.record({ type: fc.constantFrom('b' as const), value: fc.integer({ min: -128, max: 127 }) }),
    fc.record({ type: fc.constantFrom('I' as const), value: fc.integer() }),
    fc.record({ type: fc.constant('l' as const), value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) }),
    fc.record({ type: fc.constant('d' as const), value: fc.double() }),
    fc.record({ type: fc.constant('D' as const), value: fc.nat(), scale: fc.nat(255) }),
    fc.record({ type: fc.constant('S' as const), value: fc.string({ unit: 'grapheme' }) }),
    fc.record({ type: fc.constant('x' as const), value: fc.uint8Array() }),
    fc.record({ type: fc.constant('A' as const), value: fc.array(tie('field'), { maxLength: 4 }) }),
    fc.record({ type: fc.constant('F' as const), value: tie('table') }),
    fc.constant({ type: 'V' as const, value: null }),
  ),
}))

test('every table survives the way there and back', () => {
  fc.assert(
    fc.property(anyTable, (table) => {
      const bytes = encode(table)
      validate(bytes)
      expect(decode(bytes)).toEqual(table)
      expect(encode(decode(bytes))).toEqual(bytes)
    }),
  )
})

test('random octets never throw anything but ProtocolError, and what passes the check decodes', () => {
  const noise = fc.uint8Array({ maxLength: 48 }).map((fields) => {
    const bytes = new Uint8Array(4 + fields.length)
    viewOf(bytes).setUint32(0, fields.length)
    bytes.set(fields, 4)
    return bytes
  })
  const damaged = fc.tuple(anyTable, fc.nat(), fc.nat(255)).map(([table, position, octet]) => {
    const bytes = encode(table).slice()
    bytes[position % bytes.length] = octet
    return bytes
  })
  fc.assert(
    fc.property(fc.oneof(noise, damaged), (bytes) => {
      const checked = attempt(() => validate(bytes))
      const decoded = attempt(() => decode(bytes))
      expect(decoded === undefined || decoded instanceof ProtocolError).toBe(true)
      expect(decoded).toEqual(checked)
    }),
    { numRuns: 2000 },
  )
})
