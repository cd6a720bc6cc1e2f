import { expect, test } from 'vitest'
import type { Blobs } from '../blobs/blobs.ts'
import { memoryBlobs } from '../blobs/memory-blobs.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import type { Retention } from './cleaner.ts'
import { Outbox } from './outbox.ts'

const DAY_MS = 86_400_000
const key = 'a'.repeat(64)

/** A running outbox that looks for messages so seldom that days pass in a few steps. */
async function running(retention: Retention) {
  const world = new OutboxWorld()
  const outbox = new Outbox<MemoryTransaction>(world.process(), { relay: { lease: '12h', poll: '6h' }, retention })
  await outbox.start()
  await world.clock.settle()
  return { world, pass: (days: number) => world.clock.advance(days * DAY_MS) }
}

test('bodies that lie elsewhere are pruned when they are older than any message', async () => {
  const clock = { now: () => 0 }
  const blobs = memoryBlobs({ clock })
  const { world, pass } = await running({ blobs: { in: blobs, after: '31d' } })
  clock.now = () => world.clock.now()
  await blobs.put(key, new Uint8Array(1))
  await pass(30.9)
  expect(blobs.size).toBe(1)
  await pass(0.2)
  expect(blobs.size).toBe(0)
})

test.each([
  [{ after: '14d' }, 'done'],
  [{ after: '30d' }, 'cancelled'],
  [{ after: '60d', parked: '90d' }, 'parked'],
] as const)('an age of %o is refused: what is %s would outlive its body', async ({ after, ...more }, state) => {
  const blobs = memoryBlobs({ clock: { now: () => 0 } })
  const process = new OutboxWorld().process()
  expect(() => new Outbox(process, { retention: { ...more, blobs: { in: blobs, after } } })).toThrow(
    new RegExp(`retention\\.${state} is .*messages would outlive their bodies`),
  )
})

test('blobs that cannot be reached are looked for an hour later, and nothing else waits for them', async () => {
  let calls = 0
  const down: Blobs = {
    put: () => Promise.reject(new Error('down')),
    get: () => Promise.reject(new Error('down')),
    prune() {
      calls++
      return Promise.reject(new Error('down'))
    },
  }
  const { world } = await running({ blobs: { in: down, after: '60d' } })
  expect(calls).toBe(1)
  await world.clock.advance('50m')
  expect(calls).toBe(1)
  await world.clock.advance('30m')
  expect(calls).toBe(2)
})
