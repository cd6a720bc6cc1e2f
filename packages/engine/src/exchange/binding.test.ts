import { expect, test } from 'vitest'
import { EngineError } from '../errors.ts'
import { NO_HEADERS, Timestamp } from '../message/headers.ts'
import type { HeaderValue } from '../message/headers.ts'
import { ARGUMENT_DEPTH_MAX, bindingIdentity, canonicalArguments } from './binding.ts'
import type { Binding } from './binding.ts'

test('bindings are the same whatever the order of their arguments', () => {
  const one = new Map<string, HeaderValue>([
    ['a', 1],
    ['b', ['x', new Map([['c', true]])]],
  ])
  const other = new Map([...one].toReversed())
  expect(bindingIdentity(binding({ args: one }))).toBe(bindingIdentity(binding({ args: other })))
})

test('each part tells bindings apart, and no content passes for a delimiter', () => {
  const all = [
    binding({}),
    binding({ source: 'y' }),
    binding({ destination: { kind: 'exchange', name: 'q' } }),
    binding({ destination: { kind: 'queue', name: 'q1:k' } }),
    binding({ destination: { kind: 'queue', name: 'q1' }, key: ':k' }),
    binding({ key: 'k{' }),
    binding({ args: new Map([['a', 'b']]) }),
    binding({ args: new Map([['a', 'b1:c']]) }),
  ]
  expect(new Set(all.map(bindingIdentity)).size).toBe(all.length)
})

test('integers are equal by value, other classes are kept apart', () => {
  const same: HeaderValue[][] = [
    [1, 1n],
    [2 ** 60, 2n ** 60n],
    [0, -0],
  ]
  for (const [a, b] of same) expect(args(a!)).toBe(args(b!))
  const apart = [1, 1.5, '1', true, false, null, 'null', Uint8Array.of(0x31), new Timestamp(1), [1], ['1'], new Map()]
  expect(new Set(apart.map(args)).size).toBe(apart.length)
})

test('arguments nested too deep are refused', () => {
  let value: HeaderValue = 1
  for (let depth = 1; depth < ARGUMENT_DEPTH_MAX; depth++) value = [value]
  expect(() => args(value)).not.toThrow()
  expect(() => args([value])).toThrow(EngineError)
})

function args(value: HeaderValue): string {
  return canonicalArguments(new Map([['a', value]]))
}

function binding(parts: Partial<Binding>): Binding {
  return { source: 'x', destination: { kind: 'queue', name: 'q' }, key: 'k', args: NO_HEADERS, ...parts }
}
