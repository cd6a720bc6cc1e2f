import { createRequire } from 'node:module'
import { knex, type Knex } from 'knex'
import { describe, expect, test } from 'vitest'
import { fromKnex } from '@stathmos/sdk/stores/knex'
import { draftOf, dueIds } from '../../packages/sdk/src/store/contract-sample.ts'
import { betterSqlite } from '../peers/sqlite.ts'
import { lateStatements } from './late.ts'
import { deadlocks, lostConnections } from './mishaps.ts'
import { CONNECTIONS, storesOver, type Opened, type Subject } from './over.ts'

const peers = createRequire(new URL('../peers/package.json', import.meta.url))

function opened(config: Knex.Config): Promise<Opened<Knex.Transaction>> {
  // Applications have results renamed; the store's must not be.
  const db = knex({ ...config, postProcessResponse: () => 'spoilt' })
  return Promise.resolve({
    root: db,
    store: (options) => fromKnex(db, options),
    run: async (text) => {
      await db.raw(text)
    },
    end: () => db.destroy(),
  })
}

/** Knex looks for the client beside itself: it is handed over instead. */
function sqliteClient(): typeof Knex.Client {
  const packaged = createRequire(import.meta.url)('knex/lib/dialects/better-sqlite3') as typeof Knex.Client
  return class extends packaged {
    _driver(): unknown {
      return peers('better-sqlite3')
    }
  }
}

function more(subject: () => Promise<Subject<Knex.Transaction>>): void {
  lateStatements(subject, (root, work) => (root as Knex).transaction(work))

  test('a transaction that the application began adds messages until it ends', async () => {
    const { store, root, close } = await subject()
    const trx = await (root as Knex).transaction()
    expect(store.isTransaction(trx)).toBe(true)
    await store.outbox.add(trx, [draftOf({ id: 'a', key: 'k' })])
    await trx.commit()
    await expect(store.outbox.add(trx, [draftOf()])).rejects.toMatchObject({ code: 'transaction_over' })
    expect(await dueIds(store)).toEqual(['a'])
    await close()
  })

  test('a transaction of another database is none of the store', async () => {
    const [one, other] = [await subject(), await subject()]
    await one.store.transaction((tx) => Promise.resolve(expect(other.store.isTransaction(tx)).toBe(false)))
    await one.close()
    await other.close()
  })
}

describe('a store over Knex', () => {
  storesOver(
    'SQLite',
    (filename) => opened({ client: sqliteClient(), connection: { filename }, useNullAsDefault: true }),
    more,
  )
  const pool = { min: 0, max: CONNECTIONS }
  storesOver(
    'PostgreSQL',
    (connection) => opened({ client: 'pg', connection, pool }),
    (subject) => {
      more(subject)
      lostConnections(subject, async (trx) => {
        const client = (await (trx.client as { acquireConnection(): unknown }).acquireConnection()) as {
          processID: number
        }
        return client.processID
      })
    },
  )
  storesOver(
    'MariaDB',
    (connection) => opened({ client: 'mysql2', connection, pool }),
    (subject) => {
      more(subject)
      deadlocks(subject, (trx, text) => trx.raw(text))
    },
  )

  test.skipIf(betterSqlite === null)('a database that no store speaks is refused', () => {
    const db = knex({
      client: class extends sqliteClient() {
        override dialect = 'oracledb'
      },
    })
    expect(() => fromKnex(db)).toThrow(expect.objectContaining({ code: 'invalid_declaration' }))
  })
})
