import { expect, test } from 'vitest'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Outbox } from './outbox.ts'
import { event } from '../contract/event.ts'
import { z } from 'zod'
import type { Surroundings } from '../surroundings.ts'
import type { MemoryTransaction, memoryStore } from '../store/memory/memory-store.ts'

const TicketSubmitted = event('ticket.submitted', z.object({ ticketId: z.string() })).key((d) => d.ticketId)

/** A store that notes when others were told, and tells them only then. */
function telling(world: OutboxWorld): Surroundings<MemoryTransaction> & { readonly toldAt: number[] } {
  const toldAt: number[] = []
  const store: ReturnType<typeof memoryStore> = {
    ...world.store,
    watch: () => () => {},
    notify: () => {
      toldAt.push(world.clock.monotonic())
      return Promise.resolve()
    },
  }
  return { ...world.process(), store, toldAt }
}

test('others are told of a commit at once', async () => {
  const world = new OutboxWorld()
  const process = telling(world)
  new Outbox(process, { relay: false }).committed({ messages: 1, dueAt: null })
  expect(process.toldAt).toEqual([0])
})

test('of a transaction that nobody sees commit others are told a millisecond after its messages, once for all of them', async () => {
  const world = new OutboxWorld()
  const process = telling(world)
  const outbox = new Outbox(process, { relay: false })
  await world.store.transaction(async (tx) => {
    for (const ticketId of ['a', 'b', 'c']) await outbox.in(tx).publish(TicketSubmitted, { ticketId })
  })
  await world.clock.advance(100)
  expect(process.toldAt).toEqual([1])
})

test('nobody is told of what is sent later, or when all buckets are leased by this process', async () => {
  const world = new OutboxWorld()
  const process = telling(world)
  const outbox = new Outbox(process)
  outbox.committed({ messages: 0, dueAt: world.clock.now() + 1000 })
  await outbox.start()
  await world.clock.settle()
  outbox.committed({ messages: 1, dueAt: null })
  expect(process.toldAt).toEqual([])
  await outbox.stop()
})

test('a relay that is told before the commit looks again until there is something', async () => {
  const world = new OutboxWorld()
  const process = world.process()
  let told = (): void => {}
  const store: ReturnType<typeof memoryStore> = {
    ...world.store,
    watch: (changed) => {
      told = changed
      return () => {}
    },
  }
  const outbox = new Outbox({ ...process, store })
  await outbox.start()
  await world.clock.advance('10s')
  told()
  await world.clock.advance(5)
  await world.commit({ id: 'a' })
  await world.clock.advance(2)
  expect(world.sent()).toEqual(['a'])
  await outbox.stop()
})
