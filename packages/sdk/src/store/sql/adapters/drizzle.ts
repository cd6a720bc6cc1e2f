import { SdkError } from '../../../errors.ts'
import { sqlStore, type SqlStoreOptions } from '../sql-store.ts'
import { boundValues, hasRows } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { EndedTransactions } from '../ended-transactions.ts'
import { SingleConnection, takeWriteLock } from './single-connection.ts'
import { surviving } from './lost-connection.ts'
import { Journal } from '../journal.ts'
import { journalOf as journalOfMysql, type MysqlConnection } from '../mysql-pool.ts'
import { insideOnly, untilLost, type PostgresTransaction } from '../postgres-js.ts'
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
  /** Of a transaction; not in Drizzle's types. */
  readonly session?: { readonly client?: object }
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
        if (dialect === 'postgres') surviving(tx.session?.client)
        const journal = journalOf(tx)
        journal.own = true
        const result = await ended.during(tx, () => work(tx as Tx))
        journal.refuse()
        return result
      }
      const config = dialect === 'sqlite' ? undefined : ({ isolationLevel: 'read committed' } as const)
      return untilLost(
        async (body) => (await handle.transaction(body, config)) as T,
        run,
        (tx) => ended.end(tx),
      )
    },
    bind(tx) {
      const begun = tx as Handle
      return {
        async query(text, values) {
          ended.refuse(begun)
          if (sync && !open.has(begun)) throw cannotWait()
          const journal = journalOf(begun)
          journal.refuse()
          return (journal.own ? sessionOf(begun) : transactionSession(begun)).query(text, values)
        },
      }
    },
    isTransaction(other): other is Tx {
      if (typeof other !== 'object' || other === null) return false
      if ((other as Partial<Handle>).dialect !== handle.dialect) return false
      if (!kindsOf(other).some((kind) => kind.endsWith('Transaction'))) return false
      // From here on its end is noticed, whoever asks for it.
      journalOf(other as Handle)
      return true
    },
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

/** postgres.js ends its transactions itself, and nobody sees it ask for that: the database has to tell. */
function transactionSession(tx: Handle): SqlSession {
  const client = tx.session?.client
  if (typeof client !== 'function' || !('unsafe' in client)) return sessionOf(tx)
  return insideOnly(client as unknown as PostgresTransaction, { prepare: false })
}

const journals = new WeakMap<object, Journal>()

/** Drizzle ends a transaction, and goes back to a savepoint, with the handle that everybody in it has. */
function journalOf(tx: Handle): Journal {
  const known = journals.get(tx)
  if (known !== undefined) return known
  const client = tx.session?.client
  const isMysql = client !== undefined && 'beginTransaction' in client && 'changeUser' in client
  const journal = isMysql ? journalOfMysql(client as unknown as MysqlConnection) : new Journal()
  journals.set(tx, journal)
  if (isMysql || typeof tx.execute !== 'function') return journal
  const execute = tx.execute.bind(tx)
  tx.execute = (query) => {
    const text = textOf(query)
    if (/^(release savepoint|rollback to)\b/i.test(text)) journal.end()
    else journal.note(text)
    return execute(query)
  }
  return journal
}

/** The text of a statement that is nothing but text, as those are that end transactions. */
function textOf(query: object): string {
  const { queryChunks: chunks } = query as { readonly queryChunks?: readonly { readonly value?: unknown }[] }
  const value = chunks?.length === 1 ? chunks[0]?.value : undefined
  return Array.isArray(value) && typeof value[0] === 'string' ? value[0] : ''
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
