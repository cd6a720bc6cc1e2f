import { beforeEach, expect, test } from 'vitest'
import { Outbox } from '../outbox/outbox.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { InboxWorld, Ticket, Told, type TicketData } from '../testing/inbox-world.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Consumer } from './consumer.ts'
import { declareBatch, declareOn, type Declaration, type OnHandler } from './declaration.ts'

const DEPTH_MAX = 3
const PARKING = { name: 'close', retry: { attempts: 1 }, onExhausted: 'park-key' } as const

let world: InboxWorld
let outbox: Outbox<MemoryTransaction>
let begun: string[]

const on = (handler: OnHandler<MemoryTransaction, TicketData>): Declaration<MemoryTransaction> =>
  declareOn<MemoryTransaction, 'ticket.changed', TicketData>(Ticket, PARKING, async (data, context) => {
    begun.push(`${data.ticketId}${data.number}`)
    await handler(data, context)
  })

/** A consumer in a process whose outbox is full. */
async function consume(declaration: Declaration<MemoryTransaction>): Promise<Consumer<MemoryTransaction>> {
  const { surroundings, transport } = await world.process()
  outbox = new Outbox(surroundings, { relay: false, limit: { depthMax: DEPTH_MAX, whenFull: 'block' } })
  await outbox.start()
  const consumer = new Consumer(surroundings, outbox, declaration)
  await transport.declare({ sends: [], consumers: [consumer.topology] })
  await consumer.start()
  return consumer
}

/** As a relay would. @returns the ids of what was sent */
async function sendAll(): Promise<string[]> {
  const { outbox: port } = world.store
  const leases = await port.lease('relay', 60_000)
  const entries = await port.due(
    leases.map(({ bucket }) => bucket),
    1000,
  )
  await port.sent(leases, entries, false)
  return entries.map(({ message }) => message.id)
}

const attempts = async () => Object.fromEntries((await world.received()).map(({ id, attempts: count }) => [id, count]))

beforeEach(async () => {
  world = new InboxWorld()
  begun = []
  const drafts = new OutboxWorld()
  const fill = Array.from({ length: DEPTH_MAX }, () => drafts.draft())
  await world.store.transaction((tx) => world.store.outbox.add(tx, fill))
})

test('a handler that sends is run again until there is room: in its order, and no attempt is counted', async () => {
  const consumer = await consume(
    on(({ number }, { publish }) => publish(Told, { ticketId: 'a', number }, { id: `t${number}` }).then(() => {})),
  )
  await world.send('a', 1, 2)
  await world.settle()
  // The engine's queue is empty: what waits in the outbox may have to go there.
  expect(world.engine.waiting(consumer.name)).toBe(0)
  await world.clock.advance('1h')
  expect(await world.states()).toEqual({ a1: 'waiting', a2: 'waiting' })
  expect(await attempts()).toEqual({ a1: 0, a2: 0 })
  await sendAll()
  await world.clock.advance('2m')
  expect(await world.states()).toEqual({ a1: 'done', a2: 'done' })
  expect(await sendAll()).toEqual(['t1', 't2'])
  expect(world.counted(METRIC.inboxFailures)).toBe(0)
  await consumer.stop()
})

test('it is run less and less often, once a minute in the end', async () => {
  const consumer = await consume(
    on(({ number }, { publish }) => publish(Told, { ticketId: 'a', number }).then(() => {})),
  )
  await world.send('a', 1)
  await world.clock.advance('1m')
  expect(begun.length).toBeGreaterThan(4)
  expect(begun.length).toBeLessThan(10)
  const before = begun.length
  await world.clock.advance('10m')
  expect(begun.length - before).toBeGreaterThanOrEqual(9)
  expect(begun.length - before).toBeLessThanOrEqual(11)
  await consumer.stop()
})

test('handlers that send nothing go on', async () => {
  const consumer = await consume(
    on(async ({ ticketId, number }, { publish }) => {
      if (ticketId === 'sends') await publish(Told, { ticketId, number })
    }),
  )
  await world.send('silent', 1, 5)
  await world.send('sends', 1)
  await world.send('silent', 6, 10)
  await world.settle()
  const states = await world.states()
  expect(states['sends1']).toBe('waiting')
  expect(Object.values(states).filter((state) => state === 'done')).toHaveLength(10)
  await consumer.stop()
})

test('a message that waits for one of its key that sends keeps its place behind it', async () => {
  const consumer = await consume(
    on(async ({ number }, { publish }) => {
      if (number === 1) await publish(Told, { ticketId: 'a', number })
    }),
  )
  await world.send('a', 1, 2)
  await world.settle()
  expect(await world.states()).toEqual({ a1: 'waiting', a2: 'waiting' })
  await sendAll()
  await world.clock.advance('2m')
  expect(begun.slice(-2)).toEqual(['a1', 'a2'])
  await consumer.stop()
})

test("what a handler adds to its transaction itself is no failure of the message's either, also when it wraps the error", async () => {
  const consumer = await consume(
    on(async ({ number }, { tx }) => {
      try {
        await outbox.in(tx).publish(Told, { ticketId: 'a', number })
      } catch (cause) {
        throw new Error('could not tell', { cause })
      }
    }),
  )
  await world.send('a', 1)
  await world.clock.advance('1m')
  expect(await world.states()).toEqual({ a1: 'waiting' })
  expect(await attempts()).toEqual({ a1: 0 })
  await consumer.stop()
})

test('of a batch those wait that send', async () => {
  const consumer = await consume(
    declareBatch<MemoryTransaction, 'ticket.changed', TicketData>(
      Ticket,
      { ...PARKING, batch: { size: 8, wait: '10ms' } },
      async (items) => {
        for (const { data, publish } of items) if (data.ticketId === 'sends') await publish(Told, data)
      },
    ),
  )
  await world.send('silent', 1, 3)
  await world.send('sends', 1)
  await world.clock.advance('100ms')
  expect(await world.states()).toEqual({ silent1: 'done', silent2: 'done', silent3: 'done', sends1: 'waiting' })
  await consumer.stop()
})
