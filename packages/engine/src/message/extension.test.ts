import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { die, type History, NO_HISTORY } from './death.ts'
import { decodeExtension, encodeExtension } from './extension.ts'

const death = (queue: string, reason: 'rejected' | 'expired' | 'maxlen' | 'delivery_limit' = 'rejected') => ({
  queue,
  reason,
  timeMs: 1000,
  exchange: 'x',
  routingKeys: ['k', 'ü'],
})

test('a message without a history takes no bytes for it', () => {
  expect(encodeExtension({ history: NO_HISTORY })).toHaveLength(0)
  expect(decodeExtension(new Uint8Array(0))).toEqual({})
})

test('a history is read as it was written', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string(), fc.constantFrom('rejected', 'expired', 'maxlen')), { minLength: 1 }),
      (deaths) => {
        let history: History = NO_HISTORY
        for (const [queue, reason] of deaths) history = die(history, death(queue, reason))
        expect(decodeExtension(encodeExtension({ history }))).toEqual({ history })
      },
    ),
  )
})

test('what a later version adds is skipped', () => {
  const history = die(NO_HISTORY, death('q'))
  const known = encodeExtension({ history })
  const bytes = new Uint8Array(5 + 3 + known.length)
  bytes.set([200, 3, 0, 0, 0, 1, 2, 3])
  bytes.set(known, 8)
  expect(decodeExtension(bytes)).toEqual({ history })
})
