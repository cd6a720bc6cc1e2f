import { systemClock } from '../../time/clock.ts'
import { sqliteDriver, type SqliteHandle } from './sqlite-driver.ts'
import { sqlStore, type SqlStoreOptions } from './sql-store.ts'
import type { Store } from '../port.ts'

export type { SqliteHandle, SqliteStatement } from './sqlite-driver.ts'
export type { SqlStoreOptions } from './sql-store.ts'

export interface SqliteOptions<Db> extends Omit<SqlStoreOptions, 'schema'> {
  /**
   * A second connection to the same file, for what the service does itself: handlers get it as their transaction. Without
   * it, handlers share `db` with the rest of the program, and what that writes while a handler awaits something becomes
   * part of the handler's transaction. A database in memory has one connection only.
   */
  readonly own?: Db
}

/**
 * A store in SQLite 3.39 or later, over better-sqlite3 or node:sqlite. The connections stay the caller's; their journal
 * is set to WAL. A transaction is a connection while one is open on it.
 */
export function sqlite<Db extends SqliteHandle>(db: Db, options: SqliteOptions<Db> = {}): Store<Db> {
  const { own = db, clock = systemClock } = options
  own.exec('pragma journal_mode = wal')
  return sqlStore(sqliteDriver(db, own, clock), options)
}
