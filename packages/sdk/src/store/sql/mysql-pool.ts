import { Buffer } from 'node:buffer'
import { SdkError } from '../../errors.ts'
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
  const ended = new WeakSet<object>()
  return {
    name: 'mysql',
    dialect: 'mysql',
    query: (text, values) => run(pool, text, values),
    async transaction(work) {
      const connection = await pool.getConnection()
      ended.delete(connection)
      let whole = true
      try {
        // For the next transaction only: the connection is lent.
        await connection.query('set transaction isolation level read committed', [])
        await connection.beginTransaction()
        try {
          const result = await work(connection)
          ended.add(connection)
          await connection.commit()
          return result
        } catch (error) {
          ended.add(connection)
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
        if (ended.has(connection))
          throw new SdkError(
            'transaction_over',
            'the transaction has ended; await all that is done in it before it ends',
          )
        return run(connection, text, values)
      },
    }),
    isTransaction: (handle): handle is MysqlConnection =>
      typeof handle === 'object' &&
      handle !== null &&
      !('getConnection' in handle) &&
      'beginTransaction' in handle &&
      'rollback' in handle &&
      'query' in handle,
    close: () => Promise.resolve(),
  }
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
