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
 * A store in SQLite 3.39 or later, over better-sqlite3 or node:sqlite. The connections stay the caller's; the store's is
 * set to the journal WAL and to `synchronous = full`. A transaction is a connection while one is open on it.
 */
export function sqlite<Db extends SqliteHandle>(db: Db, options: SqliteOptions<Db> = {}): Store<Db> {
  const { own = db, clock = systemClock } = options
  own.exec('pragma journal_mode = wal')
  // better-sqlite3's own default for WAL forgets the last commits when the power fails; but a message is accepted at the
  // transport, and forgotten there, after the commit of what it did.
  own.exec('pragma synchronous = full')
  return sqlStore(sqliteDriver(db, own, clock), options)
}
