import { Pool, type PoolClient } from 'pg'
import postgresJs from 'postgres'
import { z } from 'zod'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { event, service, type Log } from '@stathmos/sdk'
import { postgres } from '@stathmos/sdk/stores/postgres'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import { storeContract, type StoreSubject } from '../../packages/sdk/src/store/contract.ts'
import { ALL, draftOf, dueIds, messageOf } from '../../packages/sdk/src/store/contract-sample.ts'
import { lateStatements } from './late.ts'
import { lostConnections } from './mishaps.ts'
import { noPostgres, startPostgres, type PostgresServer } from '../peers/postgres.ts'
import type { Store } from '../../packages/sdk/src/store/port.ts'

/** More transactions than this wait for a connection. */
const CONNECTIONS = 12

const Noted = event('noted', z.object({ id: z.string() }))
const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }

let server: PostgresServer
let schemas = 0

/** A store in a schema of its own, with a clock that can be moved. */
async function subject<Tx>(
  root: unknown,
  store: (options: { schema: string; timeSql?: string }) => Store<Tx>,
  run: (text: string) => PromiseLike<unknown>,
  end: () => Promise<void>,
): Promise<StoreSubject<Tx>> {
  const schema = `s${++schemas}`
  await run(`create schema ${schema}`)
  await run(`create table ${schema}.moved (ms bigint)`)
  await run(`insert into ${schema}.moved values (0)`)
  const timeSql = `((extract(epoch from statement_timestamp()) * 1000)::bigint + (select ms from ${schema}.moved))`
  const subjected = store({ schema, timeSql })
  await subjected.migrate()
  return {
    store: subjected,
    root,
    pass: async (ms) => void (await run(`update ${schema}.moved set ms = ms + ${ms}`)),
    unmigrated: () => Promise.resolve(store({ schema: `${schema}_not` })),
    async close() {
      await subjected.close()
      await end()
    },
  }
}

/** A transaction of the application's own. */
async function inTransaction(root: unknown, work: (client: PoolClient) => Promise<void>): Promise<void> {
  const client = await (root as Pool).connect()
  await client.query('begin')
  try {
    await work(client)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

describe.skipIf(noPostgres !== null)(`PostgreSQL${noPostgres === null ? '' : `: ${noPostgres}`}`, () => {
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())

  describe('over pg', () => {
    const open = () => {
      const pool = new Pool({ connectionString: server.url, max: CONNECTIONS })
      return subject(
        pool,
        (options) => postgres(pool, options),
        (text) => pool.query(text),
        () => pool.end(),
      )
    }
    lateStatements(open, inTransaction)
    test.each(storeContract({ open, concurrent: true }))('$name', ({ run }) => run())
  })

  describe('over a client of pg that waits for no answers', () => {
    lateStatements(() => {
      const pool = new Pool({ connectionString: server.url, max: CONNECTIONS, pipeline: true })
      return subject(
        pool,
        (options) => postgres(pool, options),
        (text) => pool.query(text),
        () => pool.end(),
      )
    }, inTransaction)
  })

  describe('over postgres.js', () => {
    const open = () => {
      const sql = postgresJs(server.url, { max: CONNECTIONS, onnotice() {} })
      return subject(
        sql,
        (options) => postgres(sql, options),
        (text) => sql.unsafe(text),
        () => sql.end({ timeout: 1 }),
      )
    }
    lostConnections(
      async () => {
        const { store, root, close } = await open()
        return { store, close, run: async (text) => (root as ReturnType<typeof postgresJs>).unsafe(text) }
      },
      async (tx) => {
        const [row] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`
        return row!.pid
      },
    )
    lateStatements(open, async (root, work) => {
      await (root as ReturnType<typeof postgresJs>).begin(work)
    })
    test.each(storeContract({ open, concurrent: true }))('$name', ({ run }) => run())
  })

  describe('transactions, failures and notifications', () => {
    const open = async () => {
      const pool = new Pool({ connectionString: server.url, max: CONNECTIONS })
      const schema = `s${++schemas}`
      const store = postgres(pool, { schema })
      await store.migrate()
      const close = async (): Promise<void> => {
        await store.close()
        await pool.end()
      }
      return { pool, store, schema, close }
    }

    test("a client of the pool is a transaction between the user's begin and commit, and not after", async () => {
      const { pool, store, close } = await open()
      const client = await pool.connect()
      expect(store.isTransaction(client)).toBe(false)
      await client.query('begin')
      expect(store.isTransaction(client)).toBe(true)
      await store.outbox.add(client, [draftOf({ id: 'a' })])
      await client.query('commit')
      expect(store.isTransaction(client)).toBe(false)
      await expect(store.outbox.add(client, [draftOf()])).rejects.toMatchObject({ code: 'transaction_over' })
      client.release()
      expect(await dueIds(store)).toEqual(['a'])
      await close()
    })

    test('an id that another transaction adds first leaves no gap in the numbers of its key', async () => {
      const { pool, store, close } = await open()
      const [first, second] = [await pool.connect(), await pool.connect()]
      await first.query('begin')
      await second.query('begin')
      await store.outbox.add(first, [draftOf({ id: 'same', key: 'k' })])
      const waiting = store.outbox.add(second, [
        draftOf({ id: 'b', key: 'other' }),
        draftOf({ id: 'same', key: 'k' }),
        draftOf({ id: 'c', key: 'k' }),
      ])
      await first.query('commit')
      await waiting
      await second.query('commit')
      const due = await store.outbox.due(ALL, 10)
      expect(due.map(({ message: { id, keySeq } }) => [id, keySeq])).toEqual([
        ['same', 1],
        ['b', 1],
        ['c', 2],
      ])
      for (const client of [first, second]) client.release()
      await close()
    })

    test('a deadlock is a conflict that may be run again', async () => {
      const { store, close } = await open()
      const keys = ['a', 'b']
      const met = [0, 1].map((): { met: Promise<void>; meet: () => void } => {
        let meet = (): void => {}
        return { met: new Promise<void>((resolve) => (meet = resolve)), meet: () => meet() }
      })
      const outcomes = await Promise.allSettled(
        [0, 1].map((index) =>
          store.transaction(async (tx) => {
            await store.outbox.add(tx, [draftOf({ key: keys[index]! })])
            met[index]!.meet()
            await met[1 - index]!.met
            await store.outbox.add(tx, [draftOf({ key: keys[1 - index]! })])
          }),
        ),
      )
      const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
      expect(failed).toMatchObject([{ code: 'conflict', retryable: true }])
      await close()
    })

    test('a connection that is lost is a store that is down, and the next one works', async () => {
      const { pool, store, close } = await open()
      pool.on('error', () => {})
      const work = store.transaction(async (tx) => {
        tx.on('error', () => {})
        const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
        await pool.query('select pg_terminate_backend($1)', [rows[0]!.pid])
        await store.outbox.add(tx, [draftOf()])
      })
      await expect(work).rejects.toMatchObject({ code: 'store_down', retryable: true })
      expect(await dueIds(store)).toEqual([])
      await close()
    })

    test("a connection that is lost during the user's own statement is not the user's fault", async () => {
      const { pool, store, close } = await open()
      pool.on('error', () => {})
      const work = store.transaction(async (tx) => {
        tx.on('error', () => {})
        await tx.query('select pg_terminate_backend(pg_backend_pid())')
      })
      await expect(work).rejects.toMatchObject({ code: 'store_down', retryable: true })
      await close()
    })

    test('a connection that is lost while nothing is asked of it ends the transaction, not the process', async () => {
      const { pool, store, close } = await open()
      const work = store.transaction(async (tx) => {
        const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
        const gone = new Promise<void>((resolve) => tx.once('end', resolve))
        await pool.query('select pg_terminate_backend($1)', [rows[0]!.pid])
        await gone
      })
      await expect(work).rejects.toMatchObject({ code: 'store_down', retryable: true })
      await store.transaction((tx) => store.outbox.add(tx, [draftOf({ id: 'a' })]))
      expect(await dueIds(store)).toEqual(['a'])
      await close()
    })

    test('a message whose handler always ends its own connection is parked in the end, and stops nobody', async () => {
      const { store, close } = await open()
      const app = service('helpdesk', { store, transport: memoryEngine().transport(), log: silent })
      const seen = new Map<string, Set<number>>()
      app.on(Noted, { name: 'n', retry: { attempts: 3, initial: '1ms' } }, async ({ id }, { tx, attempt }) => {
        seen.set(id, (seen.get(id) ?? new Set()).add(attempt))
        if (id === 'bad') await tx.query('select pg_terminate_backend(pg_backend_pid())')
      })
      await app.start()
      await app.transaction(async (_, { publish }) => {
        for (const id of ['bad', 'a', 'b']) await publish(Noted, { id })
      })
      const settled = async (): Promise<boolean> =>
        (await app.register.count({ direction: 'in', state: 'parked' })) === 1 &&
        (await app.register.count({ direction: 'in', state: 'done' })) === 2
      while (!(await settled())) await new Promise((resolve) => setImmediate(resolve))
      expect([...seen].toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
        ['a', new Set([1])],
        ['b', new Set([1])],
        ['bad', new Set([1, 2, 3])],
      ])
      await app.stop()
      await close()
    })

    test('a transaction that PostgreSQL rolled back was not committed, also when nobody let the error through', async () => {
      const { store, close } = await open()
      const work = store.transaction(async (tx) => {
        await store.inbox.begin(tx, 'c', [messageOf()], true)
        await tx.query('select 1 / 0').catch(() => {})
      })
      await expect(work).rejects.toMatchObject({ code: 'transaction_over' })
      expect(await store.register.count({ direction: 'in' })).toBe(0)
      await close()
    })

    test('the same over postgres.js', async () => {
      const sql = postgresJs(server.url, { max: CONNECTIONS, onnotice() {} })
      const store = postgres(sql, { schema: `s${++schemas}` })
      await store.migrate()
      const work = store.transaction(async (tx) => {
        await store.inbox.begin(tx, 'c', [messageOf()], true)
        await tx`select 1 / 0`.catch(() => {})
      })
      await expect(work).rejects.toThrow('division by zero')
      expect(await store.inbox.depth()).toEqual([])
      await store.close()
      await sql.end({ timeout: 1 })
    })

    test('the only connection of a pool is not taken for listening', async () => {
      const pool = new Pool({ connectionString: server.url, max: 1 })
      const store = postgres(pool, { schema: `s${++schemas}` })
      await store.migrate()
      const end = store.watch(() => {})
      await store.transaction((tx) => store.outbox.add(tx, [draftOf({ id: 'a' })]))
      expect(await dueIds(store)).toEqual(['a'])
      end()
      await store.close()
      await pool.end()
    })

    test('nobody at the other end is a store that is down', async () => {
      const pool = new Pool({ host: '127.0.0.1', port: 1 })
      const store = postgres(pool)
      await expect(store.now()).rejects.toMatchObject({ code: 'store_down', retryable: true })
      await expect(store.transaction(() => Promise.resolve())).rejects.toMatchObject({ code: 'store_down' })
      await pool.end()
    })

    test('watchers hear of what another process notifies, and again after their connection was lost', async () => {
      const { pool, store, schema, close } = await open()
      pool.on('error', () => {})
      const other = new Pool({ connectionString: server.url, max: 2 })
      const notifier = postgres(other, { schema })
      let heard = (): void => {}
      const next = (): Promise<void> => new Promise((resolve) => (heard = resolve))
      const listening = next()
      const end = store.watch(() => heard())
      await listening
      const notified = next()
      await notifier.notify()
      await notified
      const again = next()
      await other.query(`select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %${schema}.%'`)
      await again
      end()
      await notifier.close()
      await other.end()
      await close()
    })

    test('a user error passes through a transaction as it is, also one that looks like a lost connection', async () => {
      const { store, close } = await open()
      const fault = Object.assign(new Error('the service of somebody else'), { code: 'ECONNREFUSED' })
      await expect(store.transaction(() => Promise.reject(fault))).rejects.toBe(fault)
      await close()
    })
  })
})
