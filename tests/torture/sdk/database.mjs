// The tortured service's own tables, and the questions that the checker asks of them.
import { createRequire } from 'node:module'

const TABLES = [
  'CREATE TABLE IF NOT EXISTS customers (name VARCHAR(100) PRIMARY KEY, orders INTEGER NOT NULL)',
  'CREATE TABLE IF NOT EXISTS orders (customer VARCHAR(100) NOT NULL, number INTEGER NOT NULL)',
  // No key of any kind: what is booked twice must show.
  'CREATE TABLE IF NOT EXISTS booked (at SERIAL_COLUMN, customer VARCHAR(100) NOT NULL, number INTEGER NOT NULL)',
  'CREATE TABLE IF NOT EXISTS invoiced (at SERIAL_COLUMN, customer VARCHAR(100) NOT NULL, number INTEGER NOT NULL)',
]

/** @returns the SDK's store over the database, and what the processes and the checker do with the tables */
export async function openDatabase(kind, place) {
  return kind === 'postgres' ? openPostgres(place) : openSqlite(place)
}

async function openPostgres(url) {
  const { default: pg } = await import('pg')
  const { postgres } = await import('@stathmos/sdk/stores/postgres')
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  // A connection that breaks while it is idle is the pool's to replace.
  pool.on('error', () => {})
  return {
    store: postgres(pool),
    async migrate() {
      for (const table of TABLES) await pool.query(table.replace('SERIAL_COLUMN', 'BIGSERIAL PRIMARY KEY'))
    },
    async order(tx, customer) {
      const text =
        'INSERT INTO customers VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET orders = customers.orders + 1 RETURNING orders'
      const { rows } = await tx.query(text, [customer])
      const order = { customer, number: rows[0].orders }
      await tx.query('INSERT INTO orders VALUES ($1, $2)', [order.customer, order.number])
      return order
    },
    async record(tx, table, { customer, number }) {
      await tx.query(`INSERT INTO ${table} (customer, number) VALUES ($1, $2)`, [customer, number])
    },
    all: async (text) => (await pool.query(text)).rows,
    close: () => pool.end(),
  }
}

async function openSqlite(file) {
  const require = createRequire(new URL('../../peers/package.json', import.meta.url))
  const Database = require('better-sqlite3')
  const { sqlite } = await import('@stathmos/sdk/stores/sqlite')
  const db = new Database(file)
  db.pragma('journal_mode = WAL')
  db.pragma('busy_timeout = 10000')
  return {
    store: sqlite(db),
    async migrate() {
      for (const table of TABLES) db.exec(table.replace('SERIAL_COLUMN', 'INTEGER PRIMARY KEY AUTOINCREMENT'))
    },
    async order(tx, customer) {
      const text =
        'INSERT INTO customers VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET orders = orders + 1 RETURNING orders'
      const order = { customer, number: tx.prepare(text).get(customer).orders }
      tx.prepare('INSERT INTO orders VALUES (?, ?)').run(order.customer, order.number)
      return order
    },
    async record(tx, table, { customer, number }) {
      tx.prepare(`INSERT INTO ${table} (customer, number) VALUES (?, ?)`).run(customer, number)
    },
    all: async (text) => db.prepare(text).all(),
    close: async () => db.close(),
  }
}
