import { expect, test } from 'vitest'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Store } from '../store/port.ts'
import { InboxWorld, storeDown, Ticket, type TicketData } from '../testing/inbox-world.ts'
import type { Delivery, Transport } from '../transport/port.ts'
import { Consumer } from './consumer.ts'
import { declareOn } from './declaration.ts'

/** A store whose second transaction cannot be begun. */
function interrupted(store: Store<MemoryTransaction>): Store<MemoryTransaction> {
  let count = 0
  return {
    ...store,
    outbox: store.outbox,
    inbox: store.inbox,
    isTransaction: (handle): handle is MemoryTransaction => store.isTransaction(handle),
    async transaction(work) {
      if (++count === 2) throw storeDown()
      return store.transaction(work)
    },
    now: () => store.now(),
  }
}

/** A transport that says of one message that somebody may have seen it. */
function redelivering(transport: Transport, id: string): Transport {
  const marked = (delivery: Delivery): Delivery => ({
    message: delivery.message,
    raw: delivery.raw,
    redelivered: delivery.redelivered || delivery.message?.id === id,
    accept: () => delivery.accept(),
    release: (delayMs) => delivery.release(delayMs),
  })
  return new Proxy(transport, {
    get(target, member) {
      if (member === 'subscribe')
        return (...[consumer, prefetch, receive]: Parameters<Transport['subscribe']>) =>
          target.subscribe(consumer, prefetch, (delivery) => receive(marked(delivery)))
      const value: unknown = Reflect.get(target, member, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

// Found by exploring the whole SDK: the second one was kept in the store while the first was at the engine.
test('what comes after a message that was given back is given back, too', async () => {
  const world = new InboxWorld()
  const process = await world.process()
  const seen: number[] = []
  let release = (): void => {}
  const held = new Promise<void>((resolve) => (release = resolve))
  const declaration = declareOn<MemoryTransaction, 'ticket.changed', TicketData>(
    Ticket,
    { name: 'c', concurrency: 1 },
    async ({ ticketId, number }) => {
      if (ticketId === 'first') await held
      else seen.push(number)
    },
  )
  const { store, transport } = process.surroundings
  const surroundings = {
    ...process.surroundings,
    store: interrupted(store),
    transport: redelivering(transport, 'k2'),
  }
  const consumer = new Consumer(surroundings, process.outbox, declaration)
  await transport.declare({ sends: [], consumers: [consumer.topology] })
  await world.send('first', 1)
  await consumer.start()
  await world.settle()
  // Both wait in this process, and are taken together.
  await world.send('k', 1, 2)
  await world.settle()
  release()
  await world.clock.advance('10s')
  expect(seen).toEqual([1, 2])
})
