import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import { drizzle as overMysql } from 'drizzle-orm/mysql2'
import { drizzle as overPg, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import { drizzle as overPostgresJs } from 'drizzle-orm/postgres-js'
import { sql } from 'drizzle-orm'
import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import postgresJs from 'postgres'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { fromDrizzle, type DrizzleLike, type DrizzleTransaction } from '@stathmos/sdk/stores/drizzle'
import { draftOf, dueIds } from '../../packages/sdk/src/store/contract-sample.ts'
import type * as OverBetterSqlite from 'drizzle-orm/better-sqlite3'
import { lateStatements } from './late.ts'
import { deadlocks, lostConnections } from './mishaps.ts'
import { CONNECTIONS, sqliteFile, storesOver, type Opened, type Subject } from './over.ts'

type SqliteDatabase = OverBetterSqlite.BetterSQLite3Database

const peers = createRequire(new URL('../peers/package.json', import.meta.url))

/** Another copy of Drizzle, beside the client that it looks for; null where it is not installed. */
const overBetterSqlite = (() => {
  try {
    return (peers('drizzle-orm/better-sqlite3') as typeof OverBetterSqlite).drizzle
  } catch {
    return null
  }
})()

function opened<Db extends DrizzleLike>(
  db: Db,
  run: (text: string) => unknown,
  end: () => unknown,
): Promise<Opened<DrizzleTransaction<Db>>> {
  return Promise.resolve({
    root: db,
    store: (options) => fromDrizzle(db, options),
    run: async (text) => await run(text),
    end: async () => await end(),
  })
}

function openPg(connectionString: string) {
  const pool = new Pool({ connectionString, max: CONNECTIONS })
  const db = overPg(pool)
  return opened(
    db,
    (text) => db.execute(sql.raw(text)),
    () => pool.end(),
  )
}

function openPostgresJs(url: string) {
  const client = postgresJs(url, { max: CONNECTIONS, onnotice() {} })
  const db = overPostgresJs(client)
  return opened(
    db,
    (text) => db.execute(sql.raw(text)),
    () => client.end({ timeout: 1 }),
  )
}

function openMysql(uri: string) {
  const pool = createPool({ uri, connectionLimit: CONNECTIONS })
  const db = overMysql({ client: pool })
  return opened(
    db,
    (text) => db.execute(sql.raw(text)),
    () => pool.end(),
  )
}

function openSqlite(file: string) {
  const client = sqliteFile(file)
  const db: SqliteDatabase = overBetterSqlite!(client)
  return opened(
    db,
    (text) => db.run(text),
    () => client.close(),
  )
}

describe('a store over Drizzle', () => {
  describe.skipIf(overBetterSqlite === null)('with better-sqlite3', () => {
    storesOver('SQLite', openSqlite, (subject) => {
      test('what others ask the store for during a transaction waits, and is not part of it', async () => {
        const { store, close } = await subject()
        const gate = gateOf()
        const failing = store.transaction(async (tx) => {
          await store.outbox.add(tx, [draftOf({ id: 'a' })])
          await gate.promise
          throw new Error('no')
        })
        const other = store.transaction((tx) => store.outbox.add(tx, [draftOf({ id: 'b' })]))
        gate.resolve()
        await expect(failing).rejects.toThrow('no')
        await other
        expect(await dueIds(store)).toEqual(['b'])
        await close()
      })

      test("Drizzle's own transaction, which awaits nothing, is refused", async () => {
        const { store, root, close } = await subject()
        const db = root as SqliteDatabase
        let added: Promise<unknown> | undefined
        db.transaction((tx) => {
          added = store.outbox.add(tx, [draftOf()])
          added.catch(() => {})
        })
        await expect(added).rejects.toMatchObject({ code: 'not_a_transaction' })
        expect(await dueIds(store)).toEqual([])
        await close()
      })
    })
  })
  describe('with pg', () => {
    storesOver('PostgreSQL', openPg, (subject) => {
      more(subject)
      lostConnections(subject, async (tx) => {
        const { rows } = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`)
        return rows[0]!.pid
      })
    })
  })
  describe('with postgres.js', () => {
    storesOver('PostgreSQL', openPostgresJs, (subject) => {
      lateStatements(subject, (root, work) => (root as Transacting).transaction((tx) => work(tx as never)))
      lostConnections(subject, async (tx) => {
        const [row] = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`)
        return row!.pid
      })
    })
  })
  describe('with mysql2', () => {
    storesOver('MariaDB', openMysql, (subject) => {
      more(subject)
      deadlocks(subject, (tx, text) => tx.execute(sql.raw(text)))
    })
  })

  test('the root handle does not compile as a transaction', () => {
    type Pg = NodePgDatabase
    expectTypeOf<Pg>().not.toExtend<DrizzleTransaction<Pg>>()
    expectTypeOf<SqliteDatabase>().not.toExtend<DrizzleTransaction<SqliteDatabase>>()
    const misuse = (db: Pg): unknown => {
      const store = fromDrizzle(db)
      // @ts-expect-error: a transaction is asked for.
      return store.outbox.add(db, [])
    }
    expect(misuse).toBeTypeOf('function')
  })
})

interface Transacting {
  transaction<T>(work: (tx: unknown) => Promise<T>): Promise<T>
}

function more<Tx>(subject: () => Promise<Subject<Tx>>): void {
  lateStatements(subject, (root, work) => (root as Transacting).transaction((tx) => work(tx as Tx)))

  test('a transaction that the application began adds messages', async () => {
    const { store, root, close } = await subject()
    await (root as Transacting).transaction(async (tx) => {
      expect(store.isTransaction(tx)).toBe(true)
      await store.outbox.add(tx as Tx, [draftOf({ id: 'a', key: 'k' })])
    })
    expect(await dueIds(store)).toEqual(['a'])
    await close()
  })

  test('a transaction of another database is none of the store', async () => {
    const [one, other] = [await subject(), await subject()]
    await one.store.transaction((tx) => Promise.resolve(expect(other.store.isTransaction(tx)).toBe(false)))
    await one.close()
    await other.close()
  })

  test('a connection has no more listeners after many transactions than after one', async () => {
    const { store, close } = await subject()
    const listeners = (): Promise<number> =>
      store.transaction((tx) => {
        const { client } = (tx as { session: { client: EventEmitter & { connection: EventEmitter } } }).session
        return Promise.resolve(client.listenerCount('error') + client.connection.listenerCount('error'))
      })
    const first = await listeners()
    for (let time = 0; time < 5; time++) expect(await listeners()).toBe(first)
    await close()
  })

  test('messages are refused when the transaction is over', async () => {
    const { store, close } = await subject()
    const over = await store.transaction((tx) => Promise.resolve({ tx }))
    await expect(store.outbox.add(over.tx, [draftOf()])).rejects.toMatchObject({ code: 'transaction_over' })
    await close()
  })
}

function gateOf(): { readonly promise: Promise<void>; resolve(): void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((settle) => (resolve = settle))
  return { promise, resolve: () => resolve() }
}
