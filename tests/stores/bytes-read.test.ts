// What is read of many large messages at once, counted where the rows come from the client.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { command, service } from '@stathmos/sdk'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import { silentLog } from '../../packages/sdk/src/log.ts'
import { draftOf, FAR_AT, keep, messageOf, setTimers } from '../../packages/sdk/src/store/contract-sample.ts'
import { pgDriver } from '../../packages/sdk/src/store/sql/postgres-pool.ts'
import { sqliteDriver } from '../../packages/sdk/src/store/sql/sqlite-driver.ts'
import { sqlStore } from '../../packages/sdk/src/store/sql/sql-store.ts'
import { systemClock } from '../../packages/sdk/src/time/clock.ts'
import type { SqlDriver, SqlRow, SqlSession } from '../../packages/sdk/src/store/sql/driver.ts'
import type { Store } from '../../packages/sdk/src/store/port.ts'
import { noPostgres, startPostgres, type PostgresServer } from '../peers/postgres.ts'
import { betterSqlite, noBetterSqlite } from '../peers/sqlite.ts'

const MIB = 1024 * 1024
/** More than is read at once, several times. */
const MESSAGES = 80
/** What the SDK reads at once of whatever there is: bodies of 16 MiB, and what else belongs to the messages. */
const AT_ONCE = 17 * MIB
/** Messages without their bodies. */
const HEADS = MIB

const Close = command('ticket.close', z.object({ text: z.string() }))
const BODY = new TextEncoder().encode(JSON.stringify({ text: 'x'.repeat(1_000_000) }))

interface Read {
  /** Bytes of the largest result of a statement. */
  readonly largest: number
  /** Bytes of all results. */
  readonly total: number
}

/** The same driver, and what comes out of it. */
function counted<Tx>(driver: SqlDriver<Tx>) {
  let results: number[] = []
  let afterMeasuring: (() => Promise<unknown>) | null = null
  const counting = (session: SqlSession): SqlSession => ({
    async query(text, values) {
      const rows = await session.query(text, values)
      results.push(rows.reduce((sum, row) => sum + bytesOf(row), 0))
      const work = rows.length > 0 && text.includes('order by created_at') ? afterMeasuring : null
      if (work !== null) {
        afterMeasuring = null
        await work()
      }
      return rows
    },
  })
  const readBy = async (work: () => Promise<unknown>): Promise<Read> => {
    results = []
    await work()
    return { largest: Math.max(0, ...results), total: results.reduce((sum, bytes) => sum + bytes, 0) }
  }
  const watched: SqlDriver<Tx> = { ...driver, ...counting(driver), bind: (tx) => counting(driver.bind(tx)) }
  /** Does something between the next measuring of a page and its reading. */
  const meanwhile = (work: () => Promise<unknown>): void => void (afterMeasuring = work)
  return { driver: watched, readBy, meanwhile }
}

function bytesOf(row: SqlRow): number {
  return Object.values(row).reduce<number>((sum, value) => {
    if (value instanceof Uint8Array) return sum + value.byteLength
    return sum + (typeof value === 'string' ? value.length : 8)
  }, 0)
}

/** Some at a time: the test is about what is read. */
async function inPortions(add: (ids: readonly string[]) => Promise<unknown>): Promise<void> {
  const ids = Array.from({ length: MESSAGES }, (_, i) => `m${i}`)
  for (let from = 0; from < ids.length; from += 20) await add(ids.slice(from, from + 20))
}

const parkAll = <Tx>(store: Store<Tx>): Promise<void> =>
  inPortions((ids) =>
    keep(
      store,
      ids.map((id) => messageOf({ id, kind: 'command', type: 'ticket.close', body: BODY })),
      { consumer: 'desk.close', state: 'parked' },
    ),
  )

const setAll = <Tx>(store: Store<Tx>, dueAt: number): Promise<void> =>
  inPortions((ids) =>
    setTimers(store, ...ids.map((id) => ({ draft: draftOf({ id, type: 'ticket.closed', body: BODY }), dueAt }))),
  )

function boundsOn<Tx>(open: () => Promise<{ driver: SqlDriver<Tx>; prefix: string; close(): Promise<unknown> }>): void {
  const world = async () => {
    const { driver, prefix, close } = await open()
    const counter = counted(driver)
    const store = sqlStore(counter.driver, { prefix })
    onTestFinished(async () => {
      await store.close()
      await close()
    })
    await store.migrate()
    const app = service('desk', { store, transport: memoryEngine().transport(), log: silentLog })
    app.on(Close, { name: 'close' }, () => {})
    return { store, app, ...counter }
  }

  test('a list of the register is read page by page', async () => {
    const { app, store, readBy } = await world()
    await parkAll(store)
    const ids: string[] = []
    for (let after: string | null | undefined; after !== null;) {
      const { total } = await readBy(async () => {
        const { entries, next } = await app.register.list({}, { limit: 1000, after: after ?? null })
        ids.push(...entries.map(({ id }) => id))
        after = next
      })
      expect(total).toBeLessThan(AT_ONCE)
    }
    expect(ids).toEqual(Array.from({ length: MESSAGES }, (_, i) => `m${i}`))
    const heads = await readBy(async () => {
      const { entries } = await app.register.list({}, { limit: 1000, bodies: false })
      expect(entries).toHaveLength(MESSAGES)
    })
    expect(heads.total).toBeLessThan(HEADS)
  })

  test('what changes while a page is read is left out of it, and the page goes on behind it', async () => {
    const { store, meanwhile } = await world()
    for (const id of ['a', 'b', 'c', 'd']) await keep(store, [messageOf({ id })], { consumer: 'c', state: 'parked' })
    const list = (after: string | null) => store.register.list({ state: 'parked' }, 2, after, { bytesMax: MIB })
    const key = (id: string) => ({ direction: 'in', consumer: 'c', id }) as const
    meanwhile(async () => {
      await store.register.cancel([key('a')])
      await store.register.replace(key('b'), messageOf({ id: 'better' }))
    })
    const first = await list(null)
    expect([first.entries, first.next]).toEqual([[], expect.any(String)])
    const second = await list(first.next)
    expect([second.entries.map(({ id }) => id), second.next]).toEqual([['c', 'd'], null])
  })

  test('messages are grouped, retried, cancelled and purged without being read', async () => {
    const { app, store, readBy } = await world()
    await parkAll(store)
    const { register } = app
    const { total } = await readBy(async () => {
      expect(await register.groups({ state: 'parked' })).toMatchObject({ matched: MESSAGES })
      expect(await register.redrive({}, { rate: '100000/s' })).toMatchObject({ changed: MESSAGES })
      expect(await register.cancel({ consumer: 'desk.close' })).toMatchObject({ changed: MESSAGES })
      expect(await register.retry({ state: 'cancelled' })).toMatchObject({ changed: MESSAGES })
      expect(await register.cancel(['m7'])).toMatchObject({ changed: 1 })
    })
    expect(total).toBeLessThan(HEADS)
    const purging = await readBy(async () => {
      expect(await register.purge({ state: 'cancelled', olderThan: 0 })).toBe(1)
    })
    expect(purging.total).toBeLessThan(HEADS)
  })

  test('a dry run reads messages to say which cannot be read, some at a time', async () => {
    const { app, store, readBy } = await world()
    await parkAll(store)
    const { largest, total } = await readBy(async () => {
      expect(await app.register.redrive({}, { dryRun: true })).toMatchObject({ matched: MESSAGES, unreadable: [] })
    })
    expect(largest).toBeLessThan(AT_ONCE)
    expect(total).toBeGreaterThan(MESSAGES * BODY.byteLength)
  })

  test('timers that are due at once are fired and sent some at a time', async () => {
    const { app, store, readBy } = await world()
    await setAll(store, 1)
    const { largest, total } = await readBy(() => app.drain())
    expect(largest).toBeLessThan(AT_ONCE)
    expect(total).toBeGreaterThan(MESSAGES * BODY.byteLength)
    expect(await store.register.count({})).toBe(0)
  })

  test('timers that are not due are not read', async () => {
    const { app, store, readBy } = await world()
    await setAll(store, FAR_AT)
    const { total } = await readBy(() => app.drain())
    expect(total).toBeLessThan(HEADS)
  })
}

describe.skipIf(betterSqlite === null)(`SQLite${noBetterSqlite === null ? '' : `: ${noBetterSqlite}`}`, () => {
  boundsOn(() => {
    const directory = mkdtempSync(join(tmpdir(), 'stathmos-bytes-'))
    const db = betterSqlite!(join(directory, 'app.db'))
    db.pragma('journal_mode = wal')
    const close = (): Promise<void> => {
      db.close()
      return Promise.resolve(rmSync(directory, { recursive: true }))
    }
    return Promise.resolve({ driver: sqliteDriver(db, db, systemClock), prefix: 's_', close })
  })
})

describe.skipIf(noPostgres !== null)(`PostgreSQL${noPostgres === null ? '' : `: ${noPostgres}`}`, () => {
  let server: PostgresServer
  let prefixes = 0
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())

  boundsOn(() => {
    const pool = new Pool({ connectionString: server.url, max: 6 })
    const driver = pgDriver(pool, { prepare: true, listen: false, clock: systemClock })
    return Promise.resolve({ driver, prefix: `b${++prefixes}_`, close: () => pool.end() })
  })
})
