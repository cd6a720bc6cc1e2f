import { beforeEach, expect, test } from 'vitest'
import { SdkError } from '../errors.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Message } from '../message/message.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import type { Retention } from './cleaner.ts'
import { Outbox } from './outbox.ts'

const DAY_MS = 86_400_000

let world: OutboxWorld

beforeEach(() => {
  world = new OutboxWorld()
})

async function running(retention?: Retention): Promise<void> {
  const outbox = new Outbox<MemoryTransaction>(world.process(), {
    relay: { keepSent: true },
    ...(retention === undefined ? {} : { retention }),
  })
  await outbox.start()
  await world.clock.settle()
}

/** Moves on by days; what the pumps do meanwhile is of no interest. */
async function pass(days: number): Promise<void> {
  await world.clock.advance(days * DAY_MS)
}

async function handle(...ids: string[]): Promise<void> {
  const messages: Message[] = ids.map((id) => ({ ...world.draft({ id }), keySeq: null }))
  await world.store.transaction((tx) => world.store.inbox.begin(tx, 'close', messages, false))
}

const isDuplicate = (id: string): Promise<boolean> =>
  world.store
    .transaction(async (tx) => {
      const message = { ...world.draft({ id }), keySeq: null }
      const [verdict] = await world.store.inbox.begin(tx, 'close', [message], false)
      throw new SdkError('cancelled', verdict!.kind)
    })
    .catch((error: Error) => error.message === 'duplicate')

test('what was handled is remembered for 14 days, and then forgotten', async () => {
  await handle('m1')
  await pass(13)
  await running()
  expect(await isDuplicate('m1')).toBe(true)
  await pass(1.1)
  expect(await isDuplicate('m1')).toBe(false)
})

test('large histories go a little at a time, and all of them', async () => {
  await handle(...Array.from({ length: 1700 }, (_, i) => `m${i}`))
  await pass(15)
  await running()
  expect(await isDuplicate('m1699')).toBe(true)
  await world.clock.advance('400ms')
  expect(await isDuplicate('m1699')).toBe(false)
})

test('what was sent is kept as long as was said', async () => {
  await running({ sent: '1d' })
  await world.commit({ id: 'm1' })
  await world.clock.advance('1h')
  expect(await world.states()).toEqual({ m1: 'sent' })
  await pass(1)
  expect(await world.states()).toEqual({})
})

test('what was not sent is never deleted, however old it is [Directum: a purge of what was unsent]', async () => {
  world.transport.answer = ({ id }) => {
    if (id === 'given up') return new SdkError('refused', 'no')
    throw new SdkError('transport_down', 'nobody there', { retryable: true })
  }
  await world.commit({ id: 'pending', key: 'a' }, { id: 'behind', key: 'a' })
  await world.store.transaction((tx) =>
    world.store.timers.set(tx, [
      { draft: world.draft({ id: 'later' }), dueAt: world.clock.now() + 90 * DAY_MS, cancelKey: null },
    ]),
  )
  // Started only now: two months of vain attempts prove nothing more.
  const outbox = new Outbox<MemoryTransaction>(world.process())
  await pass(60)
  await outbox.start()
  await world.clock.advance('10m')
  expect(await world.states()).toEqual({ pending: 'pending', behind: 'pending', later: 'scheduled' })
})

test('what was given up stays for the operator unless an age is given', async () => {
  world.transport.answer = () => new SdkError('refused', 'no')
  await running()
  await world.commit({ id: 'm1' })
  await world.clock.advance('1m')
  await pass(2)
  expect(await world.states()).toEqual({ m1: 'parked' })
  await running({ parked: '1d' })
  await world.clock.advance('10m')
  expect(await world.states()).toEqual({})
})

test('a memory that is too short to be one is refused', () => {
  expect(() => new Outbox(world.process(), { retention: { done: '5m' } })).toThrow('at least 1h')
})
