import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Outbox } from './outbox.ts'

type Step =
  | { readonly do: 'commit'; readonly keys: readonly number[] }
  /** The engine takes all of the next batches, or none, and the answers are lost. */
  | { readonly do: 'lose'; readonly batches: number; readonly taken: boolean }
  /** The store refuses to write down what was sent, so many times. */
  | { readonly do: 'forget'; readonly times: number }
  | { readonly do: 'restart'; readonly process: number }
  | { readonly do: 'pass'; readonly ms: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('commit' as const), keys: fc.array(fc.nat(5), { maxLength: 40 }) }),
  },
  fc.record({ do: fc.constant('lose' as const), batches: fc.integer({ min: 1, max: 4 }), taken: fc.boolean() }),
  fc.record({ do: fc.constant('forget' as const), times: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ do: fc.constant('restart' as const), process: fc.nat(1) }),
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 20_000 }) }) },
)

test('whatever fails around them, relays lose nothing and keep each key in its order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const world = new OutboxWorld()
      const taken: Message[] = []
      let losing = 0
      let takenAllTheSame = false
      let forgetting = 0
      const { transport } = world
      transport.send = async (messages) => {
        if (losing === 0) {
          taken.push(...messages)
          return messages.map(() => 'sent')
        }
        losing--
        if (takenAllTheSame) taken.push(...messages)
        throw new SdkError('transport_down', 'no answer', { retryable: true })
      }
      const { sent } = world.store.outbox
      world.store.outbox.sent = (...args) => {
        if (forgetting === 0) return sent.apply(world.store.outbox, args)
        forgetting--
        return Promise.reject(new SdkError('store_down', 'no', { retryable: true }))
      }
      const start = async (name: string): Promise<Outbox<MemoryTransaction>> => {
        const outbox = new Outbox<MemoryTransaction>(world.process(name), { relay: { batch: 10 } })
        await outbox.start()
        return outbox
      }
      const processes = [await start('a'), await start('b')]
      let count = 0
      for (const each of steps) {
        if (each.do === 'commit') await world.commit(...each.keys.map((key) => ({ id: `m${++count}`, key: `k${key}` })))
        else if (each.do === 'lose') [losing, takenAllTheSame] = [each.batches, each.taken]
        else if (each.do === 'forget') forgetting = each.times
        else if (each.do === 'pass') await world.clock.advance(each.ms)
        else {
          await processes[each.process]!.stop()
          processes[each.process] = await start(['a', 'b'][each.process]!)
        }
      }
      // A message that was blamed for a broken connection waits for its retry.
      await world.clock.advance('10m')
      expect(await world.states()).toEqual({})
      const last = new Map<string, number>()
      const seen = new Set<string>()
      for (const { id, key, keySeq } of taken) {
        if (seen.has(id)) continue
        seen.add(id)
        expect(keySeq).toBe((last.get(key!) ?? 0) + 1)
        last.set(key!, keySeq!)
      }
      expect(seen.size).toBe(count)
      for (const process of processes) await process.stop()
    }),
    { numRuns: 40 },
  )
})
