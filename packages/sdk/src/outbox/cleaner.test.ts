import { beforeEach, describe, expect, test } from 'vitest'
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

/** @returns what stops it */
async function running(retention?: Retention): Promise<() => Promise<void>> {
  const outbox = new Outbox<MemoryTransaction>(world.process(), {
    relay: { keepSent: true },
    ...(retention === undefined ? {} : { retention }),
  })
  await outbox.start()
  await world.clock.settle()
  return () => outbox.stop()
}

/** Moves on by days; what the pumps do meanwhile is of no interest. */
async function pass(days: number): Promise<void> {
  await world.clock.advance(days * DAY_MS)
}

/** A message with an id, and perhaps a dedupe key. */
function messageOf(id: string, dedupeKey?: string): Message {
  const draft = { ...world.draft({ id }), keySeq: null }
  return dedupeKey === undefined ? draft : { ...draft, metadata: { ...draft.metadata, dedupeKey } }
}

async function handle(
  ...given: readonly (string | { readonly id: string; readonly dedupeKey: string })[]
): Promise<void> {
  const messages = given.map((each) =>
    typeof each === 'string' ? messageOf(each) : messageOf(each.id, each.dedupeKey),
  )
  await world.store.transaction((tx) => world.store.inbox.begin(tx, 'close', messages, false))
}

const isDuplicate = (id: string, dedupeKey?: string): Promise<boolean> =>
  world.store
    .transaction(async (tx) => {
      const [verdict] = await world.store.inbox.begin(tx, 'close', [messageOf(id, dedupeKey)], false)
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

describe('dedupe keys are remembered', () => {
  const isKnown = (id: string): Promise<boolean> => isDuplicate(id, 'invoice 7')

  test('as long as what was handled, when nothing else is said', async () => {
    await handle({ id: 'm1', dedupeKey: 'invoice 7' })
    await pass(13)
    await running()
    expect(await isKnown('m2')).toBe(true)
    await pass(1.1)
    expect(await isKnown('m2')).toBe(false)
  })

  test('for longer, where that was said: also their own messages are not handled again', async () => {
    await running({ done: '1h', dedupeKeys: '4h' })
    await handle({ id: 'm1', dedupeKey: 'invoice 7' })
    await world.clock.advance('3h')
    expect([await isKnown('m1'), await isKnown('m2'), await isDuplicate('m1')]).toEqual([true, true, false])
    await world.clock.advance('2h')
    expect([await isKnown('m1'), await isKnown('m2')]).toEqual([false, false])
  })

  test('for less time, where that was said; their messages stay known', async () => {
    await running({ dedupeKeys: '1h' })
    await handle({ id: 'm1', dedupeKey: 'invoice 7' })
    await world.clock.advance('2h')
    expect([await isKnown('m1'), await isKnown('m2')]).toEqual([true, false])
  })

  test('for ever, or forgotten although messages are not', async () => {
    await handle({ id: 'm1', dedupeKey: 'invoice 7' })
    await pass(1000)
    const end = await running({ done: '1h', dedupeKeys: 'never' })
    await world.clock.advance('1h')
    expect([await isKnown('m2'), await isDuplicate('m1')]).toEqual([true, false])
    await end()
    await handle('m3')
    await pass(1000)
    await running({ done: 'never', dedupeKeys: '1h' })
    await world.clock.advance('1h')
    expect([await isKnown('m2'), await isDuplicate('m3')]).toEqual([false, true])
  })

  test('and many go a little at a time, all of them', async () => {
    await handle(
      ...Array.from({ length: 1700 }, (_, i) => ({ id: `m${i}`, dedupeKey: i === 1699 ? 'invoice 7' : `${i}` })),
    )
    await pass(1)
    await running({ dedupeKeys: '1h' })
    expect(await isKnown('other')).toBe(true)
    await world.clock.advance('400ms')
    expect(await isKnown('other')).toBe(false)
  })
})

test.each([
  ['done', '5m', 'retention.done is 300000 ms'],
  ['dedupeKeys', '5m', 'retention.dedupeKeys is 300000 ms'],
  ['dedupeKeys', 0, 'retention.dedupeKeys is 0 ms'],
])('a memory that is too short to be one is refused: %s, %s', (option, age, what) => {
  const declare = () => new Outbox(world.process(), { retention: { [option]: age } })
  expect(declare).toThrow(expect.objectContaining({ code: 'invalid_declaration' }))
  expect(declare).toThrow(what)
  expect(declare).toThrow('at least 1h')
})
