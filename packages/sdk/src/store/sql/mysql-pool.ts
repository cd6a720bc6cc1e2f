import { Buffer } from 'node:buffer'
import { Journal } from './journal.ts'
import type { SqlDriver, SqlRow, SqlValue } from './driver.ts'

/** What a pool and a connection of `mysql2/promise` have in common, as far as it is used. */
interface Session {
  query(text: string, values: unknown[]): Promise<readonly [unknown, ...unknown[]]>
}

/** A connection of `mysql2/promise`: what the application has in hand after `beginTransaction`. */
export interface MysqlConnection extends Session {
  beginTransaction(): Promise<unknown>
  commit(): Promise<unknown>
  rollback(): Promise<unknown>
  /** A pool is a connection to the types of `mysql2`: it has this. */
  readonly getConnection?: never
}

interface PoolConnection extends MysqlConnection {
  release(): void
  destroy(): void
}

/** A pool of `mysql2/promise`, as far as it is used. */
export interface MysqlPool extends Session {
  getConnection(): Promise<PoolConnection>
}

/** The client `mysql2`: a transaction is a connection after `beginTransaction`, which no client tells from one before it. */
export function mysqlDriver(pool: MysqlPool): SqlDriver<MysqlConnection> {
  return {
    name: 'mysql',
    dialect: 'mysql',
    query: (text, values) => run(pool, text, values),
    async transaction(work) {
      const connection = await pool.getConnection()
      const journal = journalOf(connection)
      let whole = true
      try {
        // For the next transaction only: the connection is lent.
        await connection.query('set transaction isolation level read committed', [])
        await connection.beginTransaction()
        journal.own = true
        try {
          const result = await work(connection)
          journal.refuse()
          await connection.commit()
          return result
        } catch (error) {
          await connection.rollback().catch(() => (whole = false))
          throw error
        }
      } finally {
        // A connection that could not be rolled back is in nobody knows which state.
        if (whole) connection.release()
        else connection.destroy()
      }
    },
    bind: (connection) => ({
      async query(text, values) {
        journalOf(connection).refuse()
        return run(connection, text, values)
      },
    }),
    isTransaction: (handle): handle is MysqlConnection =>
      typeof handle === 'object' &&
      handle !== null &&
      !('getConnection' in handle) &&
      'beginTransaction' in handle &&
      'rollback' in handle &&
      'query' in handle &&
      journalOf(handle as MysqlConnection).transaction !== null,
    close: () => Promise.resolve(),
  }
}

const journals = new WeakMap<object, Journal>()

/**
 * Keeps a journal of a connection of `mysql2/promise` from the first time that it is asked for. A pool hands out another
 * object each time that it lends a connection.
 */
export function journalOf(connection: MysqlConnection): Journal {
  const known = journals.get(connection)
  if (known !== undefined) return known
  const journal = new Journal()
  journals.set(connection, journal)
  const asked = connection as unknown as Asked
  const plain = asked.query.bind(connection)
  const ask = async (text: string): Promise<readonly SqlRow[]> => {
    const [rows] = (await plain(text)) as [unknown]
    return Array.isArray(rows) ? (rows as readonly SqlRow[]) : []
  }
  const noted =
    (call: Call): Call =>
    async (statement, ...rest) => {
      journal.note(textOf(statement))
      try {
        return await call(statement, ...rest)
      } catch (error) {
        await journal.failed(error, ask)
        throw error
      }
    }
  const [beginTransaction, commit, rollback] = [
    connection.beginTransaction.bind(connection),
    connection.commit.bind(connection),
    connection.rollback.bind(connection),
  ]
  asked.query = noted(plain)
  if (asked.execute !== undefined) asked.execute = noted(asked.execute.bind(connection))
  Object.assign(connection, {
    beginTransaction() {
      journal.begin()
      return beginTransaction()
    },
    commit() {
      journal.end()
      return commit()
    },
    rollback() {
      journal.end()
      return rollback()
    },
  })
  return journal
}

type Call = (statement: unknown, ...rest: readonly unknown[]) => Promise<unknown>

interface Asked {
  query: Call
  execute?: Call
}

/** Statements are texts, or objects that have them. */
function textOf(statement: unknown): string {
  const text = typeof statement === 'object' && statement !== null && 'sql' in statement ? statement.sql : statement
  return typeof text === 'string' ? text : ''
}

/** As text: prepared statements take every number as a fraction, and no placeholder after `limit`. */
async function run(session: Session, text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]> {
  const bound = values.map((value) =>
    value instanceof Uint8Array && !Buffer.isBuffer(value)
      ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      : value,
  )
  const [rows] = await session.query(text, bound)
  return Array.isArray(rows) ? (rows as readonly SqlRow[]) : []
}
