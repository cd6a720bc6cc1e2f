import { Timestamp } from '@stathmos/engine'
import { type Field, OutputBuffer, type Table, encodeProperties } from '@stathmos/wire/amqp'
import { expect, test } from 'vitest'

import {
  headersOfTable,
  moreKeys,
  originHeaders,
  readDelay,
  readExpiration,
  tableOfHeaders,
  withDelayServed,
} from './message.ts'

const table = (values: Readonly<Record<string, Field>>): Table => new Map(Object.entries(values))
const text = (value: string): Field => ({ type: 'S', value })

test('headers become neutral, whatever their width on the wire', () => {
  const headers = headersOfTable(
    table({
      small: { type: 'b', value: -1 },
      large: { type: 'l', value: 2n ** 60n },
      plain: { type: 'l', value: 5n },
      price: { type: 'D', value: 1999, scale: 2 },
      at: { type: 'T', value: 1n },
      list: { type: 'A', value: [text('a'), { type: 'V', value: null }] },
      deep: { type: 'F', value: table({ x: { type: 't', value: true } }) },
    }),
  )
  expect(Object.fromEntries(headers)).toEqual({
    small: -1,
    large: 2n ** 60n,
    plain: 5,
    price: 19.99,
    at: new Timestamp(1000),
    list: ['a', null],
    deep: new Map([['x', true]]),
  })
})

test('neutral headers survive the way through a table', () => {
  const headers = new Map<string, null | boolean | number | bigint | string | Timestamp | readonly number[]>([
    ['nothing', null],
    ['yes', true],
    ['int', -5],
    ['long', 2 ** 40],
    ['huge', 2n ** 62n],
    ['half', 0.5],
    ['at', new Timestamp(5000)],
    ['list', [1, 2]],
    ['__proto__', 'a name like others'],
  ])
  expect(headersOfTable(tableOfHeaders(headers))).toEqual(headers)
})

test('the headers are found in the bytes that were kept of a message', () => {
  const out = new OutputBuffer(64)
  encodeProperties(out, { contentType: 'text/plain', headers: table({ a: text('b') }) })
  expect(originHeaders(new Uint8Array(out.written()))).toEqual(new Map([['a', 'b']]))
  expect(originHeaders(Uint8Array.of(0, 0))).toEqual(new Map())
})

test.each([
  ['0', 0],
  ['60000', 60_000],
  ['315360000000', 315_360_000_000],
])('the expiration %s is read', (digits, ms) => {
  const bytes = new TextEncoder().encode(`x${digits}x`)
  expect(readExpiration(bytes, 1, bytes.length - 1)).toBe(ms)
})

test.each([
  ['', 'no_integer'],
  ['1.5', '{leftover_string,".5"}'],
  ['10s', '{leftover_string,"s"}'],
  ['-3', '{value_negative,-3}'],
  ['315360000001', '{value_too_large,315360000001}'],
])('the expiration "%s" is refused with its fault [RabbitMQ invalid expiration]', (digits, fault) => {
  const bytes = new TextEncoder().encode(digits)
  expect(() => readExpiration(bytes, 0, bytes.length)).toThrow(
    `PRECONDITION_FAILED - invalid expiration '${digits}': ${fault}`,
  )
})

test('CC and BCC name further keys; what is no array is refused, and what is no string passed over [RabbitMQ sender-selected distribution]', () => {
  const list = (...keys: string[]): Field => ({ type: 'A', value: keys.map(text) })
  expect(moreKeys(table({ CC: list('a', 'b'), BCC: list('c') }))).toEqual(['a', 'b', 'c'])
  expect(moreKeys(table({ other: list('a') }))).toBeNull()
  expect(moreKeys(table({ CC: { type: 'A', value: [{ type: 'I', value: 5 }, text('a')] } }))).toEqual(['a'])
  expect(() => moreKeys(table({ CC: text('a') }))).toThrow(
    'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}',
  )
})

test('a delay is negated once it is being served, in the type that it has, or one with a sign [RabbitMQ x-delayed-message]', () => {
  const served = (field: Field): Field | undefined => withDelayServed(table({ 'x-delay': field })).get('x-delay')
  expect(served({ type: 'I', value: 500 })).toEqual({ type: 'I', value: -500 })
  expect(served({ type: 'u', value: 65_535 })).toEqual({ type: 'l', value: -65_535n })
  expect(served({ type: 'l', value: 2n ** 40n })).toEqual({ type: 'l', value: -(2n ** 40n) })
  expect(served(text('700'))).toEqual(text('-700'))
  expect(readDelay(withDelayServed(table({ 'x-delay': { type: 'I', value: 500 } })))).toBe(0)
})

test('x-delay is a number of any kind and size, or its text; nonsense is no delay', () => {
  expect(readDelay(table({ 'x-delay': { type: 'I', value: 500 } }))).toBe(500)
  expect(readDelay(table({ 'x-delay': { type: 'l', value: 2n ** 40n } }))).toBe(2 ** 40)
  expect(readDelay(table({ 'x-delay': text('700') }))).toBe(700)
  expect(readDelay(table({ 'x-delay': { type: 'I', value: -5 } }))).toBe(0)
  expect(readDelay(table({ 'x-delay': text('soon') }))).toBe(0)
})
