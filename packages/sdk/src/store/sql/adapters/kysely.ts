import { boundValues } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { takeWriteLock } from './single-connection.ts'
import { Journal, transactionOver } from '../journal.ts'
import { sqlStore, type SqlStoreOptions } from '../sql-store.ts'
import type { SqlDriver, SqlRow, SqlSession, SqlValue } from '../driver.ts'
import type { Store } from '../../port.ts'

/** A Kysely instance, as far as it is used: any version from 0.27. */
export interface KyselyLike {
  readonly isTransaction: boolean
  getExecutor(): { readonly adapter: object }
  transaction(): KyselyTransactionBuilder
}

interface KyselyTransactionBuilder {
  setIsolationLevel(level: 'read committed'): KyselyTransactionBuilder
  execute(work: (trx: unknown) => Promise<unknown>): Promise<unknown>
}

interface KyselySession {
  withoutPlugins(): KyselySession
  executeQuery(query: object): Promise<{ readonly rows: readonly SqlRow[] }>
}

/** Kysely's own `CompiledQuery`. */
interface KyselyQuery {
  readonly sql: string
}

/** Kysely's own `DatabaseConnection`. */
interface KyselyConnection {
  executeQuery(query: KyselyQuery): Promise<{ readonly rows: readonly SqlRow[] }>
}

/** Kysely's own `Transaction` as it is at run time. */
interface KyselyBegun {
  getExecutor(): { provideConnection<T>(use: (connection: KyselyConnection) => Promise<T>): Promise<T> }
}

/** A transaction of a connection: the connection's journal, and the transaction's number in it. */
interface Sight {
  readonly journal: Journal
  readonly transaction: number | null
}

/** Kysely's own `Transaction<DB>`. */
export type KyselyTransaction<Db extends KyselyLike> = Parameters<
  Parameters<ReturnType<Db['transaction']>['execute']>[0]
>[0]

/**
 * A store in the database of a Kysely instance, which stays the user's to close. Plugins do not touch the store's rows.
 * On SQLite Kysely has one connection: a statement outside of a transaction waits for the one that is open, so that inside
 * of a handler everything goes through its `tx`.
 */
export function fromKysely<Db extends KyselyLike>(
  db: Db,
  options: AdapterOptions & SqlStoreOptions = {},
): Store<KyselyTransaction<Db>> {
  return sqlStore(kyselyDriver(db, options), options)
}

export function kyselyDriver<Db extends KyselyLike>(
  db: Db,
  options: AdapterOptions = {},
): SqlDriver<KyselyTransaction<Db>> {
  type Tx = KyselyTransaction<Db>
  // `PostgresAdapter`, `MysqlAdapter`, `SqliteAdapter`: shared by an instance, its copies and its transactions.
  const { adapter } = db.getExecutor()
  const dialect = dialectNamed(adapter.constructor.name, 'Kysely', options)
  const root = sessionOf(db)
  const sights = new WeakMap<object, Promise<Sight>>()
  const see = (handle: object): Promise<Sight> => {
    const known = sights.get(handle)
    if (known !== undefined) return known
    const sight = onConnection(handle, (connection) => {
      const journal = journalOf(connection)
      return { journal, transaction: journal.transaction }
    })
    sights.set(handle, sight)
    sight.catch(() => {})
    return sight
  }
  return {
    name: `${dialect} via kysely`,
    dialect,
    query: (text, values) => root.query(text, values),
    async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
      const begun = dialect === 'sqlite' ? db.transaction() : db.transaction().setIsolationLevel('read committed')
      const run = async (trx: unknown): Promise<T> => {
        if (dialect === 'sqlite') await takeWriteLock(sessionOf(trx))
        const { journal } = await see(trx as object)
        journal.own = true
        const result = await work(trx)
        journal.refuse()
        return result
      }
      return (await begun.execute(run)) as T
    },
    bind: (tx) => ({
      async query(text, values) {
        const { journal, transaction } = await see(tx as object)
        return onConnection(tx as object, async (connection) => {
          // Now, and not before: what it is asked for next comes after this.
          journal.refuse(transaction)
          return (await connection.executeQuery(compiled(text, boundValues(values)))).rows
        })
      },
    }),
    isTransaction(handle): handle is Tx {
      if (typeof handle !== 'object' || handle === null) return false
      const { isTransaction, getExecutor } = handle as Partial<KyselyLike>
      if (isTransaction !== true || getExecutor?.call(handle).adapter !== adapter) return false
      // From here on its end is noticed, whoever asks for it.
      void see(handle)
      return true
    },
    close: () => Promise.resolve(),
  }
}

/** Uses the connection of a transaction in its turn; at once when nothing else does. */
async function onConnection<T>(handle: object, use: (connection: KyselyConnection) => T | Promise<T>): Promise<T> {
  try {
    return await (handle as KyselyBegun).getExecutor().provideConnection(async (connection) => use(connection))
  } catch (error) {
    // Kysely says so when the end has been answered, and in words only.
    if (error instanceof Error && OVER.test(error.message)) throw transactionOver(error)
    throw error
  }
}

const OVER = /^Transaction is already (committed|rolled back)$/

const journals = new WeakMap<object, Journal>()

/** Kysely's drivers begin and end transactions over the same call as all that happens in them. */
function journalOf(connection: KyselyConnection): Journal {
  const known = journals.get(connection)
  if (known !== undefined) return known
  const journal = new Journal()
  journals.set(connection, journal)
  const plain = connection.executeQuery.bind(connection)
  const ask = async (text: string): Promise<readonly SqlRow[]> => (await plain(compiled(text, []))).rows
  connection.executeQuery = async (query) => {
    journal.note(query.sql)
    try {
      return await plain(query)
    } catch (error) {
      await journal.failed(error, ask)
      throw error
    }
  }
  return journal
}

/** Plugins rename columns and change values: not those of the store. */
function sessionOf(handle: unknown): SqlSession {
  const session = (handle as KyselySession).withoutPlugins()
  return {
    async query(text, values) {
      return (await session.executeQuery(compiled(text, boundValues(values)))).rows
    },
  }
}

/** A statement that is SQL already, as Kysely hands it to its drivers. */
function compiled(text: string, parameters: readonly SqlValue[]): KyselyQuery {
  const query = { kind: 'RawNode', sqlFragments: [text], parameters: [] }
  const made = { sql: text, parameters, query, queryId: { queryId: 'stathmos' } }
  return made
}
