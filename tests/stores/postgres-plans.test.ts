// What PostgreSQL reads, whatever it believes about the tables.
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgres } from '@stathmos/sdk/stores/postgres'
import { add, ALL, attempt, draftOf, leaseAll, messageOf } from '../../packages/sdk/src/store/contract-sample.ts'
import { noPostgres, startPostgres, type PostgresServer } from '../peers/postgres.ts'

/** More often than PostgreSQL plans a statement anew. */
const TIMES = 12

let server: PostgresServer
let schemas = 0

async function open() {
  const pool = new Pool({ connectionString: server.url, max: 2 })
  const schema = `p${++schemas}`
  const store = postgres(pool, { schema })
  await store.migrate()
  // As autovacuum does, which has no say in a test.
  await pool.query('vacuum analyze')
  const close = async (): Promise<void> => {
    await store.close()
    await pool.end()
  }
  return { pool, store, schema, close }
}

describe.skipIf(noPostgres !== null)(`PostgreSQL${noPostgres === null ? '' : `: ${noPostgres}`}`, () => {
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())

  test('messages are added and begun without reading a table as a whole, also when it was analyzed empty', async () => {
    const { store, schema, close } = await open()
    const scans = await store.transaction(async (tx) => {
      const counted = async (): Promise<number> => {
        const { rows } = await tx.query<{ scans: string }>(
          'select sum(seq_scan) as scans from pg_stat_xact_user_tables where schemaname = $1',
          [schema],
        )
        return Number(rows[0]!.scans)
      }
      const before = await counted()
      for (let time = 1; time <= TIMES; time++) {
        await store.outbox.add(tx, [draftOf({ key: 'k' })])
        await store.inbox.begin(tx, 'c', [messageOf({ key: 'k', keySeq: time })], true)
      }
      return (await counted()) - before
    })
    expect(scans).toBe(0)
    await close()
  })

  test('a batch that was sent is found by its places, also when hardly anything was pending when the table was analyzed', async () => {
    const { pool, store, schema, close } = await open()
    const leases = await leaseAll(store)
    for (let batch = 0; batch < TIMES; batch++)
      await add(store, ...Array.from({ length: 100 }, () => ({ key: `k${batch}` })))
    const before = await readOf(pool, schema)
    let sent = 0
    for (;;) {
      const entries = await store.outbox.due(ALL, 50)
      if (entries.length === 0) break
      sent += await store.outbox.sent(leases, entries, false)
    }
    expect(sent).toBe(100 * TIMES)
    // Each row is read when it is due, when it is found by its place, and some once more.
    expect((await readOf(pool, schema)) - before).toBeLessThan(5 * sent)
    await close()
  })

  test('what waits behind a parked key is no longer read by those who look for what is due', async () => {
    const { pool, store, schema, close } = await open()
    await add(store, ...Array.from({ length: 1000 }, () => ({ key: 'k' })))
    const leases = await leaseAll(store)
    const [entry] = await store.outbox.due(ALL, 1)
    await store.outbox.failed(leases, [{ entry: entry!, attempt: attempt(), next: 'park-key' }])
    await store.outbox.due(ALL, 100)
    const before = await readOf(pool, schema)
    for (let look = 0; look < 10; look++) expect(await store.outbox.due(ALL, 100)).toEqual([])
    expect((await readOf(pool, schema)) - before).toBeLessThan(100)
    await close()
  })
})

/** How many rows of the outbox were read so far, by whatever way. */
async function readOf(pool: Pool, schema: string): Promise<number> {
  // What the other connections have counted is seen once they are idle for a moment: each tells at the end of its next command.
  const clients = [await pool.connect(), await pool.connect()]
  for (const client of clients) {
    await client.query('select pg_stat_force_next_flush()')
    await client.query('select 1')
  }
  const { rows } = await clients[0]!.query<{ read: string }>(
    `select seq_tup_read + coalesce(idx_tup_fetch, 0) as read from pg_stat_user_tables
      where schemaname = $1 and relname = 'stathmos_outbox'`,
    [schema],
  )
  for (const client of clients) client.release()
  return Number(rows[0]!.read)
}
