import type { Queue } from '@stathmos/engine'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { type DeliverySource, Unacked } from './unacked.ts'

function source(timeoutMs = 1000): DeliverySource {
  return { queue: {} as Queue, timeoutMs, settled: () => {} }
}

function taken(unacked: Unacked, tag: number, multiple: boolean, keep = false): number[] | false {
  const tickets: number[] = []
  return unacked.take(tag, multiple, keep, (_source, ticket) => tickets.push(ticket)) && tickets
}

type Step =
  | { readonly kind: 'add'; readonly count: number }
  | { readonly kind: 'skip'; readonly count: number }
  | { readonly kind: 'take'; readonly at: number; readonly multiple: boolean }

const STEPS: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('add' as const),
      count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(3000)),
    }),
    fc.record({ kind: fc.constant('skip' as const), count: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ kind: fc.constant('take' as const), at: fc.nat(), multiple: fc.boolean() }),
    // Mostly the newest, so that old ones become stragglers.
    fc.record({ kind: fc.constant('take' as const), at: fc.constant(-1), multiple: fc.constant(false) }),
  ),
  { maxLength: 60 },
)

test('settles what a plain map would settle, in delivery order [AMQP basic.ack]', () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const unacked = new Unacked()
      const from = source()
      const model = new Map<number, number>()
      let ticket = 0
      for (const step of steps) {
        if (step.kind === 'add') {
          for (let i = 0; i < step.count; i++) model.set(unacked.add(from, ++ticket, 0), ticket)
        } else if (step.kind === 'skip') {
          for (let i = 0; i < step.count; i++) unacked.skip()
        } else {
          const tags = [...model.keys()]
          const tag = step.at < 0 ? (tags.at(-1) ?? 1) : (tags[step.at % Math.max(tags.length, 1)] ?? 1)
          const expected = !model.has(tag)
            ? false
            : step.multiple
              ? tags.filter((other) => other <= tag).map((other) => model.get(other)!)
              : [model.get(tag)!]
          expect(taken(unacked, tag, step.multiple)).toEqual(expected)
          for (const other of step.multiple ? tags.filter((each) => each <= tag) : [tag]) model.delete(other)
        }
        expect(unacked.count).toBe(model.size)
      }
      expect(taken(unacked, 0, true)).toEqual([...model.values()])
    }),
    { numRuns: 300 },
  )
})

test('tag 0 with multiple settles all there are, even none [AMQP basic.ack]', () => {
  const unacked = new Unacked()
  expect(taken(unacked, 0, true)).toEqual([])
  unacked.add(source(), 11, 0)
  unacked.add(source(), 12, 0)
  expect(taken(unacked, 0, true)).toEqual([11, 12])
})

test('a delivery is settled once', () => {
  const unacked = new Unacked()
  unacked.add(source(), 11, 0)
  expect(taken(unacked, 1, false)).toEqual([11])
  expect(taken(unacked, 1, false)).toBe(false)
  expect(taken(unacked, 2, false)).toBe(false)
})

test('one delivery held for ever costs no room for those behind it', () => {
  const unacked = new Unacked()
  const from = source()
  unacked.add(from, 1, 0)
  let settled = 0
  for (let i = 2; i <= 200_000; i++) {
    unacked.add(from, i, 0)
    unacked.take(i, false, false, (_source, ticket) => (settled += ticket === i ? 1 : 0))
  }
  expect(settled).toBe(199_999)
  expect(unacked.count).toBe(1)
  expect(taken(unacked, 1, false)).toEqual([1])
})

test('what a transaction settled is held again after a rollback, and gone after a commit [AMQP tx.rollback]', () => {
  const unacked = new Unacked()
  for (let i = 1; i <= 3; i++) unacked.add(source(), i, 0)
  expect(taken(unacked, 2, true, true)).toEqual([1, 2])
  expect(taken(unacked, 1, false, true)).toBe(false)
  unacked.restore()
  expect(unacked.count).toBe(3)
  expect(taken(unacked, 2, true, true)).toEqual([1, 2])
  unacked.forgetPromised()
  expect(taken(unacked, 1, false)).toBe(false)
  expect(taken(unacked, 3, false)).toEqual([3])
})

test('what is held too long is given back once, and its late acknowledgement is taken [consumer timeout]', () => {
  const unacked = new Unacked()
  unacked.add(source(100), 1, 0)
  unacked.add(source(500), 2, 0)
  const returned: number[] = []
  expect(unacked.expire(100, (_source, ticket) => returned.push(ticket))).toBe(500)
  expect(unacked.expire(101, (_source, ticket) => returned.push(ticket))).toBe(500)
  expect(returned).toEqual([1])
  const late: boolean[] = []
  expect(unacked.take(2, true, false, (_source, _ticket, wasReturned) => late.push(wasReturned))).toBe(true)
  expect(late).toEqual([true, false])
})
