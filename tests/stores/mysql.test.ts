import { createPool, type Connection, type Pool, type PoolConnection } from 'mysql2/promise'
import { describe, expect, onTestFinished, test } from 'vitest'
import { mysql } from '@stathmos/sdk/stores/mysql'
import {
  ALL,
  claim,
  claimedIds,
  draftOf,
  dueIds,
  idsOf,
  keep,
  messageOf,
} from '../../packages/sdk/src/store/contract-sample.ts'
import { noMariadb, startMariadb } from '../peers/mariadb.ts'
import { lateStatements } from './late.ts'
import { deadlocks } from './mishaps.ts'
import { CONNECTIONS, storesOver } from './over.ts'

describe('a store over mysql2', () => {
  storesOver(
    'MariaDB',
    (uri) => {
      const pool = createPool({ uri, connectionLimit: CONNECTIONS })
      return Promise.resolve({
        root: pool,
        store: (options) => mysql(pool, options),
        run: (text) => pool.query(text),
        end: () => pool.end(),
      })
    },
    (subject) => {
      deadlocks(subject, (connection, text) => connection.query(text, []))
      lateStatements(subject, async (root, work) => {
        const connection: PoolConnection = await (root as Pool).getConnection()
        await connection.beginTransaction()
        try {
          await work(connection)
          await connection.commit()
        } catch (error) {
          await connection.rollback()
          throw error
        } finally {
          connection.release()
        }
      })

      test('a transaction that the application began adds messages', async () => {
        const { store, root, close } = await subject()
        const connection: PoolConnection = await (root as Pool).getConnection()
        await connection.beginTransaction()
        expect(store.isTransaction(connection)).toBe(true)
        await store.outbox.add(connection, [draftOf({ id: 'a', key: 'k' })])
        await connection.commit()
        connection.release()
        expect(await dueIds(store)).toEqual(['a'])
        await close()
      })

      test('numbers go on after those that were committed since a transaction at REPEATABLE READ took its view', async () => {
        const { store, root, close } = await subject()
        const connection = await (root as Pool).getConnection()
        await connection.query('set transaction isolation level repeatable read')
        await connection.query('start transaction with consistent snapshot')
        await store.transaction((tx) => store.outbox.add(tx, [draftOf({ id: 'a', key: 'k' })]))
        await store.outbox.add(connection, [draftOf({ id: 'b', key: 'k' })])
        await connection.commit()
        connection.release()
        const due = await store.outbox.due(ALL, 10)
        expect(due.map(({ message: { id, keySeq } }) => [id, keySeq])).toEqual([
          ['a', 1],
          ['b', 2],
        ])
        await close()
      })

      test('messages are refused when the transaction of a handler is over', async () => {
        const { store, close } = await subject()
        const over = await store.transaction((tx) => Promise.resolve({ tx }))
        await expect(store.outbox.add(over.tx, [draftOf()])).rejects.toMatchObject({ code: 'transaction_over' })
        await close()
      })

      test('the tables may be in a database of their own', async () => {
        const { root, run, close } = await subject()
        const store = mysql(root as Pool, { schema: 'messaging' })
        await store.migrate()
        await store.check()
        await store.transaction(async (tx) => {
          await store.outbox.add(tx, [draftOf({ id: 'a', key: 'k' }), draftOf({ id: 'b', key: 'k' })])
          await store.inbox.begin(tx, 'c', [messageOf({ metadata: { correlationId: 'c', dedupeKey: 'd' } })], true)
        })
        expect(await dueIds(store)).toEqual(['a', 'b'])
        await store.inbox.prune(1, 10)
        await store.inbox.pruneDedupeKeys(1, 10)
        await run('drop schema messaging')
        await close()
      })

      test('names that differ in case, accents or spaces at their end are different', async () => {
        const { store, close } = await subject()
        const messages = ['k', 'K', 'k ', 'ķ'].map((key) => messageOf({ id: `id ${key}`, key, keySeq: 1 }))
        const verdicts = await store.transaction((tx) => store.inbox.begin(tx, 'c', messages, true))
        expect(verdicts.map(({ kind, order }) => [kind, order])).toEqual(messages.map(() => ['new', 'next']))
        await store.transaction((tx) =>
          store.outbox.add(
            tx,
            messages.map(({ key }) => draftOf({ key })),
          ),
        )
        const due = await store.outbox.due(ALL, 10)
        expect(due.map(({ message }) => message.keySeq)).toEqual([1, 1, 1, 1])
        await close()
      })

      test('the longest names and keys of four bytes a character are kept whole', async () => {
        const { store, close } = await subject()
        const long = (tail: string): string => '𝄞'.repeat(99) + tail.repeat(2)
        const fields = { type: long('t'), source: long('s'), key: long('k') }
        const messages = [messageOf({ ...fields, id: long('i'), keySeq: 1 }), messageOf({ ...fields, keySeq: 2 })]
        for (const message of messages) {
          const [verdict] = await store.transaction((tx) => store.inbox.begin(tx, long('c'), [message], true))
          expect(verdict).toMatchObject({ kind: 'new', order: 'next' })
        }
        await store.transaction((tx) =>
          store.outbox.add(tx, [draftOf({ ...fields, id: long('o'), body: new Uint8Array(0) })]),
        )
        const due = await store.outbox.due(ALL, 10)
        expect(due.map(({ message }) => message)).toMatchObject([{ ...fields, id: long('o'), keySeq: 1 }])
        await close()
      })
    },
  )

  test.skipIf(noMariadb !== null)(
    'who claims while another claim is under way finds what that one did not take',
    async () => {
      const server = await startMariadb()
      onTestFinished(() => server.stop())
      const pool = createPool({ uri: server.url, connectionLimit: CONNECTIONS })
      onTestFinished(() => pool.end())
      const store = mysql(pool)
      await store.migrate()
      const messages = Array.from({ length: 10 }, () => messageOf())
      await keep(store, messages)
      let claimed = (): void => {}
      const underWay = new Promise<void>((resolve) => (claimed = resolve))
      let commit = (): void => {}
      const committing = new Promise<void>((resolve) => (commit = resolve))
      const slow = mysql({
        query: (text, values) => pool.query(text, values),
        async getConnection() {
          const connection = await pool.getConnection()
          const commitNow = connection.commit.bind(connection)
          connection.commit = async () => {
            claimed()
            await committing
            connection.commit = commitNow
            await commitNow()
          }
          return connection
        },
      })
      const first = claim(slow, { limit: 5 })
      await underWay
      const second = await claim(store, { limit: 100 })
      commit()
      expect(claimedIds(second)).toHaveLength(5)
      expect([...claimedIds(await first), ...claimedIds(second)].toSorted()).toEqual(idsOf(messages).toSorted())
    },
  )

  test('a pool does not compile as a transaction', () => {
    const misuse = (pool: Pool): unknown => {
      const store = mysql(pool)
      // @ts-expect-error: a connection is asked for.
      return store.outbox.add(pool, [])
    }
    const use = (pool: Pool, connection: Connection): unknown => mysql(pool).outbox.add(connection, [])
    expect([misuse, use]).toHaveLength(2)
  })
})
