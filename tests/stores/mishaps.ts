// What happens to a transaction of the store's, of which the code in it takes no notice.
import { expect, test } from 'vitest'
import { draftOf, dueIds, messageOf } from '../../packages/sdk/src/store/contract-sample.ts'
import type { Store } from '../../packages/sdk/src/store/port.ts'

interface MishapSubject<Tx> {
  readonly store: Store<Tx>
  run(text: string): Promise<unknown>
  close(): Promise<void>
}

/** Runs a statement of the application's in a transaction. */
type RunIn<Tx> = (tx: Tx, text: string) => PromiseLike<unknown>

/** MySQL and MariaDB, which roll the whole transaction back, and go on without one. */
export function deadlocks<Tx>(subject: () => Promise<MishapSubject<Tx>>, runIn: RunIn<Tx>): void {
  test('a deadlock that a handler keeps to itself rolls back all of it, and is a conflict', async () => {
    const { store, run, close } = await subject()
    await run('drop table if exists locked, written')
    await run('create table locked (id int primary key, n int not null)')
    await run(
      'insert into locked with recursive s (n) as (select 1 union all select n + 1 from s where n < 100) select n, 0 from s',
    )
    await run('create table written (n int)')
    let [held, asking] = [(): void => {}, (): void => {}]
    const isHeld = new Promise<void>((resolve) => (held = resolve))
    const isAsked = new Promise<void>((resolve) => (asking = resolve))
    const caught: unknown[] = []
    const other = store.transaction(async (tx) => {
      await isHeld
      // More work than the handler's: the database gives up the lesser.
      await runIn(tx, 'update locked set n = n + 1 where id > 1')
      const waiting = Promise.resolve(runIn(tx, 'update locked set n = n + 1 where id = 1'))
      asking()
      await waiting
    })
    const handler = store.transaction(async (tx) => {
      await store.inbox.begin(tx, 'c', [messageOf()], false)
      await runIn(tx, 'update locked set n = n + 1 where id = 1')
      held()
      await isAsked
      await Promise.resolve(runIn(tx, 'update locked set n = n + 1 where id = 2')).catch((error: unknown) => {
        caught.push(error)
      })
      await runIn(tx, 'insert into written values (1)')
      await store.outbox.add(tx, [draftOf()]).catch(() => {})
    })
    await expect(handler).rejects.toMatchObject({ code: 'conflict', retryable: true })
    await other
    expect(caught).toHaveLength(1)
    // Nothing is left, neither of what it did before nor of what it did after.
    expect(await store.register.count({ direction: 'in' })).toBe(0)
    expect(await dueIds(store)).toEqual([])
    await run('alter table written add check (n <> 1)')
    await run('insert into written values (2)')
    await close()
  })
}

/**
 * PostgreSQL ends a connection of which nothing is asked at the moment.
 *
 * @param pidOf the server's process of a transaction
 */
export function lostConnections<Tx>(
  subject: () => Promise<MishapSubject<Tx>>,
  pidOf: (tx: Tx) => Promise<number>,
): void {
  test('a connection that is lost while nothing is asked of it ends the transaction, not the process', async () => {
    const { store, run, close } = await subject()
    for (let time = 0; time < 3; time++) {
      const work = store.transaction(async (tx) => {
        await store.outbox.add(tx, [draftOf()])
        const pid = await pidOf(tx)
        await run(`select pg_terminate_backend(${pid}, 10000)`)
        // Until the client has heard of it.
        for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
      })
      await expect(work).rejects.toMatchObject({
        code: 'store_down',
        retryable: true,
        data: { connection: 'lost' },
      })
    }
    await store.transaction((tx) => store.outbox.add(tx, [draftOf({ id: 'goes on' })]))
    expect(await dueIds(store)).toEqual(['goes on'])
    await close()
  })
}
