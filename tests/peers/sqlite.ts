// What opens SQLite databases here: better-sqlite3 from this folder's own packages, and node:sqlite where Node has it.
import { createRequire } from 'node:module'
import type BetterSqlite3 from 'better-sqlite3'
import type { SqliteHandle } from '@stathmos/sdk/stores/sqlite'

/** A connection to a file, as both clients have it. */
export type OpenSqlite<Db> = (file: string) => Db

const here = createRequire(new URL('package.json', import.meta.url))

/** null where it is not installed. */
export const betterSqlite: OpenSqlite<BetterSqlite3.Database> | null = (() => {
  try {
    const Database = here('better-sqlite3') as typeof BetterSqlite3
    new Database(':memory:').close()
    return (file) => new Database(file)
  } catch {
    return null
  }
})()

export const noBetterSqlite =
  betterSqlite === null ? 'better-sqlite3 is not installed (npm install --prefix tests/peers)' : null

/** null before Node 22.16, whose handles cannot say whether they are in a transaction. */
export const nodeSqlite: OpenSqlite<SqliteHandle & { close(): void }> | null = (() => {
  try {
    const { DatabaseSync } = here('node:sqlite') as {
      DatabaseSync: new (file: string) => SqliteHandle & { close(): void }
    }
    const database = new DatabaseSync(':memory:')
    const able = database.isTransaction !== undefined
    database.close()
    return able ? (file) => new DatabaseSync(file) : null
  } catch {
    return null
  }
})()

export const noNodeSqlite = nodeSqlite === null ? 'node:sqlite comes with Node 22.16' : null
