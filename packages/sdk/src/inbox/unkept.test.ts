import { beforeEach, describe, expect, test } from 'vitest'
import { SdkError } from '../errors.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { InboxWorld, storeDown, Ticket, type TicketData } from '../testing/inbox-world.ts'
import { declareEffect, declareOn, type OnOptions } from './declaration.ts'

const KEPT_BYTES = 100

let world: InboxWorld
/** `key+number#attempt` of the calls, in their order. */
let called: string[]
/** What the handlers fail with, by `key+number`. */
let failing: Set<string>

const retry = { attempts: 3, initial: '1s', jitter: 0 } as const

const handle = ({ ticketId, number }: TicketData, { attempt }: { readonly attempt: number }): void => {
  called.push(`${ticketId}${number}#${attempt}`)
  if (failing.has(`${ticketId}${number}`)) throw new Error('not yet')
}

const on = (options: Partial<OnOptions> = {}) =>
  declareOn<MemoryTransaction, 'ticket.changed', TicketData>(Ticket, { name: 'close', retry, ...options }, handle)

/** A message that the store does not keep. */
const sendLarge = (key: string, number: number): Promise<void> =>
  world.send(key, number, number, {
    body: new TextEncoder().encode(JSON.stringify({ ticketId: key, number, scan: 'x'.repeat(KEPT_BYTES) })),
  })

/** Has a process begin what is sent, and die: it is delivered again, to another one. */
async function dieWith(send: () => Promise<void>): Promise<void> {
  const process = await world.process()
  const never = (): Promise<void> => new Promise(() => {})
  await process.consume(declareOn<MemoryTransaction, 'ticket.changed', TicketData>(Ticket, { name: 'close' }, never))
  await send()
  await world.settle()
  process.crash()
}

const refusals = (): number => world.logged.filter(({ text }) => text.startsWith('a message cannot be kept')).length

beforeEach(() => {
  world = new InboxWorld()
  world.keptBytesMax = KEPT_BYTES
  called = []
  failing = new Set()
})

describe('a message that is too large for the store to keep', () => {
  test('is handled like any other', async () => {
    const process = await world.process()
    await process.consume(on())
    await sendLarge('a', 1)
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'done' })
  })

  test('is tried again in its place when its handler failed: its key waits, and no other', async () => {
    failing.add('a1')
    const process = await world.process()
    await process.consume(on())
    await sendLarge('a', 1)
    await world.send('a', 2)
    await world.send('b', 1)
    await world.settle()
    await world.send('a', 3)
    await world.settle()
    expect(called).toEqual(['a1#1', 'b1#1'])
    await world.clock.advance('1s')
    expect(called.slice(2)).toEqual(['a1#2'])
    failing.clear()
    await world.clock.advance('2s')
    expect(called.slice(3)).toEqual(['a1#3', 'a2#1', 'a3#1'])
    expect(await world.states()).toEqual({ a1: 'done', a2: 'done', a3: 'done', b1: 'done' })
    expect(world.engine.size).toBe(0)
  })

  test('stays at the engine after its last attempt, is tried every five minutes, and parked once it can be kept', async () => {
    failing.add('a1')
    const process = await world.process()
    await process.consume(on())
    await sendLarge('a', 1)
    await world.send('a', 2)
    await world.clock.advance('3s')
    expect(called).toEqual(['a1#1', 'a1#2', 'a1#3'])
    await world.clock.advance('5m')
    expect(called).toEqual(['a1#1', 'a1#2', 'a1#3', 'a1#4'])
    expect(refusals()).toBe(4)
    expect([await world.states(), world.engine.size]).toEqual([{}, 2])
    world.keptBytesMax = Infinity
    await world.clock.advance('5m')
    expect([await world.states(), world.engine.size]).toEqual([{ a1: 'parked', a2: 'waiting' }, 0])
  })

  test('is forgotten after its last attempt where that was declared', async () => {
    failing.add('a1')
    const process = await world.process()
    await process.consume(on({ onExhausted: 'drop' }))
    await sendLarge('a', 1)
    await world.send('a', 2)
    await world.clock.advance('3s')
    expect(called.at(-1)).toBe('a2#1')
    expect([await world.states(), world.engine.size]).toEqual([{ a1: 'done', a2: 'done' }, 0])
  })

  test('is handled when it is delivered again, although it cannot be counted before', async () => {
    await dieWith(async () => {
      await sendLarge('a', 1)
      await world.send('b', 1)
    })
    const second = await world.process()
    await second.consume(on())
    await world.clock.advance('10s')
    expect(called.toSorted()).toEqual(['a1#1', 'b1#1'])
    expect([await world.states(), world.engine.size]).toEqual([{ a1: 'done', b1: 'done' }, 0])
  })

  test('goes back to the engine when the service stops', async () => {
    failing.add('a1')
    const process = await world.process()
    const consumer = await process.consume(on())
    await sendLarge('a', 1)
    await world.send('a', 2)
    await world.settle()
    await consumer.stop()
    await world.settle()
    expect(world.engine.waiting(consumer.name)).toBe(2)
  })

  test('waits for the store like any other, and keeps its place', async () => {
    failing.add('a1')
    const process = await world.process()
    await process.consume(on())
    await sendLarge('a', 1)
    await world.send('a', 2)
    await world.settle()
    world.fault = storeDown()
    await world.clock.advance('30s')
    world.fault = null
    failing.clear()
    await world.clock.advance('1m')
    expect(called.filter((call) => call.startsWith('a2'))).toEqual(['a2#1'])
    expect(called.at(-1)).toBe('a2#1')
    expect(await world.states()).toEqual({ a1: 'done', a2: 'done' })
  })

  test('is not begun as an effect before it can be kept, and others go on', async () => {
    const process = await world.process()
    await process.consume(declareEffect(Ticket, { name: 'sms', retry }, handle))
    await sendLarge('a', 1)
    await world.send('a', 2)
    await world.send('b', 1)
    await world.clock.advance('1m')
    expect(called).toEqual(['b1#1'])
    expect(refusals()).toBe(6)
    world.keptBytesMax = Infinity
    await world.clock.advance('5m')
    expect(called).toEqual(['b1#1', 'a1#1', 'a2#1'])
    expect(world.engine.size).toBe(0)
  })
})

test('what is kept together with it is kept all the same', async () => {
  await dieWith(async () => {
    await world.send('a', 1)
    await sendLarge('b', 1)
    await world.send('c', 1)
  })
  const second = await world.process()
  await second.consume(on({ concurrency: 1 }))
  await world.settle()
  expect([called.toSorted(), refusals()]).toEqual([['a1#1', 'c1#1'], 1])
  await world.clock.advance('2s')
  expect(await world.states()).toEqual({ a1: 'done', b1: 'done', c1: 'done' })
})

test('what the store does not keep for another reason keeps its place, too, and is kept later', async () => {
  const process = await world.process()
  failing.add('a1')
  await process.consume(on())
  const keep = world.store.inbox.keep.bind(world.store.inbox)
  world.store.inbox.keep = () => Promise.reject(new SdkError('conflict', 'run it again', { retryable: true }))
  await world.send('a', 1, 2)
  await world.settle()
  expect(called).toEqual(['a1#1'])
  world.store.inbox.keep = keep
  await world.clock.advance('1s')
  expect([called, await world.states()]).toEqual([['a1#1', 'a1#2'], { a1: 'retrying', a2: 'waiting' }])
})
