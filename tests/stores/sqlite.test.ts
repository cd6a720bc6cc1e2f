import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Database } from 'better-sqlite3'
import { sqlite, type SqliteHandle } from '@stathmos/sdk/stores/sqlite'
import { storeContract, type StoreSubject } from '../../packages/sdk/src/store/contract.ts'
import { ALL, draftOf, dueIds } from '../../packages/sdk/src/store/contract-sample.ts'
import { betterSqlite, noBetterSqlite, nodeSqlite, noNodeSqlite } from '../peers/sqlite.ts'
import { lateStatements } from './late.ts'
import type { OpenSqlite } from '../peers/sqlite.ts'

type Connection = SqliteHandle & { close(): unknown }

const TIME = "(cast(round((julianday('now') - 2440587.5) * 86400000) as integer) + (select ms from moved))"

/** A store in a file of its own, with a clock that can be moved. */
async function subject<Db extends Connection>(open: OpenSqlite<Db>, two: boolean): Promise<StoreSubject<Db>> {
  const directory = mkdtempSync(join(tmpdir(), 'stathmos-sqlite-'))
  const file = join(directory, 'app.db')
  const db = open(file)
  const own = two ? open(file) : db
  db.exec('create table moved (ms integer); insert into moved values (0)')
  const store = sqlite(db, { own, timeSql: TIME })
  await store.migrate()
  const others: Connection[] = []
  return {
    store,
    root: db,
    oneWriter: true,
    pass: async (ms) => void db.exec(`update moved set ms = ms + ${ms}`),
    unmigrated() {
      const empty = open(join(directory, 'empty.db'))
      others.push(empty)
      return Promise.resolve(sqlite(empty))
    },
    async close() {
      await store.close()
      for (const connection of new Set([db, own, ...others])) connection.close()
      rmSync(directory, { recursive: true })
    },
  }
}

describe.skipIf(betterSqlite === null)(`better-sqlite3${noBetterSqlite === null ? '' : `: ${noBetterSqlite}`}`, () => {
  const open = betterSqlite!
  describe('with one connection', () => {
    test.each(storeContract({ open: () => subject(open, false), concurrent: true }))('$name', ({ run }) => run())
  })
  describe('with a connection of its own', () => {
    test.each(storeContract({ open: () => subject(open, true), concurrent: true }))('$name', ({ run }) => run())
  })
})

describe.skipIf(nodeSqlite === null)(`node:sqlite${noNodeSqlite === null ? '' : `: ${noNodeSqlite}`}`, () => {
  test.each(storeContract({ open: () => subject(nodeSqlite!, true), concurrent: true }))('$name', ({ run }) => run())
})

describe.skipIf(betterSqlite === null)('transactions on one connection of SQLite', () => {
  const open = betterSqlite!
  const gate = (): { readonly opened: Promise<void>; open(): void } => {
    let resolve = (): void => {}
    const opened = new Promise<void>((settle) => (resolve = settle))
    return { opened, open: () => resolve() }
  }

  lateStatements(
    () => subject(open, true),
    async (root, work) => {
      const db = root as Database
      db.exec('begin immediate')
      try {
        await work(db)
        db.exec('commit')
      } catch (error) {
        db.exec('rollback')
        throw error
      }
    },
  )

  test('what others ask the store for meanwhile waits, and is not part of them', async () => {
    const { store, close } = await subject(open, false)
    const held = gate()
    const failing = store.transaction(async (tx) => {
      await store.outbox.add(tx, [draftOf({ id: 'a' })])
      await held.opened
      throw new Error('no')
    })
    const other = store.transaction((tx) => store.outbox.add(tx, [draftOf({ id: 'b' })]))
    const seen = store.outbox.due(ALL, 10)
    held.open()
    await expect(failing).rejects.toThrow('no')
    await other
    expect((await seen).map(({ message }) => message.id)).toEqual(['b'])
    await close()
  })

  test('a handle is refused when its transaction is over, even while another one is open', async () => {
    const { store, close } = await subject(open, false)
    let late: (() => Promise<unknown>) | undefined
    await store.transaction((tx) => {
      late = () => store.outbox.add(tx, [draftOf()])
      return Promise.resolve()
    })
    await expect(late!()).rejects.toMatchObject({ code: 'transaction_over' })
    expect(await dueIds(store)).toEqual([])
    await close()
  })

  test('a synchronous transaction that ended before what it did not wait for is found out', async () => {
    const { store, root, close } = await subject(open, true)
    const db = root as Database
    let set: Promise<unknown> | undefined
    db.transaction(() => {
      set = store.timers.set(db, [{ draft: draftOf(), dueAt: 0, cancelKey: null }])
    })()
    await expect(set).rejects.toMatchObject({ code: 'transaction_over' })
    expect(await store.timers.nextDue()).toBe(null)
    await close()
  })

  test('a message is one statement, which is run before a synchronous transaction ends', async () => {
    const { store, root, close } = await subject(open, true)
    const db = root as Database
    let added: Promise<unknown> | undefined
    db.transaction(() => {
      added = store.outbox.add(db, [draftOf({ id: 'a', key: 'k' })])
    })()
    await added
    expect(await dueIds(store)).toEqual(['a'])
    await close()
  })

  test('more messages than are moved at once keep their order and their numbers, and ids that come again are left out', async () => {
    const { store, close } = await subject(open, true)
    const many = Array.from({ length: 2500 }, (_, index) => draftOf({ id: `m${index}`, key: `k${index % 3}` }))
    await store.transaction((tx) => store.outbox.add(tx, many))
    const again = [
      draftOf({ id: 'm7', key: 'k0' }),
      draftOf({ id: 'new', key: 'k0' }),
      draftOf({ id: 'new', key: 'k0' }),
    ]
    await store.transaction((tx) => store.outbox.add(tx, again))
    expect(await store.outbox.depth()).toMatchObject({ pending: 2501 })
    const due = await store.outbox.due(ALL, 5000)
    expect(due.map(({ message }) => message.id)).toEqual([...many.map(({ id }) => id), 'new'])
    expect(due.map(({ message }) => message.keySeq)).toEqual([
      ...many.map((_, index) => Math.floor(index / 3) + 1),
      Math.ceil(2500 / 3) + 1,
    ])
    await close()
  })

  test('bodies that are too many bytes to be moved at once are moved all the same', async () => {
    const { store, close } = await subject(open, true)
    const large = Array.from({ length: 5 }, (_, index) => draftOf({ id: `m${index}`, body: new Uint8Array(9_000_000) }))
    for (const draft of large) await store.transaction((tx) => store.outbox.add(tx, [draft]))
    expect(await store.outbox.depth()).toMatchObject({ pending: 5 })
    expect(await dueIds(store)).toEqual(large.map(({ id }) => id))
    await close()
  })

  test("a user's own transaction on their connection adds messages when everything is awaited", async () => {
    const { store, root, close } = await subject(open, true)
    const db = root as Database
    db.exec('begin immediate')
    expect(store.isTransaction(db)).toBe(true)
    await store.outbox.add(db, [draftOf({ id: 'a', key: 'k' })])
    db.exec('commit')
    expect(await dueIds(store)).toEqual(['a'])
    await close()
  })

  test('a lock of another connection is waited for without blocking the process', async () => {
    const { store, root, close } = await subject(open, true)
    const db = root as Database
    db.exec('begin immediate')
    const waiting = store.transaction((tx) => store.outbox.add(tx, [draftOf({ id: 'a' })]))
    // If the wait blocked, this would never be reached in time to give the lock back.
    await new Promise<void>((resolve) => setImmediate(resolve))
    db.exec('commit')
    await waiting
    expect(await dueIds(store)).toEqual(['a'])
    await close()
  })

  test("what is committed on another connection is noticed, what the store's own commits is not", async () => {
    const { store, root, close } = await subject(open, true)
    const db = root as Database
    const noticed = new Promise<void>((resolve) => store.watch(resolve))
    db.exec('create table theirs (n)')
    await noticed
    await close()
  })
})
