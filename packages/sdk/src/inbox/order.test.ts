import { beforeEach, describe, expect, test } from 'vitest'
import type { Message } from '../message/message.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { InboxWorld, Ticket, type TicketData } from '../testing/inbox-world.ts'
import { declareBatch, declareEffect, declareOn, type EffectOptions, type OnOptions } from './declaration.ts'

let world: InboxWorld
/** Numbers of the messages that were handled, in their order. */
let handled: number[]
/** What a handler does with a number before it is done. */
let obstacle: (number: number) => unknown

const handle = async ({ number }: TicketData): Promise<void> => {
  await obstacle(number)
  handled.push(number)
}

const retry = { attempts: 3, initial: '1s', jitter: 0 } as const

const on = (options: Partial<OnOptions> = {}) =>
  declareOn<MemoryTransaction, 'ticket.changed', TicketData>(Ticket, { name: 'close', retry, ...options }, handle)

const batch = () =>
  declareBatch<MemoryTransaction, 'ticket.changed', TicketData>(
    Ticket,
    { name: 'close', retry, batch: { size: 8 } },
    async (items) => {
      for (const { data } of items) await handle(data)
    },
  )

const effect = (options: Partial<EffectOptions<TicketData>> = {}) =>
  declareEffect<'ticket.changed', TicketData>(Ticket, { name: 'close', retry, ...options }, handle)

/** Sends messages of one key with their numbers, each when the one before it has been dealt with. */
async function send(...numbers: readonly number[]): Promise<void> {
  for (const number of numbers) {
    await world.send('a', number, number, { keySeq: number })
    await world.settle()
  }
}

function expectCounted(counts: { gaps: number; late: number; duplicates: number }): void {
  expect({
    gaps: world.counted(METRIC.inboxGaps),
    late: world.counted(METRIC.inboxLate),
    duplicates: world.counted(METRIC.inboxDuplicates),
  }).toEqual(counts)
}

/** What the log says of numbers. */
const logged = (): unknown[] =>
  world.logged
    .filter(({ fields }) => 'keySeq' in fields)
    .map(({ text, fields }) => [text, (fields as { keySeq: unknown }).keySeq])

const GAP = 'the message before this one of its key was never seen'
const LATE = 'the message came after a later one of its key'

beforeEach(() => {
  world = new InboxWorld()
  handled = []
  obstacle = () => {}
})

describe('gaps, reorderings and duplicates are counted by the numbers that senders give', () => {
  test.each([
    ['of messages that are handled in transactions', on],
    ['of messages that are handled in batches', batch],
    ['of effects', effect],
    [
      'of effects that happen at most once',
      () => declareEffect(Ticket, { name: 'close', level: 'at-most-once' }, handle),
    ],
  ])('%s', async (_, declaration) => {
    const process = await world.process()
    await process.consume(declaration())
    await send(1, 2, 5, 3, 5, 6)
    expectCounted({ gaps: 1, late: 1, duplicates: 1 })
    // The alert on gaps sends the operator to the log.
    expect(logged()).toEqual([
      [GAP, 5],
      [LATE, 3],
    ])
    expect(handled).toEqual([1, 2, 5, 3, 6])
  })

  test.each([
    ['a transaction', on],
    ['an effect', effect],
  ])('of what is kept because %s of its key failed, once for all its attempts', async (_, declaration) => {
    let failures = 2
    obstacle = (number) => {
      if (number === 1 && failures-- > 0) throw new Error('not yet')
    }
    const process = await world.process()
    await process.consume(declaration())
    await send(1, 3, 4)
    expect(await world.states()).toEqual({ a1: 'retrying', a3: 'waiting', a4: 'waiting' })
    expectCounted({ gaps: 1, late: 0, duplicates: 0 })
    await world.clock.advance('10s')
    await send(5)
    expect(handled).toEqual([1, 3, 4, 5])
    expectCounted({ gaps: 1, late: 0, duplicates: 0 })
    expect(logged()).toEqual([[GAP, 3]])
  })

  test.each([
    ['failed', { retry: { attempts: 1 } }, {}],
    ['was dropped', { retry: { attempts: 1 }, onExhausted: 'drop' }, {}],
    ['was not to be read', {}, { version: 7 }],
    ['had expired', {}, { metadata: { correlationId: 'c', deadline: 0 } }],
  ] as const)('of a message that %s', async (_, options, fields: Partial<Message>) => {
    obstacle = (number) => {
      if (number === 3) throw new Error('never')
    }
    const process = await world.process()
    await process.consume(on({ ...options, ordered: false }))
    await send(1)
    await world.send('a', 3, 3, { keySeq: 3, ...fields })
    await world.settle()
    await send(4)
    expectCounted({ gaps: 1, late: 0, duplicates: 0 })
    expect(logged()).toEqual([[GAP, 3]])
  })

  test('of what is delivered again, which is kept before it is begun', async () => {
    const first = await world.process()
    obstacle = (number) => {
      if (number !== 3) return
      first.crash()
      return new Promise(() => {})
    }
    await first.consume(on())
    await send(1, 3)
    expectCounted({ gaps: 0, late: 0, duplicates: 0 })
    obstacle = () => {}
    const second = await world.process()
    await second.consume(on())
    await world.settle()
    expect(world.calls).toContain('inbox.keep')
    expect(handled).toEqual([1, 3])
    expectCounted({ gaps: 1, late: 0, duplicates: 0 })
  })

  test('of an effect that waits for its turn at the rate', async () => {
    const process = await world.process()
    await process.consume(effect({ rate: { limit: 1, per: '1h' } }))
    await send(1, 3)
    expect(await world.states()).toEqual({ a1: 'done', a3: 'waiting' })
    expectCounted({ gaps: 1, late: 0, duplicates: 0 })
    await world.clock.advance('2h')
    expect(handled).toEqual([1, 3])
    expectCounted({ gaps: 1, late: 0, duplicates: 0 })
  })

  test('and another message with a known dedupe key is a duplicate, which is no gap for what follows', async () => {
    const process = await world.process()
    await process.consume(on())
    const metadata = { correlationId: 'c', dedupeKey: 'invoice 7' }
    for (const keySeq of [1, 2]) await world.send('a', keySeq, keySeq, { keySeq, metadata })
    await world.settle()
    await send(3)
    expect(handled).toEqual([1, 3])
    expectCounted({ gaps: 0, late: 0, duplicates: 1 })
  })
})

test('what is known and delivered again is a duplicate, also where it would be kept before it is begun', async () => {
  const first = await world.process()
  obstacle = () => {
    first.crash()
    return new Promise(() => {})
  }
  const { name } = await first.consume(on())
  await send(1)
  const message = world.message('a', 1, { keySeq: 1 })
  await world.store.inbox.keep(name, [{ message, state: 'parked', attempts: 3, dueAt: 0 }])
  const second = await world.process()
  await second.consume(on())
  await world.settle()
  expect(world.calls).toContain('inbox.keep')
  expect(handled).toEqual([])
  expectCounted({ gaps: 0, late: 0, duplicates: 1 })
})
