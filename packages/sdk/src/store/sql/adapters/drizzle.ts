import { SdkError } from '../../../errors.ts'
import { sqlStore, type SqlStoreOptions } from '../sql-store.ts'
import { boundValues, hasRows } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { EndedTransactions } from './ended-transactions.ts'
import { SingleConnection, takeWriteLock } from './single-connection.ts'
import type { SqlDriver, SqlRow, SqlSession } from '../driver.ts'
import type { Store } from '../../port.ts'

/** A Drizzle database, as far as it is used: 0.36 to 0.45. */
export interface DrizzleLike {
  transaction(work: (tx: unknown) => never, config?: never): unknown
}

/** Drizzle's own transaction: `PgTransaction`, `MySqlTransaction`, `SQLiteTransaction`. */
export type DrizzleTransaction<Db extends DrizzleLike> = Parameters<Parameters<Db['transaction']>[0]>[0]

/** A database or a transaction as it is at run time. */
interface Handle {
  readonly dialect: object
  /** SQLite's only. */
  readonly resultKind?: 'sync' | 'async'
  execute(query: object): PromiseLike<unknown>
  all(query: object): unknown
  run(query: object): unknown
  transaction(work: (tx: Handle) => unknown, config?: { readonly isolationLevel: 'read committed' }): unknown
}

/** By which Drizzle recognises its classes, also those of another copy of it. */
const ENTITY_KIND = Symbol.for('drizzle:entityKind')

/**
 * A store in the database of a Drizzle instance, which stays the user's to close. With a synchronous client for SQLite
 * (`better-sqlite3`) the store's `transaction` awaits what Drizzle's own cannot: transactions to which messages are added
 * are begun with the store, or by the service, on a database object that nobody uses outside of them meanwhile.
 */
export function fromDrizzle<Db extends DrizzleLike>(
  db: Db,
  options: AdapterOptions & SqlStoreOptions = {},
): Store<DrizzleTransaction<Db>> {
  return sqlStore(drizzleDriver(db, options), options)
}

export function drizzleDriver<Db extends DrizzleLike>(
  db: Db,
  options: AdapterOptions = {},
): SqlDriver<DrizzleTransaction<Db>> {
  type Tx = DrizzleTransaction<Db>
  const handle = db as unknown as Handle
  const dialect = dialectNamed(
    kindsOf(handle).findLast((kind) => kind.endsWith('Database')),
    'Drizzle',
    options,
  )
  const ended = new EndedTransactions()
  const open = new WeakSet<object>()
  const sync = handle.resultKind === 'sync'
  const single = sync ? new SingleConnection() : undefined
  const root = sessionOf(handle)

  /** Drizzle's transactions with such a client end when their callback returns; these end when their work is done. */
  async function transactionOfSync<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    // One that is over is a handle all the same: it has no more to it than the connection and the methods.
    const tx = handle.transaction((begun) => begun) as Handle
    await root.query('begin immediate', [])
    open.add(tx)
    try {
      const result = await work(tx)
      await root.query('commit', [])
      return result
    } catch (error) {
      await root.query('rollback', []).catch(() => {})
      throw error
    } finally {
      open.delete(tx)
      ended.end(tx)
    }
  }

  return {
    name: `${dialect} via drizzle`,
    dialect,
    query: (text, values) =>
      single === undefined ? root.query(text, values) : single.alone(() => root.query(text, values)),
    async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
      if (single !== undefined) return single.alone(() => transactionOfSync(work))
      const run = async (tx: Handle): Promise<T> => {
        if (dialect === 'sqlite') await takeWriteLock(sessionOf(tx))
        return ended.during(tx, () => work(tx as Tx))
      }
      const config = dialect === 'sqlite' ? undefined : ({ isolationLevel: 'read committed' } as const)
      return (await handle.transaction(run, config)) as T
    },
    bind(tx) {
      const session = sessionOf(tx as Handle)
      return {
        async query(text, values) {
          ended.refuse(tx as Handle)
          if (sync && !open.has(tx as Handle)) throw cannotWait()
          return session.query(text, values)
        },
      }
    },
    isTransaction: (other): other is Tx =>
      typeof other === 'object' &&
      other !== null &&
      (other as Partial<Handle>).dialect === handle.dialect &&
      kindsOf(other).some((kind) => kind.endsWith('Transaction')),
    close: () => Promise.resolve(),
  }
}

function sessionOf(handle: Handle): SqlSession {
  return {
    async query(text, values) {
      const query = statement(text, boundValues(values))
      if (handle.resultKind === undefined) return rowsIn(await handle.execute(query))
      if (hasRows(text)) return (await handle.all(query)) as readonly SqlRow[]
      await handle.run(query)
      return []
    },
  }
}

/** A statement that is SQL already, in the place of what Drizzle's `sql` makes. */
function statement(sql: string, params: readonly unknown[]): object {
  const query = { getSQL: () => query, toQuery: () => ({ sql, params }) }
  return query
}

/** `{ rows }` of most clients for PostgreSQL, rows of postgres.js, `[rows, fields]` of mysql2. */
function rowsIn(result: unknown): readonly SqlRow[] {
  if (!Array.isArray(result)) return (result as { rows?: readonly SqlRow[] }).rows ?? []
  const [first] = result as readonly unknown[]
  if (Array.isArray(first)) return first as readonly SqlRow[]
  return typeof first === 'object' && first !== null && 'affectedRows' in first ? [] : (result as readonly SqlRow[])
}

/** Names of an object's classes, its own first. */
function kindsOf(handle: object): readonly string[] {
  const kinds: string[] = []
  let type: unknown = handle.constructor
  while (typeof type === 'function') {
    const kind = (type as unknown as Readonly<Record<symbol, unknown>>)[ENTITY_KIND]
    if (typeof kind === 'string') kinds.push(kind)
    type = Object.getPrototypeOf(type)
  }
  return kinds
}

function cannotWait(): SdkError {
  return new SdkError(
    'not_a_transaction',
    'a Drizzle transaction of a synchronous client is over before messages are added to it: begin it with the store, or the service',
  )
}
