// What an application does not wait for, in a transaction that it begins and ends itself.
import { expect, test } from 'vitest'
import { draftOf, dueIds } from '../../packages/sdk/src/store/contract-sample.ts'
import type { Store } from '../../packages/sdk/src/store/port.ts'

/** What the promises need of a subject. */
export interface LateSubject<Tx> {
  readonly store: Store<Tx>
  readonly root?: unknown
  close(): Promise<void>
}

/** Runs `work` in a transaction of the application's own: with the client, or the library. */
export type Begin<Tx> = (root: unknown, work: (tx: Tx) => Promise<void>) => Promise<void>

/** Turns of the queue after which a statement is asked for: before the end, on its way, after it. */
const TURNS = [...Array.from({ length: 48 }, (_, turns) => turns), -1, -2, -3, -4, -6]

export function lateStatements<Tx>(subject: () => Promise<LateSubject<Tx>>, begin: Begin<Tx>): void {
  test('what nobody waited for is not added when the transaction was rolled back, whenever it comes', async () => {
    const { store, root, close } = await subject()
    const late: Promise<unknown>[] = []
    for (const turns of TURNS) {
      const work = begin(root, async (tx) => {
        await store.outbox.add(tx, [draftOf({ key: 'k' })])
        late.push(unawaited(publishLate(store, tx, turns)))
        throw new Error('rolled back')
      })
      await expect(work).rejects.toThrow('rolled back')
      await Promise.allSettled(late)
    }
    expect(await dueIds(store)).toEqual([])
    await close()
  })

  test('the same of one that is the first of its transaction', async () => {
    const { store, root, close } = await subject()
    const late: Promise<unknown>[] = []
    for (const turns of TURNS) {
      const work = begin(root, (tx) => {
        late.push(unawaited(publishLate(store, tx, turns)))
        return Promise.reject(new Error('rolled back'))
      })
      await expect(work).rejects.toThrow('rolled back')
      await Promise.allSettled(late)
    }
    expect(await dueIds(store)).toEqual([])
    await close()
  })

  test('what nobody waited for is added by the commit, or refused', async () => {
    const { store, root, close } = await subject()
    for (const turns of TURNS) {
      let late: Promise<string> | undefined
      // Where a failed statement fails the transaction, it is rolled back.
      const committed = await begin(root, async (tx) => {
        await store.outbox.add(tx, [draftOf()])
        late = unawaited(publishLate(store, tx, turns))
      }).then(
        () => true,
        () => false,
      )
      const [outcome] = await Promise.allSettled([late!])
      const due = await dueIds(store)
      if (outcome.status === 'fulfilled') expect(due.includes(outcome.value)).toBe(committed)
      else if (committed)
        expect(outcome.reason).toMatchObject({ code: expect.stringMatching(/^(transaction_over|not_a_transaction)$/) })
    }
    await close()
  })
}

/** As `app.in(tx).publish` does: looks at the handle, makes the message, looks again, and adds it. */
async function publishLate<Tx>(store: Store<Tx>, tx: Tx, turns: number): Promise<string> {
  const draft = draftOf({ key: 'k' })
  const isTransaction = (): boolean => store.isTransaction(tx)
  expect(isTransaction()).toBe(true)
  for (let turn = 0; turn < turns; turn++) await Promise.resolve()
  for (let turn = 0; turn > turns; turn--) await new Promise<void>((resolve) => setImmediate(resolve))
  if (!isTransaction()) throw Object.assign(new Error('over'), { code: 'transaction_over' })
  await store.outbox.add(tx, [draft])
  return draft.id
}

/** Its failure is looked at later. */
function unawaited<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}
