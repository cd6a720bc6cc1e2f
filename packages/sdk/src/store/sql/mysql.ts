import { mysqlDriver, type MysqlConnection, type MysqlPool } from './mysql-pool.ts'
import { sqlStore, type SqlStoreOptions } from './sql-store.ts'
import type { Store } from '../port.ts'

export type { MysqlConnection, MysqlPool } from './mysql-pool.ts'
export type { SqlStoreOptions } from './sql-store.ts'

/**
 * A store in MySQL from 8.0.17 or MariaDB from 10.6, over a pool of `mysql2/promise`, which stays the caller's; a
 * transaction is a connection of it after `beginTransaction`. Neither database can say that something was committed:
 * relays look from time to time.
 */
export function mysql(pool: MysqlPool, options: SqlStoreOptions = {}): Store<MysqlConnection> {
  return sqlStore(mysqlDriver(pool), options)
}
