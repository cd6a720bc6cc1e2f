import { boundValues } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { EndedTransactions } from './ended-transactions.ts'
import { takeWriteLock } from './single-connection.ts'
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
  const ended = new EndedTransactions()
  const root = sessionOf(db)
  return {
    name: `${dialect} via kysely`,
    dialect,
    query: (text, values) => root.query(text, values),
    async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
      const begun = dialect === 'sqlite' ? db.transaction() : db.transaction().setIsolationLevel('read committed')
      const run = async (trx: unknown): Promise<T> => {
        if (dialect === 'sqlite') await takeWriteLock(sessionOf(trx))
        return ended.during(trx as object, (tx) => work(tx as Tx))
      }
      return (await begun.execute(run)) as T
    },
    bind(tx) {
      const session = sessionOf(tx)
      return {
        async query(text, values) {
          ended.refuse(tx as object)
          return session.query(text, values)
        },
      }
    },
    isTransaction: (handle): handle is Tx =>
      typeof handle === 'object' &&
      handle !== null &&
      (handle as Partial<KyselyLike>).isTransaction === true &&
      (handle as Partial<KyselyLike>).getExecutor?.().adapter === adapter,
    close: () => Promise.resolve(),
  }
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
function compiled(text: string, parameters: readonly SqlValue[]): object {
  const query = { kind: 'RawNode', sqlFragments: [text], parameters: [] }
  return { sql: text, parameters, query, queryId: { queryId: 'stathmos' } }
}
