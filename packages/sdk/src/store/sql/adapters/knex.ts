import { boundValues } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { takeWriteLock } from './single-connection.ts'
import { Journal, transactionOver } from '../journal.ts'
import { sqlStore, type SqlStoreOptions } from '../sql-store.ts'
import type { SqlDriver, SqlRow, SqlSession } from '../driver.ts'
import type { Store } from '../../port.ts'

/** A Knex instance, as far as it is used: any version from 2. */
export interface KnexLike {
  readonly client: unknown
  transaction(
    work: (trx: unknown) => Promise<unknown>,
    config?: { isolationLevel?: 'read committed' },
  ): Promise<unknown>
}

interface KnexClient {
  readonly dialect: string
  readonly config: object
  acquireConnection(): Promise<object>
  releaseConnection(connection: object): Promise<unknown>
  query(connection: object, query: object): Promise<{ readonly response: unknown }>
}

interface Transaction {
  readonly client: KnexClient
  readonly isTransaction?: boolean
  isCompleted(): boolean
  on(event: 'query-error', listener: (error: unknown) => void): unknown
}

/** Knex's own `Knex.Transaction`. */
export type KnexTransaction<Db extends KnexLike> = Parameters<Parameters<Db['transaction']>[0]>[0]

/**
 * A store in the database of a Knex instance, which stays the user's to close. `postProcessResponse` does not touch the
 * store's rows. A pool of one connection, as Knex has it for SQLite, makes whatever is outside of a transaction wait for
 * the one that is open, so that inside of a handler everything goes through its `tx`.
 */
export function fromKnex<Db extends KnexLike>(
  knex: Db,
  options: AdapterOptions & SqlStoreOptions = {},
): Store<KnexTransaction<Db>> {
  return sqlStore(knexDriver(knex, options), options)
}

export function knexDriver<Db extends KnexLike>(
  knex: Db,
  options: AdapterOptions = {},
): SqlDriver<KnexTransaction<Db>> {
  type Tx = KnexTransaction<Db>
  const client = knex.client as KnexClient
  const dialect = dialectNamed(client.dialect, 'Knex', options)
  const root = sessionOf(client)
  return {
    name: `${dialect} via knex`,
    dialect,
    query: (text, values) => root.query(text, values),
    async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
      const run = async (trx: unknown): Promise<T> => {
        if (dialect === 'sqlite') await takeWriteLock(sessionOf((trx as Transaction).client))
        const journal = await journalOf(trx as Transaction)
        const result = await work(trx)
        journal.refuse()
        return result
      }
      return (await knex.transaction(run, dialect === 'sqlite' ? {} : { isolationLevel: 'read committed' })) as T
    },
    bind(tx) {
      const trx = tx as Transaction
      const session = sessionOf(trx.client)
      return {
        async query(text, values) {
          // Completed as soon as its end is asked for.
          if (trx.isCompleted()) throw transactionOver()
          try {
            return await session.query(text, values)
          } catch (error) {
            throw error instanceof Error && OVER.test(error.message) ? transactionOver(error) : error
          }
        },
      }
    },
    isTransaction(handle): handle is Tx {
      // A Knex instance is a function.
      if (typeof handle !== 'function') return false
      const trx = handle as unknown as Partial<Transaction>
      return trx.isTransaction === true && trx.client?.config === client.config
    },
    close: () => Promise.resolve(),
  }
}

/** What Knex says of a statement whose turn comes after the end; it has no code for it. */
const OVER = /^Transaction query already complete/

/** Of a transaction of the store's. */
async function journalOf(trx: Transaction): Promise<Journal> {
  const journal = new Journal()
  journal.own = true
  const { client } = trx
  const connection = await client.acquireConnection()
  const ask = async (sql: string): Promise<readonly SqlRow[]> =>
    rowsIn((await client.query(connection, { method: 'raw', sql, bindings: [] })).response)
  // Asked for while the error is on its way: ahead of whatever comes next on this connection.
  trx.on('query-error', (error) => void journal.failed(error, ask))
  return journal
}

/** Not `raw`: that counts question marks, and hands the rows to the user's `postProcessResponse`. */
function sessionOf(client: KnexClient): SqlSession {
  return {
    async query(sql, values) {
      const connection = await client.acquireConnection()
      try {
        const { response } = await client.query(connection, { method: 'raw', sql, bindings: boundValues(values) })
        return rowsIn(response)
      } finally {
        await client.releaseConnection(connection)
      }
    },
  }
}

/** `{ rows }` of PostgreSQL, `[rows, fields]` of MySQL, rows of SQLite; of a change something that holds no rows. */
function rowsIn(response: unknown): readonly SqlRow[] {
  if (Array.isArray(response)) return Array.isArray(response[0]) ? (response[0] as SqlRow[]) : plainRows(response)
  const { rows } = response as { rows?: readonly SqlRow[] }
  return rows ?? []
}

/** `[result, undefined]` is what MySQL says of a change. */
function plainRows(rows: readonly unknown[]): readonly SqlRow[] {
  const [first] = rows
  return typeof first === 'object' && first !== null && 'affectedRows' in first ? [] : (rows as readonly SqlRow[])
}
