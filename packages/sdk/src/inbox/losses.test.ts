import { beforeEach, describe, expect, test } from 'vitest'
import { SdkError } from '../errors.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { InboxWorld, storeDown, Ticket, type TicketData } from '../testing/inbox-world.ts'
import { declareBatch, declareOn, type OnHandler } from './declaration.ts'

type Handler = OnHandler<MemoryTransaction, TicketData>

let world: InboxWorld
/** Keys and numbers of messages whose handlers were begun, with their attempts. */
let begun: string[]

beforeEach(() => {
  world = new InboxWorld()
  begun = []
})

const on = (handler: Handler) =>
  declareOn<MemoryTransaction, 'ticket.changed', TicketData>(
    Ticket,
    { name: 'close', retry: { attempts: 3, initial: '1s', jitter: 0 } },
    async (data, context) => {
      begun.push(`${data.ticketId}${data.number}/${context.attempt}`)
      await handler(data, context)
    },
  )

const lost = (): SdkError =>
  new SdkError('store_down', 'the connection is gone', { retryable: true, data: { connection: 'lost' } })

describe('a connection that is lost during a handler', () => {
  test('is an attempt of its message when the store answers everybody else', async () => {
    let losses = 1
    const process = await world.process()
    await process.consume(
      on(() => {
        if (losses-- > 0) throw lost()
      }),
    )
    await world.send('a', 1)
    await world.settle()
    expect(await world.received()).toMatchObject([{ id: 'a1', state: 'retrying', attempts: 1 }])
    await world.clock.advance('2s')
    expect(await world.states()).toEqual({ a1: 'done' })
    expect(begun).toEqual(['a1/1', 'a1/2'])
    expect(world.logged.filter(({ text }) => text.includes('the store does not answer'))).toEqual([])
  })

  test('every time parks the message in the end, and stops nobody else', async () => {
    const process = await world.process()
    await process.consume(
      on(({ ticketId }) => {
        if (ticketId === 'bad') throw lost()
      }),
    )
    await world.send('bad', 1)
    await world.send('good', 1, 3)
    await world.clock.advance('1m')
    expect(begun.filter((name) => name.startsWith('bad'))).toEqual(['bad1/1', 'bad1/2', 'bad1/3'])
    expect(await world.states()).toEqual({ bad1: 'parked', good1: 'done', good2: 'done', good3: 'done' })
  })

  test('costs no attempt when the store is away', async () => {
    let fails = true
    const process = await world.process()
    await process.consume(
      on(() => {
        if (!fails) return
        world.fault = storeDown()
        throw lost()
      }),
    )
    await world.send('a', 1)
    await world.clock.advance('1m')
    fails = false
    world.fault = null
    await world.clock.advance('1m')
    expect(begun).toEqual(['a1/1', 'a1/1'])
    expect(await world.received()).toMatchObject([{ id: 'a1', state: 'done', attempts: 1 }])
  })

  test('is an attempt after all when the store goes away whenever the message is handled', async () => {
    const process = await world.process()
    await process.consume(
      on(({ ticketId }) => {
        if (ticketId !== 'crash') return
        world.fault = storeDown()
        process.surroundings.clock.after(500, () => (world.fault = null))
        throw lost()
      }),
    )
    await world.send('crash', 1)
    await world.send('good', 1, 3)
    await world.clock.advance('10m')
    expect(await world.states()).toEqual({ crash1: 'parked', good1: 'done', good2: 'done', good3: 'done' })
    const attempts = begun.filter((name) => name.startsWith('crash')).map((name) => Number(name.slice(-1)))
    expect(attempts).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3])
    expect(begun.filter((name) => name.startsWith('good')).every((name) => name.endsWith('/1'))).toBe(true)
  })

  test('before any handler was called says nothing of the messages', async () => {
    const process = await world.process()
    const { store } = process.surroundings
    let losses = 2
    const transaction: typeof store.transaction = async (work) => {
      if (losses-- > 0) throw lost()
      return store.transaction(work)
    }
    const losing: typeof store = Object.assign(Object.create(store) as typeof store, { transaction })
    Object.assign(process.surroundings, { store: losing })
    await process.consume(on(() => {}))
    await world.send('a', 1)
    await world.clock.advance('1m')
    expect(losses).toBe(-1)
    expect(begun).toEqual(['a1/1'])
    expect(await world.received()).toMatchObject([{ id: 'a1', state: 'done', attempts: 1 }])
  })

  test('in a batch is found out by halves', async () => {
    const process = await world.process()
    await process.consume(
      declareBatch<MemoryTransaction, 'ticket.changed', TicketData>(
        Ticket,
        { name: 'c', batch: { size: 4, wait: '1s' }, retry: { attempts: 2, initial: '1s', jitter: 0 } },
        async (items, { tx }) => {
          if (items.some(({ data }) => data.ticketId === 'bad')) throw lost()
          for (const { data } of items) await tx.table('tickets').set(data.ticketId, data.number)
        },
      ),
    )
    for (const key of ['a', 'b', 'bad', 'd']) await world.send(key, 1)
    await world.clock.advance('1m')
    expect(await world.states()).toEqual({ a1: 'done', b1: 'done', bad1: 'parked', d1: 'done' })
  })
})
