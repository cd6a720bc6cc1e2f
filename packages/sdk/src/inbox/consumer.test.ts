import { beforeEach, describe, expect, test } from 'vitest'
import { event } from '../contract/event.ts'
import { SdkError } from '../errors.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { InboxWorld, storeDown, Ticket, type TicketData } from '../testing/inbox-world.ts'
import { declareOn, type OnHandler, type OnOptions } from './declaration.ts'

type Handler = OnHandler<MemoryTransaction, TicketData>

let world: InboxWorld
/** Messages in the order in which their handlers began, `key+number`. */
let begun: string[]

const on = (handler: Handler = () => {}, options: Partial<OnOptions> = {}) =>
  declareOn<MemoryTransaction, 'ticket.changed', TicketData>(
    Ticket,
    { name: 'close', retry: { attempts: 3, initial: '1s', jitter: 0 }, ...options },
    async (data, context) => {
      begun.push(`${data.ticketId}${data.number}`)
      await handler(data, context)
    },
  )

/** Writes the number into the user's own table: what has to be there once, or not at all. */
const write: Handler = async ({ ticketId, number }, { tx }) => {
  const table = tx.table<number[]>('tickets')
  await table.set(ticketId, [...((await table.get(ticketId)) ?? []), number])
}

const written = (key: string): number[] => world.store.table<number[]>('tickets').get(key) ?? []

beforeEach(() => {
  world = new InboxWorld()
  begun = []
})

describe('a message is handled', () => {
  test('in one transaction with its memory and what it publishes, and then accepted', async () => {
    const process = await world.process()
    const consumer = await process.consume(
      on(async (data, context) => {
        await write(data, context)
        await context.publish(Ticket, { ticketId: 'other', number: data.number })
      }),
    )
    await world.send('a', 1)
    await world.settle()
    expect(written('a')).toEqual([1])
    expect(await world.states()).toEqual({ a1: 'done' })
    const { entries } = await world.store.register.list({ direction: 'out' }, 10, null)
    expect(entries.map(({ message }) => [message?.key, message?.metadata.causationId])).toEqual([['other', 'a1']])
    expect(world.engine.waiting(consumer.name)).toBe(0)
    await consumer.stop()
    expect(world.calls.filter((call) => call === 'inbox.keep')).toEqual([])
  })

  test('once, however often it is delivered', async () => {
    const process = await world.process()
    await process.consume(on(write))
    await world.send('a', 1)
    await world.settle()
    await world.send('a', 1)
    await world.settle()
    expect(written('a')).toEqual([1])
    expect(world.counted(METRIC.inboxDuplicates)).toBe(1)
  })

  test('a backlog of one consumer shares transactions, and each message is handled by itself', async () => {
    const process = await world.process()
    const consumer = await process.consume(on(write, { concurrency: 1 }))
    await consumer.stop()
    for (let number = 1; number <= 64; number++) await world.send(`k${number % 8}`, number)
    world.calls.length = 0
    const again = await process.consume(on(write, { concurrency: 1 }))
    await world.settle()
    expect(begun).toHaveLength(64)
    expect(written('k3')).toEqual([3, 11, 19, 27, 35, 43, 51, 59])
    expect(world.calls.filter((call) => call === 'inbox.begin').length).toBeLessThanOrEqual(4)
    await again.stop()
  })

  test('serially within a key, and up to the concurrency across keys', async () => {
    const process = await world.process()
    const running = new Map<string, () => void>()
    await process.consume(
      on(({ ticketId, number }) => new Promise((resolve) => running.set(`${ticketId}${number}`, resolve)), {
        concurrency: 2,
        group: 1,
      }),
    )
    for (const key of ['a', 'b', 'c']) await world.send(key, 1, 2)
    await world.settle()
    expect([...running.keys()]).toEqual(['a1', 'b1'])
    running.get('a1')!()
    await world.settle()
    expect([...running.keys()]).toEqual(['a1', 'b1', 'c1'])
    running.get('b1')!()
    await world.settle()
    expect([...running.keys()].toSorted()).toEqual(['a1', 'a2', 'b1', 'c1'])
  })
})

describe('a handler that fails', () => {
  test('leaves nothing behind, is noted with its error and tried again when it is time', async () => {
    let failures = 2
    const process = await world.process()
    await process.consume(
      on(async (data, context) => {
        await write(data, context)
        if (failures-- > 0) throw new TypeError(`attempt ${context.attempt}`)
      }),
    )
    await world.send('a', 1)
    await world.settle()
    expect(written('a')).toEqual([])
    const [entry] = await world.received()
    expect(entry).toMatchObject({
      state: 'retrying',
      attempts: 1,
      errors: [{ name: 'TypeError', message: 'attempt 1' }],
    })
    expect(entry?.dueAt).toBe(world.clock.now() + 1000)
    await world.clock.advance(1000)
    expect((await world.received())[0]).toMatchObject({ state: 'retrying', attempts: 2 })
    await world.clock.advance(2000)
    expect(written('a')).toEqual([1])
    expect(await world.states()).toEqual({ a1: 'done' })
  })

  test('takes down no other message of its transaction', async () => {
    const process = await world.process()
    const consumer = await process.consume(on(write, { concurrency: 1 }))
    await consumer.stop()
    for (const key of ['a', 'b', 'c', 'd', 'e']) await world.send(key, 1)
    await process.consume(
      on(
        async (data, context) => {
          await write(data, context)
          if (data.ticketId === 'c') throw new Error('poison')
        },
        { concurrency: 1 },
      ),
    )
    await world.settle()
    expect(['a', 'b', 'c', 'd', 'e'].map(written)).toEqual([[1], [1], [], [1], [1]])
    expect(await world.states()).toMatchObject({ a1: 'done', b1: 'done', c1: 'retrying', d1: 'done', e1: 'done' })
  })

  test('is not overtaken by later messages of its key, and holds back no other key', async () => {
    let fails = true
    const process = await world.process()
    await process.consume(
      on(async (data, context) => {
        await write(data, context)
        if (data.number === 1 && data.ticketId === 'a' && fails) throw new Error('not yet')
      }),
    )
    await world.send('a', 1, 3)
    await world.send('b', 1, 3)
    await world.settle()
    await world.send('a', 4)
    await world.settle()
    expect([written('a'), written('b')]).toEqual([[], [1, 2, 3]])
    expect(await world.states()).toMatchObject({ a1: 'retrying', a2: 'waiting', a3: 'waiting', a4: 'waiting' })
    fails = false
    await world.clock.advance(1000)
    expect(written('a')).toEqual([1, 2, 3, 4])
  })

  test('for the last time parks its key, until an operator decides [Nest: a dead letter is overtaken]', async () => {
    let fails = true
    const process = await world.process()
    await process.consume(
      on(async (data, context) => {
        await write(data, context)
        if (data.number === 1 && fails) throw new Error('never')
      }),
    )
    await world.send('a', 1, 2)
    await world.clock.advance('1m')
    expect(await world.states()).toEqual({ a1: 'parked', a2: 'waiting' })
    expect((await world.received({ id: 'a1' }))[0]?.errors).toHaveLength(3)
    fails = false
    await world.store.register.retry([{ direction: 'in', consumer: 'helpdesk.close', id: 'a1' }])
    await world.clock.advance('6s')
    expect(written('a')).toEqual([1, 2])
  })

  test.each([
    ['park-message', 'parked'],
    ['drop', 'done'],
  ] as const)('for the last time lets its key go on with %s', async (onExhausted, state) => {
    const process = await world.process()
    await process.consume(
      on(
        async (data, context) => {
          await write(data, context)
          if (data.number === 1) throw new Error('never')
        },
        { onExhausted },
      ),
    )
    await world.send('a', 1, 2)
    await world.clock.advance('1m')
    expect(await world.states()).toEqual({ a1: state, a2: 'done' })
    expect(written('a')).toEqual([2])
  })

  test('is given up at once with an error that no retry can help', async () => {
    const process = await world.process()
    await process.consume(
      on(
        () => {
          throw new RangeError('wrong for ever')
        },
        { giveUp: (error) => error instanceof RangeError },
      ),
    )
    await world.send('a', 1)
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'parked' })
  })

  test('is tried again when whoever decides about giving up fails over it', async () => {
    const process = await world.process()
    await process.consume(
      on(
        () => {
          throw new Error('without a code')
        },
        { giveUp: (error) => (error as { code: string }).code.startsWith('E') },
      ),
    )
    await world.send('a', 1)
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'retrying' })
  })

  test('because of another transaction is run again at once, twice at most, without an attempt', async () => {
    let conflicts = 2
    const process = await world.process()
    const attempts: number[] = []
    await process.consume(
      on((_, { attempt }) => {
        attempts.push(attempt)
        if (conflicts-- > 0) throw new SdkError('conflict', 'deadlock', { retryable: true })
      }),
    )
    await world.send('a', 1)
    await world.settle()
    expect(attempts).toEqual([1, 1, 1])
    expect(await world.states()).toEqual({ a1: 'done' })
    conflicts = 3
    await world.send('b', 1)
    await world.settle()
    expect(await world.states()).toMatchObject({ b1: 'retrying' })
  })
})

describe('when the store goes away', () => {
  test('consuming pauses, no attempt is burned, and everything is handled when it is back', async () => {
    const process = await world.process()
    const consumer = await process.consume(on(write))
    world.fault = storeDown()
    await world.send('a', 1, 3)
    await world.send('b', 1)
    await world.clock.advance('20s')
    expect(begun).toEqual([])
    expect(world.engine.waiting(consumer.name)).toBe(4)
    world.fault = null
    await world.clock.advance('20s')
    expect([written('a'), written('b')]).toEqual([[1, 2, 3], [1]])
    expect(world.logged.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('a claim keeps its attempt, too', async () => {
    let fails = true
    const process = await world.process()
    const attempts: number[] = []
    await process.consume(
      on((_, { attempt }) => {
        attempts.push(attempt)
        if (attempts.length === 2) world.fault = storeDown()
        if (fails) throw world.fault ?? new Error('not yet')
      }),
    )
    await world.send('a', 1)
    await world.clock.advance('1s')
    expect(attempts).toEqual([1, 2])
    fails = false
    world.fault = null
    await world.clock.advance('20s')
    expect(attempts).toEqual([1, 2, 2])
    expect(await world.states()).toEqual({ a1: 'done' })
  })
})

describe('what cannot be handled is kept with its reason', () => {
  test.each([
    ['unknown-contract', { version: 9 }],
    ['invalid-data', { body: new TextEncoder().encode('{"number":"x"}') }],
    ['malformed', { body: new TextEncoder().encode('{') }],
  ] as const)('as %s, in front of the later ones of its key', async (reason, fields) => {
    const process = await world.process()
    await process.consume(on(write))
    await world.sendMessage(world.message('a', 1, fields))
    await world.send('a', 2)
    await world.send('b', 1)
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'parked', a2: 'waiting', b1: 'done' })
    expect((await world.received({ id: 'a1' }))[0]).toMatchObject({ reason, attempts: 0 })
  })

  test('behind the earlier ones of its key that came with it', async () => {
    const process = await world.process()
    const consumer = await process.consume(on(write))
    await consumer.stop()
    await world.send('a', 1)
    await world.sendMessage(world.message('a', 2, { version: 9 }))
    await world.send('a', 3)
    await process.consume(on(write, { concurrency: 1 }))
    await world.settle()
    expect(written('a')).toEqual([1])
    expect(await world.states()).toEqual({ a1: 'done', a2: 'parked', a3: 'waiting' })
  })

  test('bytes that are no message keep their bytes, and are the same when they come again', async () => {
    const process = await world.process()
    await process.consume(on(write))
    const raw = { headers: { 'x-legacy': '7' }, contentType: 'text/plain', body: new TextEncoder().encode('<old/>') }
    for (let i = 0; i < 2; i++) await world.sendRaw(raw)
    await world.settle()
    const [entry, ...more] = await world.received()
    expect(more).toEqual([])
    expect(entry).toMatchObject({ type: 'unknown', state: 'parked', reason: 'malformed' })
    expect(new TextDecoder().decode(entry?.message?.body)).toBe('<old/>')
    expect(entry?.message?.metadata.custom).toEqual({ 'x-legacy': '7' })
  })

  test('expired, when nobody needs it any more', async () => {
    const process = await world.process()
    await process.consume(on(write))
    await world.send('a', 1, 1, { metadata: { correlationId: 'c', deadline: world.clock.now() } })
    await world.send('a', 2, 2, { metadata: { correlationId: 'c', deadline: world.clock.now() + 1 } })
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'expired', a2: 'done' })
    expect(world.counted(METRIC.inboxExpired)).toBe(1)
  })
})

describe('a process that dies', () => {
  test('in a handler has done nothing; what was delivered is counted before it is begun again', async () => {
    const first = await world.process()
    await first.consume(
      on(async (data, context) => {
        await write(data, context)
        first.crash()
        await new Promise(() => {})
      }),
    )
    await world.send('a', 1)
    await world.settle()
    expect(written('a')).toEqual([])
    const second = await world.process()
    const attempts: number[] = []
    await second.consume(
      on(async (data, context) => {
        attempts.push(context.attempt)
        await write(data, context)
      }),
    )
    await world.settle()
    expect(written('a')).toEqual([1])
    expect(world.calls.includes('inbox.claim')).toBe(true)
    expect((await world.received())[0]).toMatchObject({ state: 'done', attempts: 1 })
  })

  test('of every message reaches the limit all the same: attempts are counted in the store', async () => {
    for (let life = 0; life < 5; life++) {
      const process = await world.process()
      await process.consume(
        on(async () => {
          process.crash()
          await new Promise(() => {})
        }),
      )
      if (life === 0) await world.send('a', 1)
      await world.settle()
      await world.clock.advance('31s')
      process.crash()
    }
    const runs = begun.length
    // The delivery, and three claims: each counted before it began.
    expect(runs).toBe(4)
    expect(await world.states()).toEqual({ a1: 'parked' })
    expect((await world.received())[0]?.errors.at(-1)?.message).toContain('3 times')
  })

  test('strands nothing: whoever has the handler next takes over, whatever version it is [DBOS: a deployment strands]', async () => {
    const first = await world.process()
    await first.consume(
      on(() => {
        throw new Error('the old version cannot')
      }),
    )
    await world.send('a', 1, 3)
    await world.settle()
    first.crash()
    const second = await world.process()
    await second.consume(on(write, { concurrency: 7, group: 2 }))
    await world.clock.advance('10s')
    expect(written('a')).toEqual([1, 2, 3])
  })

  test('and another one that takes over too early: one of the two is rolled back [Wolverine#587]', async () => {
    const ends: (() => void)[] = []
    let fails = true
    const handler: Handler = async (data, context) => {
      if (fails) throw new Error('not yet')
      await new Promise<void>((resolve) => ends.push(resolve))
      await write(data, context)
    }
    const slow = await world.process()
    const lost: AbortSignal[] = []
    await slow.consume(
      on(async (data, context) => {
        lost.push(context.signal)
        await handler(data, context)
      }),
    )
    await world.send('a', 1)
    await world.settle()
    fails = false
    await world.clock.advance('1s')
    expect(ends).toHaveLength(1)
    // The process is cut off from the store for longer than its lease, and does not know it.
    const signals: AbortSignal[] = []
    world.fault = storeDown()
    await world.clock.advance('31s')
    world.fault = null
    const other = await world.process()
    await other.consume(
      on(async (data, context) => {
        signals.push(context.signal)
        await handler(data, context)
      }),
    )
    await world.clock.advance('1s')
    expect(ends).toHaveLength(2)
    for (const end of ends) end()
    await world.settle()
    expect(written('a')).toEqual([1])
    expect(signals[0]?.aborted).toBe(false)
    expect(lost.at(-1)?.reason).toMatchObject({ code: 'lease_lost' })
    expect(await world.states()).toEqual({ a1: 'done' })
  })
})

test('claims that wait for their turn in a process stay its own, however long those before them take', async () => {
  let fails = true
  const slow: Handler = async () => {
    if (fails) throw new Error('not yet')
    await new Promise<void>((resolve) => world.clock.after(20_000, resolve))
  }
  const first = await world.process()
  await first.consume(on(slow, { concurrency: 1 }))
  for (const key of ['a', 'b', 'c', 'd']) await world.send(key, 1)
  await world.settle()
  fails = false
  begun = []
  await world.clock.advance('2s')
  const second = await world.process()
  await second.consume(on(slow, { concurrency: 1 }))
  await world.clock.advance('2m')
  expect(begun.toSorted()).toEqual(['a1', 'b1', 'c1', 'd1'])
  expect((await world.received()).map(({ state, attempts }) => [state, attempts])).toEqual(
    Array.from({ length: 4 }, () => ['done', 2]),
  )
})

describe('stopping', () => {
  test('finishes what runs and gives back the rest, which another process handles', async () => {
    const ends: (() => void)[] = []
    const first = await world.process()
    const consumer = await first.consume(
      on(
        async (data, context) => {
          await new Promise<void>((resolve) => ends.push(resolve))
          await write(data, context)
        },
        { concurrency: 1, group: 1 },
      ),
    )
    await world.send('a', 1, 3)
    await world.settle()
    let stopped = false
    const stopping = consumer.stop().then(() => (stopped = true))
    await world.settle()
    expect([begun, stopped]).toEqual([['a1'], false])
    ends[0]!()
    await stopping
    expect(written('a')).toEqual([1])
    const second = await world.process()
    await second.consume(on(write))
    await world.settle()
    expect(written('a')).toEqual([1, 2, 3])
  })

  test('aborts the signals of handlers when the grace is over, and waits for them all the same', async () => {
    const process = await world.process()
    const consumer = await process.consume(
      on(
        (_, { signal }) =>
          new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      ),
    )
    await world.send('a', 1)
    await world.settle()
    const stopping = consumer.stop(5000)
    await world.clock.advance('5s')
    await stopping
    expect(await world.states()).toEqual({ a1: 'retrying' })
  })
})

test('a handler that overruns its time is told by its signal, and may finish', async () => {
  const process = await world.process()
  const reasons: unknown[] = []
  await process.consume(
    on(
      (_, { signal }) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            reasons.push((signal.reason as SdkError).code)
            resolve()
          }),
        ),
      { timeout: '2s' },
    ),
  )
  await world.send('a', 1)
  await world.clock.advance('2s')
  expect(reasons).toEqual(['timeout'])
  expect(await world.states()).toEqual({ a1: 'done' })
})

test('an ordered handler is refused where the transport keeps no order', async () => {
  const process = await world.process()
  Object.assign(process.transport, { capabilities: { ...process.transport.capabilities, ordering: false } })
  await expect(process.consume(on())).rejects.toMatchObject({ code: 'capability_missing' })
})

test.each([
  [{ name: 'a b' }, 'a name is'],
  [{ concurrency: 0 }, 'concurrency is 0'],
  [{ group: 1.5 }, 'group is 1.5'],
  [{ partitions: 65 }, 'partitions is 65'],
])('a declaration that makes no sense is refused: %j', (options, message) => {
  expect(() => on(undefined, options)).toThrow(message)
})

test('order is not to be had without a key', () => {
  const Keyless = event('ticket.noticed', Ticket.versions[0]!.schema)
  expect(() => declareOn(Keyless, { name: 'x', ordered: true }, () => {})).toThrow('has no key')
})
