// What PostgreSQL reads, whatever it believes about the tables.
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgres } from '@stathmos/sdk/stores/postgres'
import {
  add,
  ALL,
  attempt,
  claim,
  draftOf,
  finish,
  keep,
  leaseAll,
  messageOf,
  messagesOf,
} from '../../packages/sdk/src/store/contract-sample.ts'
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

  describe('what waits behind a message of its key in the inbox is no longer read by those who look for what is due', () => {
    test.each(['parked', 'claimed'] as const)('when that is %s', async (how) => {
      const { pool, store, schema, close } = await open()
      const messages = messagesOf(2000)
      await keep(store, messages.slice(0, 1), { state: how === 'parked' ? 'parked' : 'waiting' })
      if (how === 'claimed') await claim(store)
      await keep(store, messages.slice(1))
      await claim(store)
      const before = await readOf(pool, schema, 'inbox')
      for (let look = 0; look < 10; look++) {
        expect(await claim(store, { runs: true })).toEqual([])
        expect(await store.inbox.nextDue('c', true)).toEqual(how === 'parked' ? null : expect.any(Number))
      }
      // Of a key that moves on a hundred stay in sight.
      expect((await readOf(pool, schema, 'inbox')) - before).toBeLessThan(how === 'parked' ? 100 : 20 * 110)
      await close()
    })
  })

  test('what is claimed is found by its ids, also when hardly anything waited when the table was analyzed', async () => {
    const { pool, store, schema, close } = await open()
    const count = 100 * TIMES
    for (let time = 0; time < TIMES; time++) await keep(store, messagesOf(100, { key: null }))
    const before = await readOf(pool, schema, 'inbox')
    let done = 0
    for (;;) {
      const entries = await claim(store, { runs: true })
      if (entries.length === 0) break
      await finish(store, ...entries)
      done += entries.length
    }
    expect(done).toBe(count)
    // Each row is read when it is looked for, locked, claimed and done, and some more often.
    expect((await readOf(pool, schema, 'inbox')) - before).toBeLessThan(12 * count)
    await close()
  })

  test('what is kept has its key and its dedupe key found by their names, and old dedupe keys are found by their age', async () => {
    const { pool, store, schema, close } = await open()
    const count = 100 * TIMES
    const read = async () => ({
      inbox: await readOf(pool, schema, 'inbox'),
      keys: await readOf(pool, schema, 'inbox_key'),
      dedupe: await readOf(pool, schema, 'dedupe'),
    })
    const opened = await read()
    for (let time = 0; time < TIMES; time++) {
      const messages = Array.from({ length: 100 }, (_, i) => {
        const metadata = { correlationId: 'c', dedupeKey: `d${time}-${i}` }
        return messageOf({ key: `k${time}-${i}`, keySeq: 1, metadata })
      })
      await keep(store, messages)
    }
    const kept = await read()
    expect(kept.inbox - opened.inbox).toBeLessThan(2 * count)
    expect(kept.keys - opened.keys).toBeLessThan(2 * count)
    expect(kept.dedupe - opened.dedupe).toBeLessThan(2 * count)
    await finish(store, ...(await claim(store, { limit: count })))
    const done = await read()
    const future = Math.ceil(await store.now()) + 3_600_000
    for (let time = 0; time < TIMES; time++) expect(await store.inbox.pruneDedupeKeys(future, 100)).toBe(100)
    const pruned = await read()
    expect(pruned.inbox - done.inbox).toBeLessThan(2 * count)
    expect(pruned.dedupe - done.dedupe).toBeLessThan(4 * count)
    await close()
  })
})

type ReadTable = 'outbox' | 'inbox' | 'inbox_key' | 'dedupe'

/** How many rows of a table were read so far, by whatever way. */
async function readOf(pool: Pool, schema: string, table: ReadTable = 'outbox'): Promise<number> {
  // What the other connections have counted is seen once they are idle for a moment: each tells at the end of its next command.
  const clients = [await pool.connect(), await pool.connect()]
  for (const client of clients) {
    await client.query('select pg_stat_force_next_flush()')
    await client.query('select 1')
  }
  const { rows } = await clients[0]!.query<{ read: string }>(
    `select seq_tup_read + coalesce(idx_tup_fetch, 0) as read from pg_stat_user_tables
      where schemaname = $1 and relname = $2`,
    [schema, `stathmos_${table}`],
  )
  for (const client of clients) client.release()
  return Number(rows[0]!.read)
}
