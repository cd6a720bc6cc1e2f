import { systemClock } from '../../time/clock.ts'
import { pgDriver, type PgClient, type PgClientOf, type PgPool } from './postgres-pool.ts'
import {
  postgresJsDriver,
  type PostgresSql,
  type PostgresTransaction,
  type PostgresTransactionOf,
} from './postgres-js.ts'
import { sqlStore, type SqlStoreOptions } from './sql-store.ts'
import type { Store } from '../port.ts'

export type { PgClient, PgClientOf, PgPool } from './postgres-pool.ts'
export type { PostgresSql, PostgresTransaction, PostgresTransactionOf } from './postgres-js.ts'
export type { SqlStoreOptions } from './sql-store.ts'

export interface PostgresOptions extends SqlStoreOptions {
  /**
   * Whether statements are prepared once per connection. Default: true. False behind a pooler that gives every transaction
   * another connection and does not know prepared statements: PgBouncer before 1.21.
   */
  readonly prepare?: boolean
  /**
   * Whether a connection listens to what other processes committed. Default: true. False behind any pooler that gives every
   * transaction another connection; relays then look from time to time.
   */
  readonly listen?: boolean
}

/**
 * A store in PostgreSQL 12 or later, over a `pg` Pool; a transaction is a `PoolClient` after `begin`. Uses the pool for
 * what it does itself, one connection of it for listening. The pool stays the caller's.
 */
export function postgres<Pool extends PgPool>(pool: Pool, options?: PostgresOptions): Store<PgClientOf<Pool>>
/** Over postgres.js; a transaction is the `sql` that `begin` hands to its callback. */
export function postgres<Sql extends PostgresSql>(
  sql: Sql,
  options?: PostgresOptions,
): Store<PostgresTransactionOf<Sql>>
export function postgres(
  handle: PgPool | PostgresSql,
  options: PostgresOptions = {},
): Store<PgClient> | Store<PostgresTransaction> {
  const { prepare = true, listen = true, clock = systemClock } = options
  return 'unsafe' in handle
    ? sqlStore(postgresJsDriver(handle, { prepare, listen }), options)
    : sqlStore(pgDriver(handle, { prepare, listen, clock }), options)
}
