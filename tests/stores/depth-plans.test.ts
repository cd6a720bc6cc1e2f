// What the gauges of a service ask for every few seconds may not cost more the more is done with.
import { Pool, type PoolClient } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgres } from '@stathmos/sdk/stores/postgres'
import type { Store } from '../../packages/sdk/src/store/port.ts'
import { noPostgres, startPostgres, type PostgresServer } from '../peers/postgres.ts'

/** Messages that are done with, in the outbox and in the inbox. */
const DONE = 200_000
/** Pages of 8 KiB that one question may read; the tables have thousands. */
const PAGES_MAX = 100

interface Plan {
  readonly 'Shared Hit Blocks': number
  readonly 'Shared Read Blocks': number
}

let server: PostgresServer
let pool: Pool

describe.skipIf(noPostgres !== null)(`PostgreSQL${noPostgres === null ? '' : `: ${noPostgres}`}`, () => {
  beforeAll(async () => {
    server = await startPostgres()
    pool = new Pool({ connectionString: server.url })
    await postgres(pool, { schema: 'm' }).migrate()
    await pool.query(`insert into m.stathmos_outbox (id, bucket, state, holds, due_at, attempts, created_at, kind, type,
        version, source, time, msg_key, content_type, metadata, body)
      select 'o' || n, n % 64, case when n > ${DONE} then (array['pending', 'waiting', 'parked'])[n % 3 + 1] else 'sent' end,
        case when n > ${DONE} and n % 3 > 0 then 1 else 0 end, 0, 0, n, 'event', 'ticket.changed', 1, 'shop', 0, 'k' || n % 1000,
        'application/json', '{}', '{}' from generate_series(1, ${DONE + 90}) n`)
    await pool.query(`insert into m.stathmos_inbox (consumer, id, state, holds, due_at, attempts, epoch, created_at, type, version)
      select 'c', 'i' || n, case when n > ${DONE} then (array['waiting', 'parked'])[n % 2 + 1] else 'done' end, 0, 0, 0, 0, n,
        'ticket.changed', 1 from generate_series(1, ${DONE + 20}) n`)
  }, 120_000)
  afterAll(async () => {
    await pool.end()
    await server.stop()
  })

  /** Pages that every statement read that the store made of the question. */
  async function pagesOf(ask: (store: Store<PoolClient>) => Promise<unknown>): Promise<number[]> {
    const pages: number[] = []
    const watched = new Proxy(pool, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target)
        if (property !== 'query') return typeof value === 'function' ? value.bind(target) : value
        return async (config: { text: string; values?: unknown[] }) => {
          const text = `explain (analyze, buffers, format json) ${config.text}`
          const { rows } = await pool.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(text, config.values)
          const { Plan: plan } = rows[0]!['QUERY PLAN'][0]
          pages.push(plan['Shared Hit Blocks'] + plan['Shared Read Blocks'])
          return pool.query(config)
        }
      },
    })
    await ask(postgres(watched, { schema: 'm', listen: false }))
    return pages
  }

  const questions: readonly (readonly [string, (store: Store<PoolClient>) => Promise<unknown>, unknown])[] = [
    [
      'outbox',
      (store) => store.outbox.depth(),
      { pending: 60, parked: 30, parkedKeys: 30, oldestAt: expect.any(Number) as unknown },
    ],
    [
      'inbox',
      async (store) => (await store.inbox.depth()).toSorted((a, b) => (a.state < b.state ? -1 : 1)),
      [
        { consumer: 'c', state: 'parked', count: 10 },
        { consumer: 'c', state: 'waiting', count: 10 },
      ],
    ],
    ['timers', (store) => store.timers.nextDue(), null],
  ]

  describe.each(['before the tables were ever analyzed', 'after'])('%s', (when) => {
    beforeAll(async () => {
      if (when === 'after') await pool.query('vacuum analyze')
    })

    test.each(questions)('the depth of the %s is told without reading what is done with', async (_, ask, expected) => {
      expect(await ask(postgres(pool, { schema: 'm', listen: false }) as never)).toEqual(expected)
      const pages = await pagesOf(ask)
      expect(pages.length).toBeGreaterThan(0)
      expect(Math.max(...pages)).toBeLessThan(PAGES_MAX)
    })
  })
})
