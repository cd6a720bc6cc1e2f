// What does not compile at a service. The compiler is the test: `npm run check` fails when one of the errors is not there.
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { Kysely } from 'kysely'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { command, event, request, service } from '@stathmos/sdk'
import { fromDrizzle } from '@stathmos/sdk/stores/drizzle'
import { fromKysely } from '@stathmos/sdk/stores/kysely'
import { memoryStore, type MemoryTransaction } from '@stathmos/sdk/stores/memory'
import { postgres } from '@stathmos/sdk/stores/postgres'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import type { Pool, PoolClient } from 'pg'

const Submitted = event('ticket.submitted', z.object({ ticketId: z.string(), skill: z.string().default('any') }))
const Close = command('ticket.close', z.object({ ticketId: z.string() }))
const Find = request('experts.find', {
  input: z.object({ skill: z.string() }),
  output: z.object({ expertId: z.string() }),
  errors: { nobody: z.object({ nextFree: z.string() }) },
})

const transport = memoryEngine().transport()
const app = service('helpdesk', { store: memoryStore(), transport })
const t1 = { ticketId: 't1' }

interface Tables {
  readonly ticket: { readonly id: string }
}

test('the database itself is no transaction, with Kysely', () => {
  const misuse = (db: Kysely<Tables>) => {
    const desk = service('desk', { store: fromKysely(db), transport })
    // @ts-expect-error begin a transaction, and hand in its handle
    desk.in(db)
    // @ts-expect-error nor is another database's
    desk.in({} as MemoryTransaction)
    return db.transaction().execute((trx) => desk.in(trx).publish(Submitted, t1))
  }
  expectTypeOf(misuse).toBeFunction()
})

test('the database itself is no transaction, with Drizzle', () => {
  const misuse = (db: NodePgDatabase) => {
    const desk = service('desk', { store: fromDrizzle(db), transport })
    // @ts-expect-error begin a transaction, and hand in its handle
    desk.in(db)
    return db.transaction((tx) => desk.in(tx).publish(Submitted, t1))
  }
  expectTypeOf(misuse).toBeFunction()
})

test('the pool is no transaction, with pg', () => {
  const misuse = (pool: Pool, client: PoolClient) => {
    const desk = service('desk', { store: postgres(pool), transport })
    // @ts-expect-error a client that has begun a transaction is one
    desk.in(pool)
    return desk.in(client)
  }
  expectTypeOf(misuse).toBeFunction()
})

test('a payload that the contract does not have', () => {
  const misuse = (tx: MemoryTransaction) => [
    app.in(tx).publish(Submitted, { ticketId: 't1', skill: 'tv' }),
    // @ts-expect-error the id is missing
    app.in(tx).publish(Submitted, { skill: 'tv' }),
    // @ts-expect-error an id is a text
    app.in(tx).send(Close, { ticketId: 7 }),
    // @ts-expect-error there is no such field
    app.in(tx).send(Close, { ticketId: 't1', why: 'done' }),
    // @ts-expect-error the id is missing
    app.createMessage(Close, {}),
    // @ts-expect-error the id is missing
    app.submit(Close, {}, { externalId: 'e1' }),
    // @ts-expect-error the id is missing
    app.sendNow(Close, {}),
    // @ts-expect-error a skill is a text
    app.ask(Find, { skill: 7 }),
    // @ts-expect-error the id is missing
    app.every('0 3 * * *', { name: 'nightly' }, Close, () => ({})),
  ]
  expectTypeOf(misuse).toBeFunction()
})

test('a verb for another kind of contract', () => {
  const misuse = (tx: MemoryTransaction) => [
    // @ts-expect-error a command is sent, not published
    app.in(tx).publish(Close, t1),
    // @ts-expect-error an event is published, not sent
    app.in(tx).send(Submitted, t1),
    // @ts-expect-error a request is asked
    app.in(tx).send(Find, { skill: 'tv' }),
    // @ts-expect-error only a request can be asked
    app.ask(Close, t1),
    // @ts-expect-error a request is answered, not handled
    app.on(Find, { name: 'find' }, () => {}),
    // @ts-expect-error only a request can be answered
    app.answer(Close, () => t1),
    // @ts-expect-error requests do not come through HTTP
    app.http({ accept: [Find] }),
  ]
  expectTypeOf(misuse).toBeFunction()
})

test('a handler knows what it gets: the newest version, and no more than its kind has', () => {
  const misuse = () => [
    app.on(Submitted, { name: 'on' }, ({ skill }, { tx }) => {
      expectTypeOf(skill).toEqualTypeOf<string>()
      expectTypeOf(tx).toEqualTypeOf<MemoryTransaction>()
    }),
    // @ts-expect-error an effect has no transaction
    app.effect(Submitted, { name: 'effect' }, (_, { tx }) => tx),
    // @ts-expect-error a handler in a transaction has no idempotency key: what it writes is undone
    app.on(Submitted, { name: 'key' }, (_, { idempotencyKey }) => void idempotencyKey),
    // @ts-expect-error only effects have a rate
    app.on(Submitted, { name: 'rate', rate: { limit: 1, per: '1s' } }, () => {}),
    // @ts-expect-error a duration has a unit
    app.on(Submitted, { name: 'unit', timeout: '10' }, () => {}),
    // @ts-expect-error an answer has what the contract declares
    app.answer(Find, () => ({ expert: 'e7' })),
    // @ts-expect-error this error is not declared
    app.answer(Find, (_, { fail }) => fail('busy', {})),
  ]
  expectTypeOf(misuse).toBeFunction()
})

test('an answer is looked at before its value is used', async () => {
  const misuse = async () => {
    const answer = await app.ask(Find, { skill: 'tv' })
    // @ts-expect-error it may be an error
    if (answer.value.expertId === 'e7') return
    if (answer.ok) expectTypeOf(answer.value).toEqualTypeOf<{ expertId: string }>()
    else if (answer.error === 'nobody') expectTypeOf(answer.value).toEqualTypeOf<{ nextFree: string }>()
    else expectTypeOf(answer.error).toEqualTypeOf<'timeout' | 'unreachable' | 'overloaded' | 'failed'>()
    // @ts-expect-error this error is not declared
    if (!answer.ok && answer.error === 'busy') return
  }
  expectTypeOf(misuse).toBeFunction()
})
