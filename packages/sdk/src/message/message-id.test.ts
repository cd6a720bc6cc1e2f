import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { seededRandom } from '../random.ts'
import { systemClock } from '../time/clock.ts'
import { uuidV7 } from './message-id.ts'

const clockAt = (now: () => number) => ({ ...systemClock, now })

test('an id is a UUID of version 7 with the time in front [RFC 9562 §5.7]', () => {
  const newId = uuidV7(
    clockAt(() => 0x0199_aabb_ccdd),
    seededRandom(1),
  )
  expect(newId()).toMatch(/^0199aabb-ccdd-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

test('ids of one process rise and never repeat, whatever the clock does [RFC 9562 §6.2]', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 200 }),
      fc.integer(),
      (times, seed) => {
        let now = 0
        const newId = uuidV7(
          clockAt(() => now),
          seededRandom(seed),
        )
        const ids = times.map((time) => {
          now = 1_700_000_000_000 + time
          return newId()
        })
        expect(ids).toEqual(ids.toSorted())
        expect(new Set(ids).size).toBe(ids.length)
      },
    ),
  )
})

test('more ids in a millisecond than the counter has go on in the next one', () => {
  const newId = uuidV7(
    clockAt(() => 1_700_000_000_000),
    seededRandom(2),
  )
  const ids = Array.from({ length: 10_000 }, newId)
  expect(ids).toEqual(ids.toSorted())
  expect(new Set(ids).size).toBe(10_000)
})
