// Handlers that speak SQL in a test that moves time: SQLite asks the test's clock.
import { describe, expect, test } from 'vitest'
import type { Database } from 'better-sqlite3'
import { z } from 'zod'
import { command, service } from '@stathmos/sdk'
import { explore, testbed } from '@stathmos/sdk/testing'
import { sqlite } from '@stathmos/sdk/stores/sqlite'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import { betterSqlite, noBetterSqlite } from '../peers/sqlite.ts'

const Add = command('account.add', z.object({ id: z.string(), cents: z.number() })).key(({ id }) => id)

function bank(failures = 0) {
  const db = betterSqlite!(':memory:')
  db.exec('create table account (id text primary key, cents integer)')
  let left = failures
  const app = service('bank', { store: sqlite(db), transport: memoryEngine().transport() }).on(
    Add,
    { name: 'add' },
    ({ id, cents }, { tx }) => {
      if (left-- > 0) throw new Error('not yet')
      tx.prepare('insert into account values (?, ?) on conflict do update set cents = cents + excluded.cents').run(
        id,
        cents,
      )
    },
  )
  return { app, db }
}

function onClock(db: Database, clock: { now(): number }) {
  db.function('test_now', () => clock.now())
  return sqlite(db, { timeSql: 'test_now()' })
}

const cents = (db: Database): unknown => db.prepare('select cents from account order by id').pluck().all()

describe.skipIf(noBetterSqlite !== null)(`SQLite in a test ${noBetterSqlite ?? ''}`, () => {
  test('delays and retries are due when the test says so', async () => {
    const { app, db } = bank(1)
    const t = await testbed(app, { store: (clock) => onClock(db, clock) })
    await t.send(Add, { id: 'a', cents: 1 })
    await t.send(Add, { id: 'a', cents: 2 }, { delay: '14d' })
    await t.settled()
    expect(cents(db)).toEqual([])
    await t.clock.advance('1m')
    expect(cents(db)).toEqual([1])
    expect((await t.story()).split('\n')).toEqual([
      'account.add #1 of a',
      '  bank.add: done at attempt 2, after Error: not yet',
      'account.add #2 of a: scheduled for +14d',
    ])
    await t.clock.advance('14d')
    expect(cents(db)).toEqual([3])
    await t.close()
  })

  test('whatever goes wrong, what a handler writes is there once', async () => {
    const { runs } = await explore(
      { app: bank, store: (clock, { db }) => onClock(db, clock), runs: 30, processes: 2 },
      async (t) => {
        for (const id of ['a', 'a', 'b']) await t.send(Add, { id, cents: 1 })
        await t.settled()
      },
      (_, { db }) => expect(cents(db)).toEqual([2, 1]),
    )
    expect(runs).toBe(31)
  })
})
