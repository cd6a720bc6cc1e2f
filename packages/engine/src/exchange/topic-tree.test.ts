import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { TopicTree } from './topic-tree.ts'

test.each([
  ['a.b.c', 'a.b.c', true],
  ['a.b.c', 'a.b', false],
  ['a.*.c', 'a.b.c', true],
  ['a.*.c', 'a.c', false],
  ['a.*', 'a.b.c', false],
  ['#', '', true],
  ['#', 'a.b.c', true],
  ['a.#', 'a', true],
  ['a.#', 'a.b.c', true],
  ['#.c', 'c', true],
  ['#.c', 'a.b.c', true],
  ['#.c', 'a.b', false],
  ['a.#.c', 'a.c', true],
  ['a.#.c', 'a.x.y.c', true],
  ['#.#', 'a', true],
  ['#.#', '', true],
  ['*.#', '', false],
  ['*.#', 'a', true],
  ['*', '', false],
  ['', '', true],
  ['', 'a', false],
  ['*', 'a.', false],
  ['*.*', 'a.', true],
  ['*.*', '.', true],
  ['a*', 'ab', false],
  ['a*', 'a*', true],
])('pattern "%s" against key "%s": %s', (pattern, key, expected) => {
  const tree = new TopicTree<string>()
  tree.add(pattern, 'value')
  expect(found(tree, key).size === 1).toBe(expected)
})

test('wildcard characters in a key are plain words', () => {
  const tree = new TopicTree<string>()
  tree.add('a.b', 'literal')
  tree.add('a.*', 'one')
  tree.add('a.#', 'any')
  expect(found(tree, 'a.*')).toEqual(new Set(['one', 'any']))
  expect(found(tree, 'a.#')).toEqual(new Set(['one', 'any']))
})

test('add and remove say whether they changed anything', () => {
  const tree = new TopicTree<string>()
  expect(tree.add('a.#', 'value')).toBe(true)
  expect(tree.add('a.#', 'value')).toBe(false)
  expect(tree.remove('a.*', 'value')).toBe(false)
  expect(tree.remove('a.#', 'other')).toBe(false)
  expect(tree.remove('a.#', 'value')).toBe(true)
  expect(tree.remove('a.#', 'value')).toBe(false)
})

test('any patterns find what a naive matcher finds, also after some are removed', () => {
  const word = fc.constantFrom('a', 'b', '', 'c')
  const patterns = fc.uniqueArray(fc.array(fc.oneof(word, fc.constantFrom('*', '#')), { maxLength: 6 }).map(join))
  const keys = fc.array(fc.array(word, { maxLength: 6 }).map(join), { minLength: 1 })
  fc.assert(
    fc.property(patterns, patterns, keys, (kept, removed, sent) => {
      const tree = new TopicTree<string>()
      const gone = removed.filter((pattern) => !kept.includes(pattern))
      for (const pattern of [...kept, ...gone]) tree.add(pattern, pattern)
      for (const pattern of gone) expect(tree.remove(pattern, pattern)).toBe(true)
      for (const key of sent) {
        const expected = kept.filter((pattern) => fits(split(pattern), split(key)))
        expect(found(tree, key)).toEqual(new Set(expected))
      }
    }),
    { numRuns: 500 },
  )
})

// The naive matcher would need about 10^30 steps for this one: that it ends is the test.
test('a pattern of many # takes no more than words × nodes [T20]', () => {
  const tree = new TopicTree<string>()
  tree.add(`${'#.a.'.repeat(60)}#.z`, 'literal')
  tree.add(`${'#.*.'.repeat(60)}#.z`, 'wild')
  tree.add('#.#.#.#.#.#.#.#.#.#.#.#.z', 'many')
  expect(found(tree, Array(127).fill('a').join('.'))).toEqual(new Set())
  expect(found(tree, `${'a.'.repeat(126)}z`)).toEqual(new Set(['literal', 'wild', 'many']))
})

function join(words: readonly string[]): string {
  return words.join('.')
}

function split(key: string): string[] {
  return key === '' ? [] : key.split('.')
}

function fits(pattern: readonly string[], key: readonly string[]): boolean {
  const [first, ...rest] = pattern
  if (first === undefined) return key.length === 0
  if (first === '#') return fits(rest, key) || (key.length > 0 && fits(pattern, key.slice(1)))
  return key.length > 0 && (first === '*' || first === key[0]) && fits(rest, key.slice(1))
}

function found(tree: TopicTree<string>, key: string): Set<string> {
  const values = new Set<string>()
  tree.match(key, { found: (value) => void values.add(value) })
  return values
}
