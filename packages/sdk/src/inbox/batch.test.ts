import { beforeEach, expect, test } from 'vitest'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { InboxWorld, Ticket, type TicketData } from '../testing/inbox-world.ts'
import { declareBatch, type BatchHandler, type BatchItem, type BatchOptions } from './declaration.ts'

type Handler = BatchHandler<MemoryTransaction, TicketData>

let world: InboxWorld
/** Ids of the items of each run. */
let runs: string[][]

const batch = (handler: Handler, options: Partial<BatchOptions> = {}) =>
  declareBatch<MemoryTransaction, 'ticket.changed', TicketData>(
    Ticket,
    { name: 'index', batch: { size: 8, wait: '1s' }, retry: { attempts: 2, initial: '1s', jitter: 0 }, ...options },
    (items, context) => {
      runs.push(items.map(({ message }) => message.id))
      return handler(items, context)
    },
  )

const write = async (items: readonly BatchItem<TicketData>[], tx: MemoryTransaction): Promise<void> => {
  const table = tx.table<number[]>('tickets')
  for (const { data } of items)
    await table.set(data.ticketId, [...((await table.get(data.ticketId)) ?? []), data.number])
}

const written = (key: string): number[] => world.store.table<number[]>('tickets').get(key) ?? []

beforeEach(() => {
  world = new InboxWorld()
  runs = []
})

test('a batch runs when it is full, or when its first message has waited long enough', async () => {
  const process = await world.process()
  await process.consume(batch((items, { tx }) => write(items, tx)))
  for (let key = 1; key <= 10; key++) await world.send(`k${key}-`, 1)
  await world.settle()
  expect(runs.map(({ length }) => length)).toEqual([8])
  await world.clock.advance(999)
  expect(runs).toHaveLength(1)
  await world.clock.advance(1)
  expect(runs.map(({ length }) => length)).toEqual([8, 2])
  expect(Object.values(await world.states())).toEqual(Array.from({ length: 10 }, () => 'done'))
})

test('a poison message is found by halving, and nothing else is parked with it', async () => {
  const process = await world.process()
  await process.consume(
    batch(async (items, { tx }) => {
      await write(items, tx)
      if (items.some(({ data }) => data.ticketId === 'k5-')) throw new Error('poison')
    }),
  )
  for (let key = 1; key <= 8; key++) await world.send(`k${key}-`, 1)
  await world.settle()
  expect(runs.map(({ length }) => length)).toEqual([8, 4, 4, 2, 1, 1, 2])
  await world.clock.advance('1m')
  const { 'k5-1': poison, ...others } = await world.states()
  expect(poison).toBe('parked')
  expect(Object.values(others)).toEqual(Array.from({ length: 7 }, () => 'done'))
  for (let key = 1; key <= 8; key++) expect(written(`k${key}-`)).toEqual(key === 5 ? [] : [1])
})

test('later messages of the key of one that failed wait for it', async () => {
  let fails = true
  const process = await world.process()
  await process.consume(
    batch(async (items, { tx }) => {
      await write(items, tx)
      if (fails && items.some(({ message }) => message.id === 'a2')) throw new Error('not yet')
    }),
  )
  await world.send('a', 1, 8)
  await world.settle()
  expect(written('a')).toEqual([1])
  expect(await world.states()).toMatchObject({ a1: 'done', a2: 'retrying', a3: 'waiting', a8: 'waiting' })
  fails = false
  await world.clock.advance('10s')
  expect(written('a')).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
})

test('items that are reported as failed are taken out, and the others are run again without them', async () => {
  const process = await world.process()
  await process.consume(
    batch(async (items, { tx }) => {
      await write(items, tx)
      return items.map(({ data }) => (data.ticketId === 'k2-' ? { failed: new RangeError('no such ticket') } : 'done'))
    }),
  )
  for (let key = 1; key <= 8; key++) await world.send(`k${key}-`, 1)
  await world.settle()
  expect(runs.map(({ length }) => length)).toEqual([8, 7])
  const [failed] = await world.received({ id: 'k2-1' })
  expect(failed).toMatchObject({ state: 'retrying', errors: [{ name: 'RangeError' }] })
  expect([written('k1-'), written('k2-')]).toEqual([[1], []])
})

test('each item continues its own conversation', async () => {
  const process = await world.process()
  await process.consume(
    batch(async (items) => {
      for (const { data, publish } of items) await publish(Ticket, { ticketId: `x-${data.ticketId}`, number: 1 })
    }),
  )
  for (let key = 1; key <= 8; key++) await world.send(`k${key}-`, 1)
  await world.settle()
  const { entries } = await world.store.register.list({ direction: 'out' }, 10, null)
  expect(entries.map(({ message }) => message?.metadata.causationId)).toEqual(runs[0])
  expect(world.calls.filter((call) => call === 'outbox.add')).toHaveLength(1)
})

test('a batch handler that returns too few results fails', async () => {
  const process = await world.process()
  await process.consume(batch(() => ['done'], { batch: { size: 2 } }))
  await world.send('a', 1)
  await world.settle()
  await world.send('b', 1, 2)
  await world.settle()
  expect((await world.received({ id: 'a1' }))[0]?.state).toBe('done')
  const errors = world.logged.filter(({ level }) => level === 'warn' || level === 'error')
  expect(errors).toEqual([])
})
