import { describe, expect, test } from 'vitest'
import { NO_HEADERS } from '../message/headers.ts'
import type { Headers } from '../message/headers.ts'
import type { Binding } from './binding.ts'
import { DirectMatcher } from './direct.ts'
import { FanoutMatcher } from './fanout.ts'
import { HeadersMatcher } from './headers.ts'
import type { Bound, Matcher } from './matcher.ts'
import { TopicMatcher } from './topic.ts'

// What every exchange type promises, whatever its rule. A further type is one more row.
describe.each<{ type: string; make: () => Matcher<Bound>; keyed: boolean }>([
  { type: 'direct', make: () => new DirectMatcher(), keyed: true },
  { type: 'fanout', make: () => new FanoutMatcher(), keyed: false },
  { type: 'topic', make: () => new TopicMatcher(), keyed: true },
  { type: 'headers', make: () => new HeadersMatcher(), keyed: false },
])('a $type exchange', ({ make, keyed }) => {
  test('without bindings matches nothing', () => {
    expect(matches(make(), 'a')).toEqual(new Set())
  })

  test('finds a binding whose key and arguments are the message’s own', () => {
    const matcher = make()
    const bound = bind('a.b', new Map([['colour', 'red']]))
    matcher.add(bound)
    expect(matches(matcher, 'a.b', null, new Map([['colour', 'red']]))).toEqual(new Set([bound]))
  })

  test('finds every one of many bindings with the same key', () => {
    const matcher = make()
    const all = Array.from({ length: 50 }, () => bind('a'))
    for (const bound of all) matcher.add(bound)
    expect(matches(matcher, 'a')).toEqual(new Set(all))
  })

  test('no longer finds what was removed, and still finds the rest', () => {
    const matcher = make()
    const [gone, kept] = [bind('a.b'), bind('a.b')]
    matcher.add(gone)
    matcher.add(kept)
    matcher.remove(gone)
    expect(matches(matcher, 'a.b')).toEqual(new Set([kept]))
    matcher.remove(kept)
    expect(matches(matcher, 'a.b')).toEqual(new Set())
  })

  test('forgives the removal of what it does not hold', () => {
    const matcher = make()
    const kept = bind('a')
    matcher.add(kept)
    matcher.remove(bind('a'))
    matcher.remove(bind('b.c'))
    expect(matches(matcher, 'a')).toEqual(new Set([kept]))
  })

  test('finds what was added again after its removal', () => {
    const matcher = make()
    const bound = bind('a')
    matcher.add(bound)
    matcher.remove(bound)
    matcher.add(bound)
    expect(matches(matcher, 'a')).toEqual(new Set([bound]))
  })

  test('gives each further key the weight of the first', () => {
    const matcher = make()
    const [first, second, other] = [bind('a'), bind('b'), bind('c')]
    for (const bound of [first, second, other]) matcher.add(bound)
    expect(matches(matcher, 'a', ['b'])).toEqual(new Set(keyed ? [first, second] : [first, second, other]))
  })
})

function bind(key: string, args: Headers = NO_HEADERS): Bound {
  const binding: Binding = { source: 'x', destination: { kind: 'queue', name: 'q' }, key, args }
  return { binding }
}

function matches(
  matcher: Matcher<Bound>,
  key: string,
  moreKeys: readonly string[] | null = null,
  headers: Headers = NO_HEADERS,
): Set<Bound> {
  const found = new Set<Bound>()
  matcher.match({ key, moreKeys, headers: () => headers }, { found: (bound) => void found.add(bound) })
  return found
}
