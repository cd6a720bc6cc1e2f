import { assert, integer, property } from 'fast-check'
import { expect, test } from 'vitest'
import { BUCKETS } from '../message/bucket.ts'
import { queuesOf } from './consumer-queues.ts'
import { consumerOf, contractOf } from './contract/parties.ts'

const contract = contractOf('event')

test('an unordered consumer has one queue for everything', () => {
  expect(queuesOf({ queue: 'shop.mail', contract, ordered: false, partitions: 1 })).toEqual([
    { name: 'shop.mail', buckets: null, singleActive: false },
  ])
})

test('every bucket belongs to one partition of an ordered consumer, whatever their number', () => {
  assert(
    property(integer({ min: 2, max: BUCKETS }), (partitions) => {
      const queues = queuesOf(consumerOf(contract, 'reader', { ordered: true, partitions }))
      expect(queues.every(({ singleActive }) => singleActive)).toBe(true)
      expect(new Set(queues.map(({ name }) => name)).size).toBe(partitions)
      const buckets = queues.flatMap((queue) => queue.buckets ?? [])
      expect(buckets.toSorted((a, b) => a - b)).toEqual(Array.from({ length: BUCKETS }, (_, i) => i))
    }),
  )
})

test('one partition takes everything with a single binding', () => {
  expect(queuesOf({ queue: 'q', contract, ordered: true, partitions: 1 })).toEqual([
    { name: 'q.0', buckets: null, singleActive: true },
  ])
})

test.each([0, -1, 1.5, 65])('%s partitions are refused', (partitions) => {
  const declare = () => queuesOf(consumerOf(contract, 'reader', { ordered: true, partitions }))
  expect(declare).toThrow(expect.objectContaining({ code: 'invalid_declaration' }))
})
