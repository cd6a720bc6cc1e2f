import { expect, test } from 'vitest'
import { bucketOf, BUCKETS } from './bucket.ts'

test('a key has the same bucket in every version: another one would break the order of what is under way', () => {
  const keys = ['', 'a', 'ticket-1', 'ticket-2', 'Ключ', '日本', 'x'.repeat(1000)]
  expect(keys.map(bucketOf)).toMatchInlineSnapshot(`
    [
      25,
      32,
      61,
      40,
      26,
      55,
      52,
    ]
  `)
})

test('keys that look alike are spread over all buckets evenly', () => {
  const counts = new Map<number, number>()
  for (let number = 0; number < BUCKETS * 100; number++) {
    const bucket = bucketOf(`customer-${number}`)
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1)
  }
  expect(counts.size).toBe(BUCKETS)
  for (const count of counts.values()) expect(count).toBeGreaterThan(50)
  for (const count of counts.values()) expect(count).toBeLessThan(200)
})
