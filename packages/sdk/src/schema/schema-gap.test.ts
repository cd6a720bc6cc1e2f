import { type } from 'arktype'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { event } from '../contract/event.ts'
import type { AnySchema } from './json-schema.ts'
import { manifestOf } from './manifest.ts'
import { gapsBetween } from './schema-gap.ts'

const object = (properties: Record<string, AnySchema>, more: object = {}): AnySchema => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  ...more,
})
const string = { type: 'string' }
const number = { type: 'number' }

const wrong = (sent: AnySchema, taken: AnySchema): string[] =>
  gapsBetween(sent, taken).map((gap) => `${gap.field} ${gap.wrong}${gap.certain ? '' : ' ?'}`.trim())

describe('what is sent is taken', () => {
  test.each<[string, AnySchema, AnySchema]>([
    ['the same', object({ a: string }), object({ a: string })],
    ['a field more', object({ a: string, b: string }), object({ a: string })],
    [
      'an optional field less',
      object({ a: string }),
      { ...(object({ a: string, b: string }) as object), required: ['a'] },
    ],
    ['whole numbers as numbers', { type: 'integer' }, number],
    ['one of several types', string, { type: ['string', 'null'] }],
    ['one of several alternatives', string, { anyOf: [number, string] }],
    ['fewer alternatives', { anyOf: [number, string] }, { oneOf: [string, number, { type: 'null' }] }],
    ['a value of an enumeration', { const: 'a' }, { enum: ['a', 'b'] }],
    ['an enumeration as text', { enum: ['a', 'b'] }, string],
    ['true and false', { type: 'boolean' }, { enum: [false, true] }],
    [
      'narrower bounds',
      { type: 'number', minimum: 2, exclusiveMaximum: 3 },
      { type: 'number', minimum: 1, maximum: 3 },
    ],
    ['an open bound within', { type: 'number', minimum: 2 }, { type: 'number', exclusiveMinimum: 1 }],
    ['anything', string, {}],
    ['anything, said with true', string, true],
    ['whole numbers within what is exact', { type: 'integer' }, { type: 'integer', maximum: Number.MAX_SAFE_INTEGER }],
    [
      'a record with named fields',
      { type: 'object', additionalProperties: string },
      { type: 'object', properties: { a: string } },
    ],
    [
      'both parts of a whole',
      object({ a: string, b: number }),
      { allOf: [object({ a: string }), object({ b: number })] },
    ],
    ['a whole of parts', { allOf: [object({ a: string }), object({ b: number })] }, object({ a: string, b: number })],
    ['a tuple', { type: 'array', prefixItems: [string], items: false }, { type: 'array', items: string }],
  ])('%s', (_, sent, taken) => {
    expect(wrong(sent, taken)).toEqual([])
  })
})

describe('what is sent may be refused', () => {
  test.each<[AnySchema, AnySchema, string[]]>([
    [object({ a: number }), object({ a: string }), ['a may be number, but receivers take only string']],
    [object({}), object({ a: string }), ['a is not written by senders, but receivers require it']],
    [
      { ...(object({ a: string }) as object), required: [] },
      object({ a: string }),
      ['a may be left out by senders, but receivers require it'],
    ],
    [
      object({ a: string, b: string }),
      object({ a: string }, { additionalProperties: false }),
      ['b is refused by receivers, who take no unknown fields'],
    ],
    [
      object({ a: { type: 'array', items: number } }),
      object({ a: { type: 'array', items: string } }),
      ['a[] may be number, but receivers take only string'],
    ],
    [{ type: ['string', 'null'] }, string, ['may be null, but receivers take only string']],
    [{ anyOf: [number, string] }, string, ['may be number, but receivers take only string']],
    [{ enum: ['a', 'b'] }, { enum: ['a'] }, ['may be "b", but receivers know only "a"']],
    [string, { const: 'a' }, ['may be any string, but receivers know only "a"']],
    [string, { type: 'string', minLength: 1 }, ['has minLength 1 at receivers, but none at senders']],
    [
      { type: 'number', minimum: 1 },
      { type: 'number', exclusiveMinimum: 1 },
      ['has exclusiveMinimum 1 at receivers, but none at senders'],
    ],
    [{ type: 'number', maximum: 5 }, { type: 'number', maximum: 4 }, ['has maximum 4 at receivers, but 5 at senders']],
    [string, { type: 'string', format: 'uuid' }, ['has format "uuid" at receivers, but none at senders']],
    [
      { type: 'string', pattern: 'a' },
      { type: 'string', pattern: 'b' },
      ['has pattern "b" at receivers, but "a" at senders ?'],
    ],
    [string, { not: string }, ['has not, which cannot be compared ?']],
    [{ $ref: 'https://example.org/x' }, string, ['has $ref, which cannot be compared ?']],
    [
      { type: 'object', additionalProperties: number },
      { type: 'object', additionalProperties: string },
      ['* may be number, but receivers take only string'],
    ],
    [string, false, ['is refused by receivers']],
    [true, string, ['may be array or boolean or null or number or object, but receivers take only string']],
  ])('%j for %j', (sent, taken, expected) => {
    expect(wrong(sent, taken)).toEqual(expected)
  })
})

test('schemas that contain themselves are compared to their end', () => {
  const tree = (leaf: AnySchema): AnySchema => ({
    $ref: '#/$defs/node',
    $defs: { node: object({ leaf, children: { type: 'array', items: { $ref: '#/$defs/node' } } }) },
  })
  expect(wrong(tree(string), tree(string))).toEqual([])
  expect(wrong(tree(number), tree(string))).toEqual(['leaf may be number, but receivers take only string'])
  const flat = object({
    leaf: string,
    children: { type: 'array', items: object({ leaf: number, children: { type: 'array', items: false } }) },
  })
  expect(wrong(flat, tree(string))).toEqual(['children[].leaf may be number, but receivers take only string'])
  const endless = { allOf: [{ $ref: '#' }] }
  expect(wrong(endless, tree(string))).not.toEqual([])
})

test('a tagged union tells what differs within its alternative', () => {
  const schemaOf = (schema: z.ZodType): AnySchema => manifestOf([event('a', schema)]).contracts[0]!.versions[0]!.schema!
  const by = z.object({ kind: z.literal('mail'), to: z.string() })
  const old = schemaOf(z.discriminatedUnion('kind', [by, z.object({ kind: z.literal('sms'), to: z.string() })]))
  const now = schemaOf(z.discriminatedUnion('kind', [by, z.object({ kind: z.literal('sms'), to: z.number() })]))
  expect(wrong(old, now)).toEqual(['to may be string, but receivers take only number'])
})

test('two validators that say the same get along', () => {
  const schemas = [
    z.object({ a: z.string(), n: z.number().int(), s: z.enum(['x', 'y']).optional() }),
    type({ a: 'string', n: 'number.integer', 's?': "'x'|'y'" }),
  ].map((schema) => manifestOf([event('a', schema)]).contracts[0]!.versions[0]!.schema!)
  expect(wrong(schemas[0]!, schemas[1]!)).toEqual([])
  expect(wrong(schemas[1]!, schemas[0]!)).toEqual([])
})
