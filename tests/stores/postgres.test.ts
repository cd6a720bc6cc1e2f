import { Pool } from 'pg'
import postgresJs from 'postgres'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { postgres } from '@stathmos/sdk/stores/postgres'
import { storeContract, type StoreSubject } from '../../packages/sdk/src/store/contract.ts'
import { noPostgres, startPostgres, type PostgresServer } from '../peers/postgres.ts'
import type { Store } from '../../packages/sdk/src/store/port.ts'

/** More transactions than this wait for a connection. */
const CONNECTIONS = 12

let server: PostgresServer
let schemas = 0

/** A store in a schema of its own, with a clock that can be moved. */
async function subject<Tx>(
  root: unknown,
  store: (options: { schema: string; timeSql?: string }) => Store<Tx>,
  run: (text: string) => PromiseLike<unknown>,
  end: () => Promise<void>,
): Promise<StoreSubject<Tx>> {
  const schema = `s${++schemas}`
  await run(`create schema ${schema}`)
  await run(`create table ${schema}.moved (ms bigint)`)
  await run(`insert into ${schema}.moved values (0)`)
  const timeSql = `((extract(epoch from statement_timestamp()) * 1000)::bigint + (select ms from ${schema}.moved))`
  const subjected = store({ schema, timeSql })
  await subjected.migrate()
  return {
    store: subjected,
    root,
    pass: async (ms) => void (await run(`update ${schema}.moved set ms = ms + ${ms}`)),
    unmigrated: () => Promise.resolve(store({ schema: `${schema}_not` })),
    async close() {
      await subjected.close()
      await end()
    },
  }
}

describe.skipIf(noPostgres !== null)(`PostgreSQL${noPostgres === null ? '' : `: ${noPostgres}`}`, () => {
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())

  describe('over pg', () => {
    const open = () => {
      const pool = new Pool({ connectionString: server.url, max: CONNECTIONS })
      return subject(
        pool,
        (options) => postgres(pool, options),
        (text) => pool.query(text),
        () => pool.end(),
      )
    }
    for (const { name, run } of storeContract({ open, concurrent: true })) test(name, run)
  })

  describe('over postgres.js', () => {
    const open = () => {
      const sql = postgresJs(server.url, { max: CONNECTIONS, onnotice() {} })
      return subject(
        sql,
        (options) => postgres(sql, options),
        (text) => sql.unsafe(text),
        () => sql.end({ timeout: 1 }),
      )
    }
    for (const { name, run } of storeContract({ open, concurrent: true })) test(name, run)
  })
})
