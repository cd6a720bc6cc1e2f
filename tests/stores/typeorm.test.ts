import { createRequire } from 'node:module'
import { DataSource, type DataSourceOptions, type EntityManager, type QueryRunner } from 'typeorm'
import { describe, expect, test } from 'vitest'
import { fromTypeOrm } from '@stathmos/sdk/stores/typeorm'
import { draftOf, dueIds } from '../../packages/sdk/src/store/contract-sample.ts'
import { lateStatements } from './late.ts'
import { deadlocks, lostConnections } from './mishaps.ts'
import { CONNECTIONS, storesOver, type Opened, type Subject } from './over.ts'

const peers = createRequire(new URL('../peers/package.json', import.meta.url))

async function connected(options: DataSourceOptions): Promise<Omit<Opened<never>, 'store'> & { source: DataSource }> {
  const source = await new DataSource(options).initialize()
  return { source, root: source.manager, run: (text) => source.query(text), end: () => source.destroy() }
}

async function managers(options: DataSourceOptions): Promise<Opened<EntityManager>> {
  const { source, ...rest } = await connected(options)
  return { ...rest, store: (store) => fromTypeOrm(source, store) }
}

async function runners(options: DataSourceOptions): Promise<Opened<QueryRunner>> {
  const { source, ...rest } = await connected(options)
  return { ...rest, store: (store) => fromTypeOrm(source, { ...store, handle: 'query-runner' }) }
}

const postgres = (url: string): DataSourceOptions => ({ type: 'postgres', url, poolSize: CONNECTIONS })
const mariadb = (url: string): DataSourceOptions => ({
  type: 'mariadb',
  url: url.replace('mysql:', 'mariadb:'),
  poolSize: CONNECTIONS,
})
const sqlite = (database: string): DataSourceOptions => ({
  type: 'better-sqlite3',
  database,
  driver: peers('better-sqlite3') as unknown,
  enableWAL: true,
})

function more(subject: () => Promise<Subject<EntityManager>>): void {
  lateStatements(subject, (root, work) => (root as EntityManager).dataSource.transaction(work))

  test('a transaction that the application began adds messages until it ends', async () => {
    const { store, root, close } = await subject()
    const { dataSource } = root as EntityManager
    const runner = dataSource.createQueryRunner()
    expect(store.isTransaction(runner.manager)).toBe(false)
    await runner.startTransaction()
    expect(store.isTransaction(runner.manager)).toBe(true)
    expect(store.isTransaction(runner)).toBe(true)
    await store.outbox.add(runner.manager, [draftOf({ id: 'a', key: 'k' })])
    await runner.commitTransaction()
    expect(store.isTransaction(runner.manager)).toBe(false)
    await expect(store.outbox.add(runner.manager, [draftOf()])).rejects.toMatchObject({ code: 'transaction_over' })
    await runner.release()
    expect(await dueIds(store)).toEqual(['a'])
    await close()
  })

  test('a transaction of another database is none of the store', async () => {
    const [one, other] = [await subject(), await subject()]
    await one.store.transaction((tx) => Promise.resolve(expect(other.store.isTransaction(tx)).toBe(false)))
    await one.close()
    await other.close()
  })
}

describe('a store over TypeORM', () => {
  describe('by entity manager', () => {
    storesOver('SQLite', (file) => managers(sqlite(file)), more)
    storesOver(
      'PostgreSQL',
      (url) => managers(postgres(url)),
      (subject) => {
        more(subject)
        lostConnections(subject, async (manager) => {
          const [row] = await manager.query<{ pid: number }[]>('select pg_backend_pid() as pid')
          return row!.pid
        })
      },
    )
    storesOver(
      'MariaDB',
      (url) => managers(mariadb(url)),
      (subject) => {
        more(subject)
        deadlocks(subject, (manager, text) => manager.query(text))
      },
    )
  })
  describe('by query runner', () => {
    storesOver(
      'SQLite',
      (file) => runners(sqlite(file)),
      (subject) => {
        test("the store's statements stay out of the application's transaction on the only connection", async () => {
          const { store, root, close } = await subject()
          const runner = (root as EntityManager).dataSource.createQueryRunner()
          await runner.startTransaction()
          await expect(store.now()).rejects.toMatchObject({ code: 'conflict', retryable: true })
          await runner.rollbackTransaction()
          await store.now()
          await close()
        })
      },
    )
    storesOver('PostgreSQL', (url) => runners(postgres(url)))
  })

  test('the root handle does not compile as a query runner', () => {
    const misuse = (source: DataSource): unknown => {
      const store = fromTypeOrm(source, { handle: 'query-runner' })
      // @ts-expect-error: a query runner is asked for.
      return [() => store.outbox.add(source, []), () => store.outbox.add(source.manager, [])]
    }
    expect(misuse).toBeTypeOf('function')
  })
})
