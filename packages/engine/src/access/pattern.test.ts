import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { EngineError } from '../errors.ts'
import { PATTERN_CHARS_MAX, PATTERN_DEPTH_MAX } from './pattern-syntax.ts'
import { Pattern } from './pattern.ts'

test('the empty pattern matches nothing, not even the empty name', () => {
  expect(new Pattern('').matches('')).toBe(false)
  expect(new Pattern('').matches('orders')).toBe(false)
})

test('a pattern is searched for unless it is anchored', () => {
  expect(new Pattern('orders').matches('eu.orders.dead')).toBe(true)
  expect(new Pattern('^orders').matches('eu.orders')).toBe(false)
  expect(new Pattern('orders$').matches('orders.dead')).toBe(false)
  expect(new Pattern('^orders$').matches('orders')).toBe(true)
  expect(new Pattern('^$').matches('')).toBe(true)
  expect(new Pattern('^$').matches('a')).toBe(false)
  expect(new Pattern('.*').matches('')).toBe(true)
})

test.each([
  ['^(?!std\\.).*$', 'std.direct', false],
  ['^(?!std\\.).*$', 'standard', true],
  ['^(?=.*[0-9])[a-z0-9]+$', 'abc1', true],
  ['^(?=.*[0-9])[a-z0-9]+$', 'abc', false],
  ['^(?!(?=a)..$).*$', 'ab', false],
  ['^(?!(?=a)..$).*$', 'cb', true],
  ['^[]a]+$', ']a', true],
  ['^[zm-ta-ds-u]+$', 'nbzuc', true],
  ['^[zm-ta-ds-u]+$', 'v', false],
  ['^[^zm-ta-ds-u]+$', 'el', true],
  ['^[^]a]+$', 'b', true],
  ['^[a\\-z]+$', '-', true],
  ['^[a-]+$', 'a-', true],
  ['^[\\w.-]+$', 'a_Z.9-', true],
  ['^[^\\W]+$', 'a_9', true],
  ['^[^\\W]+$', 'a.9', false],
  ['^a{2,3}$', 'aaaa', false],
  ['^a{2,3}$', 'aaa', true],
  ['^a{2,}?$', 'aaaa', true],
  ['^a{0}b$', 'b', true],
  ['^a{,3}$', 'a{,3}', true],
  ['^{a}$', '{a}', true],
  ['^(queue|stream)\\.(?:[0-9]+)$', 'stream.17', true],
  ['^()*a(|b)$', 'ab', true],
  ['^é.$', 'é😀', true],
  ['^[😀-😂]$', '😁', true],
  ['^.$', '\n', false],
])('%s against %j: %s', (pattern, name, expected) => {
  expect(new Pattern(pattern).matches(name)).toBe(expected)
})

test.each(
  [
    '(',
    ')',
    'a)',
    '(a',
    '[a',
    '[]',
    '[^]',
    '*',
    '+a',
    'a|*',
    'a**',
    'a*+',
    'a{2}{3}',
    'a{3,2}',
    'a{256}',
    '[b-a]',
    '[\\d-z]',
    '[[:alpha:]]',
    '\\',
    '\\1',
    '\\b',
    '\\p{L}',
    '(?<=a)b',
    '(?<name>a)',
    '(?i)a',
    '(?>a)',
    '(?',
    'a'.repeat(PATTERN_CHARS_MAX + 1),
    '('.repeat(PATTERN_DEPTH_MAX + 1) + ')'.repeat(PATTERN_DEPTH_MAX + 1),
    '((((a{255}){255}){255}){255}){255}',
    '((((){255}){255}){255}|^){255}{255}',
  ].map(shown),
)('%s is refused', (_start, pattern) => {
  expect(() => new Pattern(pattern)).toThrow(EngineError)
})

test('repeats of nothing cost nothing', () => {
  expect(new Pattern('^((((((){255}){255}){255}){255}){255}|){255}a$').matches('a')).toBe(true)
})

// Each of these takes a backtracking matcher longer than anybody can wait: that it ends is the test.
test.each(
  [
    '^(a|a)*$',
    '^(a+)+$',
    '^(a*)*b$',
    '^((a?){100}){4}a{255}b$',
    `^${'a*'.repeat(200)}b$`,
    `^${'.*'.repeat(200)}b$`,
    '^(?!(?=(a+)+$)(?!(a|aa)+$)).*b$',
    '((a|b|ab|ba)*c?)*$d',
  ].map(shown),
)('%s takes no more than name × pattern [T20]', (_start, pattern) => {
  expect(new Pattern(pattern).matches(`${'a'.repeat(254)}c`)).toBe(false)
})

test('any pattern agrees with the language’s own expressions', () => {
  const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\w', '\\.', '^', '$')
  const { pattern } = fc.letrec<{ pattern: string }>((tie) => ({
    pattern: fc.oneof(
      { maxDepth: 4 },
      atom,
      fc.tuple(tie('pattern'), tie('pattern')).map(([left, right]) => left + right),
      fc.tuple(tie('pattern'), tie('pattern')).map(([left, right]) => `(${left}|${right})`),
      fc.tuple(tie('pattern'), fc.constantFrom('*', '+', '?', '{2}', '{1,2}', '{1,}', '*?')).map(([part, count]) => {
        return `(?:${part})${count}`
      }),
      fc.tuple(fc.constantFrom('?=', '?!'), tie('pattern')).map(([sign, part]) => `(${sign}${part})`),
    ),
  }))
  const name = fc.array(fc.constantFrom('a', 'b', 'c', '.'), { maxLength: 6 }).map((chars) => chars.join(''))
  fc.assert(
    fc.property(pattern, name, (source, text) => {
      expect(new Pattern(source).matches(text)).toBe(new RegExp(source, 'u').test(text))
    }),
    { numRuns: 3000 },
  )
})

test('any text is a pattern or is refused, never anything else', () => {
  const syntax = fc
    .array(fc.constantFrom(...Array.from('ab()[]{}|*+?^$.\\-,2:=!<dW')), { maxLength: 12 })
    .map((all) => all.join(''))
  fc.assert(
    fc.property(fc.oneof(syntax, fc.string()), (source) => {
      try {
        new Pattern(source).matches('ab')
      } catch (error) {
        expect(error).toBeInstanceOf(EngineError)
      }
    }),
    { numRuns: 3000 },
  )
})

/** Long patterns make poor names of tests: only their start is shown. */
function shown(pattern: string): [start: string, pattern: string] {
  return [pattern.slice(0, 40), pattern]
}
