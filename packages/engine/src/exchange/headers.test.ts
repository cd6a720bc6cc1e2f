import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EngineError } from '../errors.ts'
import { Timestamp } from '../message/headers.ts'
import type { HeaderValue } from '../message/headers.ts'
import { HeadersMatcher, equalValues } from './headers.ts'

type Entries = [string, HeaderValue][]

test('all is meant when nothing is said', () => {
  const args: Entries = [
    ['a', 1],
    ['b', 'x'],
  ]
  expect(holds(args, [...args, ['c', true]])).toBe(true)
  expect(holds(args, [['a', 1]])).toBe(false)
})

test('any asks for one', () => {
  const args: Entries = [
    ['x-match', 'any'],
    ['a', 1],
    ['b', 'x'],
  ]
  expect(holds(args, [['b', 'x']])).toBe(true)
  expect(holds(args, [['b', 'y']])).toBe(false)
})

test('without anything to compare, all matches everything and any matches nothing', () => {
  expect(holds([], [])).toBe(true)
  expect(holds([['x-match', 'all']], [['a', 1]])).toBe(true)
  expect(holds([['x-match', 'all-with-x']], [['a', 1]])).toBe(true)
  expect(holds([['x-match', 'any']], [['a', 1]])).toBe(false)
  expect(holds([['x-match', 'any-with-x']], [['a', 1]])).toBe(false)
  expect(
    holds(
      [
        ['x-match', 'any'],
        ['x-a', 1],
      ],
      [['x-a', 1]],
    ),
  ).toBe(false)
})

test.each([
  ['all', true],
  ['all-with-x', false],
])('%s and an argument that starts with x-: matches without it %s', (mode, expected) => {
  const args: Entries = [
    ['x-match', mode],
    ['x-a', 1],
    ['b', 2],
  ]
  expect(holds(args, [['b', 2]])).toBe(expected)
  expect(
    holds(args, [
      ['b', 2],
      ['x-a', 1],
    ]),
  ).toBe(true)
})

test('the mode itself is never looked for in a message', () => {
  expect(holds([['x-match', 'any-with-x']], [['x-match', 'any-with-x']])).toBe(false)
  expect(
    holds(
      [
        ['x-match', 'all-with-x'],
        ['x-a', 1],
      ],
      [['x-a', 1]],
    ),
  ).toBe(true)
})

test('an argument without a value asks only that the header is there', () => {
  expect(holds([['a', null]], [['a', 'anything']])).toBe(true)
  expect(holds([['a', null]], [['a', null]])).toBe(true)
  expect(holds([['a', null]], [['b', 1]])).toBe(false)
})

test('a header without a value is no value', () => {
  expect(holds([['a', 1]], [['a', null]])).toBe(false)
  expect(holds([['a', '']], [['a', null]])).toBe(false)
})

test.each<[HeaderValue]>([['some'], ['ALL'], [1], [true]])(
  'the mode %s is refused, and the binding with it',
  (mode) => {
    const matcher = new HeadersMatcher()
    expect(() => matcher.add(bound([['x-match', mode]]))).toThrow(EngineError)
    let count = 0
    matcher.match({ key: '', moreKeys: null, headers: () => new Map() }, { found: () => void count++ })
    expect(count).toBe(0)
  },
)

test('headers are not decoded when no binding asks for them', () => {
  let decoded = 0
  const headers = () => {
    decoded++
    return new Map()
  }
  new HeadersMatcher().match({ key: '', moreKeys: null, headers }, { found: () => {} })
  expect(decoded).toBe(0)
})

describe('values', () => {
  test.each<[HeaderValue, HeaderValue, boolean]>([
    [1, 1n, true],
    [1n, 1, true],
    [1n, 1n, true],
    [1.5, 1.5, true],
    [1n, 1.5, false],
    [2 ** 53, 2n ** 53n, true],
    [2 ** 53, 2n ** 53n + 1n, false],
    [1, '1', false],
    [1n, '1', false],
    [1, true, false],
    ['a', 'a', true],
    ['a', 'A', false],
    ['a', Uint8Array.of(0x61), false],
    [Uint8Array.of(1, 2), Uint8Array.of(1, 2), true],
    [Uint8Array.of(1, 2), Uint8Array.of(1), false],
    [new Timestamp(5), new Timestamp(5), true],
    [new Timestamp(5), 5, false],
    [[1, 'a'], [1n, 'a'], true],
    [[1, 2], [2, 1], false],
    [[1], [1, 2], false],
    [new Map([['a', 1]]), new Map([['a', 1n]]), true],
    [new Map([['a', 1]]), new Map([['b', 1]]), false],
    [new Map([['a', null]]), new Map([['a', null]]), true],
    [[], new Map(), false],
  ])('%o and %o are equal: %s', (a, b, expected) => {
    expect(equalValues(a, b)).toBe(expected)
    expect(equalValues(b, a)).toBe(expected)
  })
})

test('any arguments and headers match as the definition says', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'x-a', 'x-b')
  const value = fc.constantFrom<HeaderValue>(null, 0, 1, '1', true)
  const entries = fc.uniqueArray(fc.tuple(name, value), { selector: ([first]) => first })
  const mode = fc.constantFrom('all', 'any', 'all-with-x', 'any-with-x', undefined)
  fc.assert(
    fc.property(mode, entries, entries, (match, args, headers) => {
      const given: Entries = match === undefined ? args : [['x-match', match], ...args]
      expect(holds(given, headers)).toBe(naive(match ?? 'all', args, headers))
    }),
    { numRuns: 2000 },
  )
})

function naive(mode: string, args: Entries, headers: Entries): boolean {
  const compared = args.filter(([name]) => mode.endsWith('with-x') || !name.startsWith('x-'))
  const matching = compared.filter(([name, value]) =>
    headers.some(([other, actual]) => other === name && (value === null || value === actual)),
  )
  return mode.startsWith('all') ? matching.length === compared.length : matching.length > 0
}

function bound(args: Entries) {
  return {
    binding: { source: 'x', destination: { kind: 'queue' as const, name: 'q' }, key: '', args: new Map(args) },
  }
}

function holds(args: Entries, headers: Entries): boolean {
  const matcher = new HeadersMatcher()
  matcher.add(bound(args))
  let found = false
  matcher.match({ key: '', moreKeys: null, headers: () => new Map(headers) }, { found: () => void (found = true) })
  return found
}
