import type { Kysely, Transaction } from 'kysely'
import { beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import { event } from '../contract/event.ts'
import type { Message } from '../message/message.ts'
import { memoryStore, type MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Store } from '../store/port.ts'
import { silentTelemetry } from '../telemetry/telemetry.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Outbox } from './outbox.ts'
import { SCOPE_MESSAGES_MAX } from './scope.ts'

const Submitted = event('ticket.submitted', z.object({ ticketId: z.string(), title: z.string() })).key(
  (data) => data.ticketId,
)
const Close = command('ticket.close', z.object({ ticketId: z.string() }))

let world: OutboxWorld
let outbox: Outbox<MemoryTransaction>
/** What was asked of the store, in order. */
let statements: string[]

/** The store, with its statements noted. */
function noting<Tx>(store: Store<Tx>): Store<Tx> {
  return {
    ...store,
    outbox: Object.assign(Object.create(store.outbox) as Store<Tx>['outbox'], {
      add: (...args: Parameters<Store<Tx>['outbox']['add']>) => {
        statements.push(`add ${args[1].length}`)
        return store.outbox.add(...args)
      },
    }),
    timers: Object.assign(Object.create(store.timers) as Store<Tx>['timers'], {
      fire: (limit: number) => store.timers.fire(limit),
      nextDue: () => store.timers.nextDue(),
      set: (...args: Parameters<Store<Tx>['timers']['set']>) => {
        statements.push(`set ${args[1].length}`)
        return store.timers.set(...args)
      },
      cancel: (...args: Parameters<Store<Tx>['timers']['cancel']>) => {
        statements.push(`cancel ${args[1]}`)
        return store.timers.cancel(...args)
      },
    }),
  }
}

const ticket = { ticketId: 't1', title: 'It hums' }

const stored = async (): Promise<Message[]> => {
  const { entries } = await world.store.register.list({ direction: 'out' }, 1000, null)
  return entries.map(({ message }) => message!)
}

const handled = (fields: Partial<Message> = {}): Message => ({ ...world.draft(fields), keySeq: null, ...fields })

beforeEach(() => {
  world = new OutboxWorld()
  statements = []
  outbox = new Outbox({ ...world.process(), store: noting(world.store) }, { relay: false })
})

describe("in the application's own transaction", () => {
  test('a message is there when the transaction commits', async () => {
    const id = await world.store.transaction((tx) => outbox.in(tx).publish(Submitted, ticket))
    const [message] = await stored()
    expect(message).toMatchObject({
      id,
      kind: 'event',
      type: 'ticket.submitted',
      version: 1,
      source: 'helpdesk',
      time: world.clock.now(),
      key: 't1',
      keySeq: 1,
      contentType: 'application/json',
      metadata: { correlationId: id },
    })
    expect(await Submitted.decode(message!)).toEqual(ticket)
  })

  test.each([
    [{ delay: '1h' }, { dueAt: 3_600_000 }],
    [{ at: new Date(3_600_000) }, { dueAt: 3_600_000 }],
    [{ delay: '1h', ttl: '1h' }, { deadline: 7_200_000 }],
  ] as const)("times go by the store's clock, also of a service that was never started: %o", async (options, times) => {
    const store = memoryStore({ clock: manualClock(0) })
    const unstarted = new Outbox({ ...world.process(), store }, { relay: false })
    let asked = 0
    const now = store.now.bind(store)
    store.now = (tx) => {
      asked++
      expect(store.isTransaction(tx)).toBe(true)
      return now(tx)
    }
    await store.transaction(async (tx) => {
      await unstarted.in(tx).publish(Submitted, ticket)
      expect(asked).toBe(0)
      await unstarted.in(tx).send(Close, { ticketId: 't1' }, { id: 'timed', ...options })
      await unstarted.in(tx).send(Close, { ticketId: 't1' }, options)
    })
    const [entry] = (await store.register.list({ id: 'timed' }, 1, null)).entries
    expect({ dueAt: entry?.dueAt, deadline: entry?.message?.metadata.deadline }).toMatchObject(times)
    expect(asked).toBe(1)
  })

  test('and not when it does not', async () => {
    const failing = world.store.transaction(async (tx) => {
      await outbox.in(tx).publish(Submitted, ticket)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await stored()).toEqual([])
  })

  test('every call is one statement, publishAll too', async () => {
    const ids = await world.store.transaction(async (tx) => {
      const { publish, send, publishAll, cancel } = outbox.in(tx)
      await publish(Submitted, ticket)
      await send(Close, { ticketId: 't1' }, { delay: '14d', cancelKey: 'autoclose' })
      await cancel('autoclose')
      return publishAll([
        [Submitted, ticket],
        [Close, { ticketId: 't2' }, { id: 'mine' }],
      ])
    })
    expect(statements).toEqual(['add 1', 'set 1', 'cancel autoclose', 'add 2'])
    expect(ids[1]).toBe('mine')
  })

  test('messages are in the order of the calls, also of calls that nobody waited for', async () => {
    const slow = event(
      'ticket.slow',
      z.object({ ticketId: z.string() }).refine(async () => {
        for (let turn = 0; turn < 100; turn++) await Promise.resolve()
        return true
      }),
    )
    const ids = await world.store.transaction((tx) => {
      const { publish } = outbox.in(tx)
      return Promise.all([
        publish(slow, { ticketId: 'a' }),
        publish(Submitted, ticket),
        publish(slow, { ticketId: 'b' }),
      ])
    })
    expect((await stored()).map(({ id }) => id)).toEqual(ids)
  })

  test('a call that fails fails no later one', async () => {
    await world.store.transaction(async (tx) => {
      const { publish } = outbox.in(tx)
      const wrong = publish(Submitted, { ticketId: 't1' } as typeof ticket)
      const right = publish(Submitted, ticket)
      await expect(wrong).rejects.toMatchObject({ code: 'invalid_data' })
      await right
    })
    expect(await stored()).toHaveLength(1)
  })

  test('what is no transaction is refused with the remedy', () => {
    expect(() => outbox.in(world.store as unknown as MemoryTransaction)).toThrowError(
      expect.objectContaining({
        code: 'not_a_transaction',
        message: expect.stringContaining('begin one and hand in the handle that you get'),
      }),
    )
  })

  test('adding after the end is refused, it would be lost', async () => {
    const scope = await world.store.transaction((tx) => Promise.resolve(outbox.in(tx)))
    await expect(scope.publish(Submitted, ticket)).rejects.toMatchObject({ code: 'transaction_over' })
    await expect(scope.cancel('autoclose')).rejects.toMatchObject({ code: 'transaction_over' })
    expect(statements).toEqual([])
  })

  test('a delay is a timer that the same transaction sets, and another may cancel', async () => {
    await world.store.transaction((tx) =>
      outbox.in(tx).send(Close, { ticketId: 't1' }, { delay: '14d', cancelKey: 'autoclose', id: 'close' }),
    )
    expect(await world.states()).toEqual({ close: 'scheduled' })
    expect(await world.store.timers.nextDue()).toBe(world.clock.now() + 14 * 86_400_000)
    const cancelled = world.store.transaction((tx) => outbox.in(tx).cancel('autoclose'))
    await expect(cancelled).resolves.toBe(true)
    await expect(world.store.transaction((tx) => outbox.in(tx).cancel('autoclose'))).resolves.toBe(false)
    expect(await world.states()).toEqual({})
  })

  test('what was due before is sent at once', async () => {
    await world.store.transaction((tx) => outbox.in(tx).send(Close, { ticketId: 't1' }, { at: new Date(0), id: 'now' }))
    expect(await world.states()).toEqual({ now: 'pending' })
  })

  test.each([
    ['an id that no index takes', { id: 'x'.repeat(201) }, 'too_large'],
    ['an empty id', { id: '' }, 'invalid_data'],
    ['a key that no index takes', { key: 'x'.repeat(201) }, 'too_large'],
    ['an id with a NUL', { id: 'a\0' }, 'invalid_data'],
    ['a key with a NUL', { key: '\0' }, 'invalid_data'],
    ['a dedupeKey with half a character', { dedupeKey: '\ud83d' }, 'invalid_data'],
    ['an externalId with a NUL', { externalId: 'a\0b' }, 'invalid_data'],
    ['a tenant with a NUL', { tenant: 'a\0b' }, 'invalid_data'],
    ['a correlationId with a NUL', { correlationId: 'a\0b' }, 'invalid_data'],
    ['a cancelKey with a NUL', { cancelKey: 'a\0b', delay: '1s' }, 'invalid_data'],
    ['metadata with a NUL', { custom: { note: 'a\0b' } }, 'invalid_data'],
    ['metadata whose name has a NUL', { custom: { 'a\0b': 'note' } }, 'invalid_data'],
    ['a cancelKey without a time', { cancelKey: 'autoclose' }, 'invalid_declaration'],
    ['a delay and a time', { delay: '1s', at: new Date(0) }, 'invalid_declaration'],
    ['a time that is none', { at: new Date(Number.NaN) }, 'invalid_declaration'],
    ['a delay of a wrong unit', { delay: '20000d' }, 'invalid_declaration'],
    ['half a number', { seq: 1.5 }, 'invalid_declaration'],
    ['metadata that no header takes', { custom: { note: 'x'.repeat(8_000) } }, 'too_large'],
  ] as const)('%s is refused', async (_, options, code) => {
    await world.store.transaction(async (tx) => {
      await expect(outbox.in(tx).publish(Submitted, ticket, options)).rejects.toMatchObject({ code })
    })
    expect(await stored()).toEqual([])
  })

  test('what the engine would not take is refused before it is stored', async () => {
    await world.store.transaction(async (tx) => {
      const large = outbox.in(tx).publish(Submitted, { ticketId: 't1', title: 'x'.repeat(1000) })
      await expect(large).rejects.toMatchObject({ code: 'too_large', data: { max: 1000 } })
    })
  })

  test('a transaction has a limit of messages', async () => {
    await world.store.transaction(async (tx) => {
      const many = Array.from({ length: SCOPE_MESSAGES_MAX + 1 }, () => [Close, { ticketId: 't' }] as const)
      await expect(outbox.in(tx).publishAll(many)).rejects.toMatchObject({ code: 'too_large' })
    })
  })

  test('what applications say of a message travels with it', async () => {
    await world.store.transaction((tx) =>
      outbox.in(tx).publish(Submitted, ticket, {
        ttl: '1h',
        dedupeKey: 'order-7',
        externalId: 'SAP-1',
        tenant: 'north',
        correlationId: 'case-1',
        custom: { via: 'web' },
        seq: 12,
      }),
    )
    const [message] = await stored()
    expect(message!.keySeq).toBe(12)
    expect(message!.metadata).toEqual({
      correlationId: 'case-1',
      deadline: world.clock.now() + 3_600_000,
      externalId: 'SAP-1',
      dedupeKey: 'order-7',
      tenant: 'north',
      custom: { via: 'web' },
    })
  })

  test('a message carries the span under which it was made', async () => {
    const ended: unknown[] = []
    const telemetry = {
      ...silentTelemetry,
      span: () => ({ traceparent: '00-1-2-01', tracestate: undefined, set() {}, end: (e?: unknown) => ended.push(e) }),
    }
    const traced = new Outbox({ ...world.process(), telemetry }, { relay: false })
    await world.store.transaction((tx) => traced.in(tx).publish(Submitted, ticket))
    expect((await stored())[0]!.metadata.traceparent).toBe('00-1-2-01')
    expect(ended).toEqual([undefined])
  })
})

describe("in a handler's transaction", () => {
  test('everything is written at once, at the end', async () => {
    await world.store.transaction(async (tx) => {
      const buffer = outbox.buffer(tx)
      const one = buffer.scopeOf(handled())
      const other = buffer.scopeOf(handled())
      await one.publish(Submitted, ticket)
      await other.publishAll([
        [Submitted, ticket],
        [Close, { ticketId: 't1' }],
      ])
      await one.send(Close, { ticketId: 't1' }, { delay: '1d' })
      expect(statements).toEqual([])
      await buffer.flush()
    })
    expect(statements).toEqual(['add 3', 'set 1'])
  })

  test('nothing to write is no statement', async () => {
    await world.store.transaction((tx) => outbox.buffer(tx).flush())
    expect(statements).toEqual([])
  })

  test('messages know which one they were sent because of', async () => {
    const cause = handled({
      id: 'cause',
      metadata: {
        correlationId: 'case-1',
        causationId: 'first',
        traceparent: '00-a-b-01',
        tenant: 'north',
        deadline: 5,
      },
    })
    await world.store.transaction(async (tx) => {
      const buffer = outbox.buffer(tx)
      await buffer.scopeOf(cause).publish(Submitted, ticket)
      await buffer.flush()
    })
    expect((await stored())[0]!.metadata).toEqual({
      correlationId: 'case-1',
      causationId: 'cause',
      traceparent: '00-a-b-01',
      tenant: 'north',
    })
  })

  test('adding after the flush is refused, it would be lost [Wolverine#1825]', async () => {
    await world.store.transaction(async (tx) => {
      const buffer = outbox.buffer(tx)
      const { publish, cancel } = buffer.scopeOf(handled())
      await publish(Submitted, ticket)
      await buffer.flush()
      await expect(publish(Submitted, ticket)).rejects.toMatchObject({ code: 'transaction_over' })
      await expect(cancel('autoclose')).rejects.toMatchObject({ code: 'transaction_over' })
      await expect(buffer.flush()).rejects.toMatchObject({ code: 'transaction_over' })
    })
    expect(await stored()).toHaveLength(1)
  })

  test('a call that nobody waited for is waited for', async () => {
    await world.store.transaction(async (tx) => {
      const buffer = outbox.buffer(tx)
      void buffer.scopeOf(handled()).publish(Submitted, ticket)
      await buffer.flush()
    })
    expect(await stored()).toHaveLength(1)
  })

  test('a message that cannot be made fails the transaction, also when nobody waited for it', async () => {
    const failing = world.store.transaction(async (tx) => {
      const buffer = outbox.buffer(tx)
      const { publish } = buffer.scopeOf(handled())
      void publish(Submitted, { ticketId: 't1' } as typeof ticket)
      await publish(Submitted, ticket)
      await buffer.flush()
    })
    await expect(failing).rejects.toMatchObject({ code: 'invalid_data' })
    expect(await stored()).toEqual([])
  })

  test('what is cancelled before the flush is never written', async () => {
    await world.store.transaction(async (tx) => {
      const buffer = outbox.buffer(tx)
      const { send, cancel } = buffer.scopeOf(handled())
      await send(Close, { ticketId: 't1' }, { delay: '1d', cancelKey: 'a' })
      expect(await cancel('a')).toBe(true)
      await send(Close, { ticketId: 't1' }, { delay: '2d', cancelKey: 'b', id: 'replaced' })
      await send(Close, { ticketId: 't1' }, { delay: '3d', cancelKey: 'b', id: 'replacing' })
      await buffer.flush()
    })
    expect(await world.states()).toEqual({ replacing: 'scheduled' })
  })

  test('of the same id the first counts', async () => {
    await world.store.transaction(async (tx) => {
      const buffer = outbox.buffer(tx)
      const { publish } = buffer.scopeOf(handled())
      await publish(Submitted, ticket, { id: 'mine' })
      await publish(Submitted, { ...ticket, title: 'other' }, { id: 'mine' })
      await buffer.flush()
    })
    expect(statements).toEqual(['add 1'])
    expect(await Submitted.decode((await stored())[0]!)).toEqual(ticket)
  })
})

test('misuse does not compile', () => {
  const misuses = (tx: MemoryTransaction) => {
    const { publish, send, publishAll } = outbox.in(tx)
    return [
      // @ts-expect-error a command is sent, not published
      () => publish(Close, { ticketId: 't1' }),
      // @ts-expect-error an event is published, not sent
      () => send(Submitted, ticket),
      // @ts-expect-error the title is missing
      () => publish(Submitted, { ticketId: 't1' }),
      // @ts-expect-error a title is a text
      () => publish(Submitted, { ticketId: 't1', title: 7 }),
      () =>
        publishAll([
          [Submitted, ticket],
          // @ts-expect-error the id of the ticket is missing
          [Close, {}],
        ]),
      // @ts-expect-error the store is no transaction
      () => outbox.in(world.store),
      // @ts-expect-error nobody knows this option
      () => publish(Submitted, ticket, { dealy: '1s' }),
    ]
  }
  expectTypeOf(misuses).toBeFunction()
})

test('the root handle of a library whose types tell is refused by the compiler', () => {
  const misuse = (typed: Outbox<Transaction<unknown>>, root: Kysely<unknown>, tx: Transaction<unknown>) => [
    typed.in(tx),
    // @ts-expect-error a transaction is needed
    typed.in(root),
  ]
  expectTypeOf(misuse).toBeFunction()
})
