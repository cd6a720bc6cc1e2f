// The shop's own tables. The SDK adds its tables to the same database: that is what makes "once" possible.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'

/** Everything that outlives the process is below this folder. */
export const directory = process.env['DATA_DIR'] ?? 'data'
mkdirSync(directory, { recursive: true })

export const connect = (): Database.Database => new Database(join(directory, 'shop.db'))

export const db = connect()

db.exec(`
  create table if not exists orders (id text primary key, item text, count integer, cents integer, email text);
  create table if not exists stock (item text primary key, pieces integer not null);
  create table if not exists stock_counts (at text primary key, pieces integer not null);
  insert or ignore into stock values ('pen', 100), ('lamp', 10);
`)
