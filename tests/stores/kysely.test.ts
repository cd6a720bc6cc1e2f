import {
  CamelCasePlugin,
  Kysely,
  MysqlDialect,
  PostgresDialect,
  SqliteDialect,
  sql,
  type Dialect,
  type Transaction,
} from 'kysely'
import { createPool } from 'mysql2'
import { Pool } from 'pg'
import { describe, expect, test } from 'vitest'
import { fromKysely } from '@stathmos/sdk/stores/kysely'
import { draftOf, dueIds } from '../../packages/sdk/src/store/contract-sample.ts'
import { lateStatements } from './late.ts'
import { deadlocks, lostConnections } from './mishaps.ts'
import { CONNECTIONS, sqliteFile, storesOver, type Opened, type Subject } from './over.ts'

interface Tables {
  readonly ticket: { readonly id: string }
}

function opened(dialect: Dialect): Promise<Opened<Transaction<Tables>>> {
  // Applications have columns renamed; the store's must not be.
  const db = new Kysely<Tables>({ dialect, plugins: [new CamelCasePlugin()] })
  return Promise.resolve({
    root: db,
    store: (options) => fromKysely(db, options),
    run: (text) => sql.raw(text).execute(db),
    end: () => db.destroy(),
  })
}

function more(subject: () => Promise<Subject<Transaction<Tables>>>): void {
  lateStatements(subject, (root, work) => (root as Kysely<Tables>).transaction().execute(work))

  test('a transaction that the application began adds messages', async () => {
    const { store, root, close } = await subject()
    await (root as Kysely<Tables>).transaction().execute(async (trx) => {
      expect(store.isTransaction(trx)).toBe(true)
      expect(store.isTransaction(trx.withSchema('other'))).toBe(true)
      await store.outbox.add(trx, [draftOf({ id: 'a', key: 'k' })])
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

  test('messages are refused when the transaction is over', async () => {
    const { store, close } = await subject()
    const over = await store.transaction((tx) => Promise.resolve({ tx }))
    await expect(store.outbox.add(over.tx, [draftOf()])).rejects.toMatchObject({ code: 'transaction_over' })
    await close()
  })
}

describe('a store over Kysely', () => {
  test('the root handle does not compile as a transaction', () => {
    const misuse = (db: Kysely<Tables>): unknown => {
      const store = fromKysely(db)
      // @ts-expect-error: a transaction is asked for.
      return store.outbox.add(db, [])
    }
    expect(misuse).toBeTypeOf('function')
  })

  storesOver('SQLite', (file) => opened(new SqliteDialect({ database: sqliteFile(file) })), more)
  storesOver(
    'PostgreSQL',
    (connectionString) => {
      const pool = new Pool({ connectionString, max: CONNECTIONS })
      // As the page about stores says: Kysely shows the connection of a transaction to nobody.
      pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {}))
      return opened(new PostgresDialect({ pool }))
    },
    (subject) => {
      more(subject)
      lostConnections(subject, async (trx) => {
        const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx)
        return rows[0]!.pid
      })

      test('a transaction that PostgreSQL rolled back was not committed, also when nobody let the error through', async () => {
        const { store, close } = await subject()
        const work = store.transaction(async (trx) => {
          await store.outbox.add(trx, [draftOf()])
          await sql`select 1 / 0`.execute(trx).catch(() => {})
        })
        await expect(work).rejects.toThrow('current transaction is aborted')
        expect(await dueIds(store)).toEqual([])
        await close()
      })
    },
  )
  storesOver(
    'MariaDB',
    (uri) => opened(new MysqlDialect({ pool: createPool({ uri, connectionLimit: CONNECTIONS }) })),
    (subject) => {
      more(subject)
      deadlocks(subject, (trx, text) => sql.raw(text).execute(trx))
    },
  )
})
