import { array, assert, asyncProperty, constantFrom } from 'fast-check'
import { expect, test } from 'vitest'
import type { Message } from '../message/message.ts'
import { memoryStore, type MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Store } from '../store/port.ts'
import { Faults, type Fault } from './faults.ts'
import { injectStore } from './inject-store.ts'
import { manualClock } from './manual-clock.ts'

const messages: readonly Message[] = Array.from({ length: 4 }, (_, i) => ({
  id: `in ${i}`,
  kind: 'event',
  type: 'paid',
  version: 1,
  source: 's',
  time: 0,
  key: 'k',
  keySeq: i + 1,
  contentType: 'application/json',
  body: new Uint8Array(),
  metadata: { correlationId: 'c' },
}))

/** A handler that counts in its own table and says so to others, in one transaction with the inbox. */
function handle(store: Store<MemoryTransaction>, message: Message): Promise<void> {
  return store.transaction(async (tx) => {
    const [verdict] = await store.inbox.begin(tx, 'c', [message], true)
    if (verdict!.kind !== 'new') return
    const sums = tx.table<number>('sums')
    await sums.set('sum', ((await sums.get('sum')) ?? 0) + 1)
    await store.outbox.add(tx, [{ ...message, id: `out of ${message.id}`, type: 'counted', keySeq: null }])
  })
}

test('whatever dies or is cut off, and whenever: each message counts once, and the numbers have no gap', async () => {
  const faults = array(constantFrom<Fault | null>('crash', 'fail', null, null, null), { maxLength: 60 })
  await assert(
    asyncProperty(faults, async (planned) => {
      const clock = manualClock()
      const store = memoryStore({ clock })
      const left = [...planned]
      for (const message of messages) {
        // Delivered to two processes at once, again and again until both have said that they are through.
        for (let through = 0; through < 2;) {
          through = 0
          for (let process = 0; process < 2; process++) {
            const mortal = injectStore(store, new Faults(() => left.shift() ?? null))
            handle(mortal, message).then(
              () => through++,
              (error: unknown) => expect(error).toMatchObject({ retryable: true }),
            )
          }
          await clock.settle()
        }
      }
      expect(store.table<number>('sums').get('sum')).toBe(messages.length)
      const due = await store.outbox.due(
        Array.from({ length: 64 }, (_, bucket) => bucket),
        100,
      )
      expect(due.map(({ message }) => [message.id, message.keySeq])).toEqual(
        messages.map(({ id }, i) => [`out of ${id}`, i + 1]),
      )
    }),
    { numRuns: 200 },
  )
})
