// The work that every subject does: an order is taken, which is one insert, and it is booked somewhere else, which is
// another one. Orders of a customer are numbered, so that loss, repetition and disorder show.
import { createRequire } from 'node:module'
import { event } from '@stathmos/sdk'

/** Keys that the orders are spread over. */
export const CUSTOMERS = 1_000

/** Bytes that an order carries besides customer and number. */
const NOTE = 'x'.repeat(100)

const anyObject = { '~standard': { version: 1, vendor: 'bench', validate: (value) => ({ value }) } }
export const OrderPlaced = event('order.placed', anyObject).key((order) => order.customer)

/** The orders `from` to `from + count - 1`: customers in turn, each one's numbers from 1. */
export function orders(count, from = 0) {
  return Array.from({ length: count }, (_, index) => orderAt(from + index))
}

export function orderAt(index) {
  return { customer: `customer-${index % CUSTOMERS}`, number: Math.floor(index / CUSTOMERS) + 1, note: NOTE }
}

/** Follows orders as they arrive: per customer one after the other, none missing, none twice. */
export class OrderCheck {
  #last = new Map()
  count = 0
  /** Numbers that did not follow the one before. */
  violations = 0

  see({ customer, number }) {
    this.count++
    if (number !== (this.#last.get(customer) ?? 0) + 1) this.violations++
    this.#last.set(customer, number)
  }
}

const TABLES = ['orders', 'booked']

/**
 * What the transaction called `tpcb` works on, beside `orders` in the place of its history: the tables of pgbench, with more branches for
 * their accounts, so that connections do not wait for each other.
 */
const BALANCES = { account: 100_000, teller: 1_000, branch: 100 }

/**
 * Opens the database with the SDK's store on it.
 *
 * @param {'postgres' | 'sqlite'} kind
 * @param {string} place URL or file
 */
export async function openDatabase(kind, place, connections = 10) {
  return kind === 'postgres' ? openPostgres(place, connections) : openSqlite(place)
}

async function openPostgres(url, connections) {
  const { Pool } = await import('pg')
  const { postgres } = await import('@stathmos/sdk/stores/postgres')
  const pool = new Pool({ connectionString: url, max: connections })
  // A connection that breaks while it is idle is the pool's to replace.
  pool.on('error', () => {})
  return {
    pool,
    store: postgres(pool),
    migrate: () => migratePostgres(pool),
    fillBalances: () => fillBalancesInPostgres(pool),
    insert: (tx, table, order) => insertInPostgres(tx, table, order),
    takeOrder: (tx, work, order) => takeOrderInPostgres(tx, work, order),
    /** A connection of its own for transactions of its own. */
    async connection() {
      const client = await pool.connect()
      return {
        tx: client,
        begin: () => client.query('begin'),
        commit: () => client.query('commit'),
        close: () => client.release(),
      }
    },
    all: async (text) => (await pool.query(text)).rows,
    async empty() {
      await pool.query('truncate orders, stathmos_outbox, stathmos_stream')
    },
    async analyze() {
      await pool.query('analyze stathmos_outbox, stathmos_stream')
    },
    close: () => pool.end(),
  }
}

export async function migratePostgres(pool) {
  for (const table of TABLES)
    await pool.query(`create table if not exists ${table} (
      at bigserial primary key, customer varchar(100) not null, number integer not null, note text not null)`)
}

export async function fillBalancesInPostgres(pool) {
  for (const [table, count] of Object.entries(BALANCES)) {
    await pool.query(`create table ${table} (id integer primary key, balance integer not null, filler text not null)
      with (fillfactor = 80)`)
    await pool.query(`insert into ${table} select id, 0, repeat(' ', 80) from generate_series(1, ${count}) as id`)
    await pool.query(`analyze ${table}`)
  }
}

/** The business of a transaction: one insert, or the five statements of TPC-B as pgbench has them. */
export async function takeOrderInPostgres(tx, work, order) {
  if (work === 'tpcb') {
    const amount = order.number % 100
    const change = (table, id) =>
      tx.query({
        name: `change-${table}`,
        text: `update ${table} set balance = balance + $1 where id = $2`,
        values: [amount, id],
      })
    const account = someOf('account')
    await change('account', account)
    await tx.query({ name: 'balance', text: 'select balance from account where id = $1', values: [account] })
    await change('teller', someOf('teller'))
    await change('branch', someOf('branch'))
  }
  await insertInPostgres(tx, 'orders', order)
}

function someOf(table) {
  return 1 + Math.floor(Math.random() * BALANCES[table])
}

export function insertInPostgres(tx, table, { customer, number, note }) {
  return tx.query({
    name: `insert-${table}`,
    text: `insert into ${table} (customer, number, note) values ($1, $2, $3)`,
    values: [customer, number, note],
  })
}

async function openSqlite(file) {
  const Database = createRequire(new URL('../../../tests/peers/package.json', import.meta.url))('better-sqlite3')
  const { sqlite } = await import('@stathmos/sdk/stores/sqlite')
  // The second connection is the service's own, as its users are told to have it.
  const [db, own] = [new Database(file), new Database(file)]
  for (const handle of [db, own]) {
    handle.pragma('journal_mode = wal')
    handle.pragma('synchronous = full')
    handle.pragma('busy_timeout = 10000')
  }
  const statements = new Map()
  const prepared = (tx, text) => {
    const key = `${tx === db} ${text}`
    if (!statements.has(key)) statements.set(key, tx.prepare(text))
    return statements.get(key)
  }
  const insert = (tx, table, { customer, number, note }) =>
    prepared(tx, `insert into ${table} (customer, number, note) values (?, ?, ?)`).run(customer, number, note)
  return {
    store: sqlite(db, { own }),
    async migrate() {
      for (const table of TABLES)
        db.exec(`create table if not exists ${table} (
          at integer primary key, customer text not null, number integer not null, note text not null)`)
    },
    async fillBalances() {
      db.exec('begin')
      for (const [table, count] of Object.entries(BALANCES)) {
        db.exec(`create table ${table} (id integer primary key, balance integer not null, filler text not null)`)
        const add = db.prepare(`insert into ${table} values (?, 0, ?)`)
        for (let id = 1; id <= count; id++) add.run(id, ' '.repeat(80))
      }
      db.exec('commit')
    },
    async insert(tx, table, order) {
      insert(tx, table, order)
    },
    async takeOrder(tx, work, order) {
      if (work === 'tpcb') {
        const amount = order.number % 100
        const change = (table, id) =>
          prepared(tx, `update ${table} set balance = balance + ? where id = ?`).run(amount, id)
        const account = someOf('account')
        change('account', account)
        prepared(tx, 'select balance from account where id = ?').get(account)
        change('teller', someOf('teller'))
        change('branch', someOf('branch'))
      }
      insert(tx, 'orders', order)
    },
    async connection() {
      const [begin, commit] = [db.prepare('begin immediate'), db.prepare('commit')]
      return { tx: db, begin: async () => begin.run(), commit: async () => commit.run(), close: () => {} }
    },
    all: async (text) => db.prepare(text).all(),
    async empty() {
      for (const table of ['orders', 'stathmos_outbox', 'stathmos_stream']) db.exec(`delete from ${table}`)
    },
    // Its planner is told nothing by default, so that nothing changes with time.
    analyze: async () => {},
    async close() {
      for (const handle of [db, own]) handle.close()
    },
  }
}

/** What is wrong with what was booked: nothing, when every order is there once and in its customer's order. */
export async function bookedViolations(database, count) {
  const check = new OrderCheck()
  for (const row of await database.all('select customer, number from booked order by at')) check.see(row)
  return check.violations + Math.abs(count - check.count)
}
