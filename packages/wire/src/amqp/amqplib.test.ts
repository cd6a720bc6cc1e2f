import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { METHOD_ID, decodeMethod, encodeMethod } from './methods.gen.ts'
import type { Method, MethodName } from './methods.gen.ts'
import { viewOf } from './octets.ts'
import { OutputBuffer } from './output-buffer.ts'
import { decodeProperties, encodeProperties } from './properties.ts'
import type { Properties } from './properties.ts'
import type { Field, Table } from './table.ts'

/**
 * The codec of amqplib, a client that talks to RabbitMQ since 2013, as an oracle: what it writes we read to the same
 * values, and what we write it reads. Its codec is not exported, hence the path.
 */
interface Definitions {
  decode(id: number, payload: Buffer): Record<string, unknown>
  encodeMethod(id: number, channel: number, fields: object): Buffer
  encodeProperties(id: number, channel: number, size: number, fields: object): Buffer
  info(id: number): { name: string; args: readonly { name: string; type: string }[] }
}
const load = createRequire(import.meta.url)
const oracle = load(join(dirname(load.resolve('amqplib')), 'lib/defs.js')) as Definitions

const BASIC_PROPERTIES = 60

const text = fc.string({ unit: 'grapheme', maxLength: 16 })

/** Tables whose values amqplib writes with the type that we expect, beside what it makes of them. */
const table: fc.Arbitrary<{ ours: Table; theirs: Record<string, unknown> }> = fc
  .dictionary(
    fc.stringMatching(/^[a-z-]{1,12}$/),
    fc.oneof(
      text.map((value): [Field, unknown] => [{ type: 'S', value }, value]),
      fc.boolean().map((value): [Field, unknown] => [{ type: 't', value }, value]),
      fc.integer({ min: -128, max: 127 }).map((value): [Field, unknown] => [{ type: 'b', value }, value]),
      fc.integer({ min: 128, max: 0x7fff }).map((value): [Field, unknown] => [{ type: 's', value }, value]),
      fc.integer({ min: 0x8000, max: 0x7fffffff }).map((value): [Field, unknown] => [{ type: 'I', value }, value]),
      fc.constant<[Field, unknown]>([{ type: 'd', value: 0.5 }, 0.5]),
      fc.constant<[Field, unknown]>([{ type: 'V', value: null }, null]),
      fc.constant<[Field, unknown]>([{ type: 'A', value: [{ type: 'S', value: 'x' }] }, ['x']]),
      fc.constant<[Field, unknown]>([{ type: 'F', value: new Map([['n', { type: 'b', value: 1 }]]) }, { n: 1 }]),
    ),
    { maxKeys: 4 },
  )
  .map((fields) => ({
    ours: new Map(Object.entries(fields).map(([name, [field]]) => [name, field])),
    theirs: Object.fromEntries(Object.entries(fields).map(([name, [, value]]) => [name, value])),
  }))

function same(values: fc.Arbitrary<unknown>): fc.Arbitrary<{ ours: unknown; theirs: unknown }> {
  return values.map((value) => ({ ours: value, theirs: value }))
}

/** A value of the type, as we and as they hold it. */
function anyValue(name: string, type: string): fc.Arbitrary<{ ours: unknown; theirs: unknown }> {
  switch (type) {
    case 'bit':
      return same(fc.boolean())
    case 'octet':
      return same(fc.nat(0xff))
    case 'short':
      return same(fc.nat(0xffff))
    case 'long':
      return same(fc.nat(0xffffffff))
    case 'longlong':
      return same(fc.nat(2 ** 48))
    case 'timestamp':
      return fc.nat(2 ** 48).map((value) => ({ ours: BigInt(value), theirs: value }))
    case 'shortstr':
      return same(text)
    case 'table':
      return table
    case 'longstr':
      return name === 'mechanisms' || name === 'locales'
        ? text.map((value) => ({ ours: value, theirs: Buffer.from(value) }))
        : fc.uint8Array({ maxLength: 20 }).map((value) => ({ ours: value, theirs: Buffer.from(value) }))
    default:
      throw new Error(`no values for ${type}`)
  }
}

/** Reserved by the specification: amqplib fills them in where it has to, and we leave them out. */
const RESERVED = new Set(['connection.open capabilities', 'connection.open insist', 'connection.open-ok knownHosts'])
for (const name of ['channel.open outOfBand', 'channel.open-ok channelId', 'basic.get-empty clusterId'])
  RESERVED.add(name)

function isReserved(method: MethodName, field: string): boolean {
  return (field === 'ticket' && method !== 'access.request-ok') || RESERVED.has(`${method} ${field}`)
}

const OURS: Readonly<Record<string, string>> = { nowait: 'noWait' }

const methods = Object.entries(METHOD_ID) as [MethodName, number][]

describe.each(methods)('%s', (name, id) => {
  const fields = oracle.info(id).args
  const pairs = fc
    .record(Object.fromEntries(fields.map((field) => [field.name, anyValue(field.name, field.type)])))
    .map((values) => {
      const ours: Record<string, unknown> = { name }
      const theirs: Record<string, unknown> = {}
      for (const { name: field, type } of fields) {
        const value = values[field] as { ours: unknown; theirs: unknown }
        const reserved = isReserved(name, field)
        if (!reserved) ours[OURS[field] ?? field] = value.ours
        theirs[field] = reserved ? zeroOf(type) : value.theirs
      }
      return { ours: ours as unknown as Method, theirs }
    })

  test('we read what amqplib writes, and write the same octets', () => {
    fc.assert(
      fc.property(pairs, fc.nat(0xffff), ({ ours, theirs }, channel) => {
        const frame = oracle.encodeMethod(id, channel, theirs)
        expect(decodeMethod(viewOf(frame), frame, 7, frame.length - 1)).toEqual(ours)
        const out = new OutputBuffer(512)
        encodeMethod(out, channel, ours)
        expect(Buffer.from(out.written()).toString('hex')).toBe(frame.toString('hex'))
        expect(oracle.decode(id, Buffer.from(out.bytes.subarray(11, out.length - 1)))).toMatchObject(theirs)
      }),
      { numRuns: 25 },
    )
  })
})

function zeroOf(type: string): unknown {
  if (type === 'bit') return false
  if (type === 'shortstr') return ''
  return type === 'longstr' ? Buffer.alloc(0) : 0
}

test('we read the properties that amqplib writes, and write the same octets', () => {
  const fields = oracle.info(BASIC_PROPERTIES).args
  const pairs = fc.record(Object.fromEntries(fields.map((field) => [field.name, anyValue(field.name, field.type)])), {
    requiredKeys: [],
  })
  fc.assert(
    fc.property(pairs, fc.nat(2 ** 40), (values, bodySize) => {
      const entries = Object.entries(values) as [string, { ours: unknown; theirs: unknown }][]
      const ours = Object.fromEntries(entries.map(([name, value]) => [name, value.ours])) as Properties
      const theirs = Object.fromEntries(entries.map(([name, value]) => [name, value.theirs]))
      const frame = oracle.encodeProperties(BASIC_PROPERTIES, 1, bodySize, theirs)
      expect(decodeProperties(frame, viewOf(frame), 19, frame.length - 1)).toEqual(ours)
      const out = new OutputBuffer(64)
      encodeProperties(out, ours)
      expect(Buffer.from(out.written()).toString('hex')).toBe(frame.subarray(19, -1).toString('hex'))
    }),
  )
})
