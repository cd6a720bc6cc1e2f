import assert from 'node:assert/strict'
import { add, dueIds, PAST_MS, type StorePromise } from './contract-sample.ts'
import type { ScheduleRow } from './port.ts'

const HOUR_MS = 3_600_000

/** Transactions, tables, time, schedules and rates. */
export const upkeepPromises: readonly StorePromise[] = [
  {
    name: 'a transaction gives back what its work resolves with, and rejects with what it rejects with',
    async run({ store }) {
      assert.equal(await store.transaction(() => Promise.resolve(7)), 7)
      const fault = new Error('the user changed their mind')
      const refused = store.transaction(() => Promise.reject(fault))
      await assert.rejects(refused, (error) => error === fault)
      assert.equal(await store.transaction(() => Promise.resolve('goes on')), 'goes on')
    },
  },
  {
    name: 'a handle is a transaction inside of one, and nothing else is',
    async run({ store, root }) {
      await store.transaction((tx) => Promise.resolve(assert.equal(store.isTransaction(tx), true)))
      for (const other of [undefined, null, {}, 'tx', () => {}, store, root])
        assert.equal(store.isTransaction(other), false)
    },
  },
  {
    name: 'migrating again changes nothing, not even when several do it at once',
    async run({ store }) {
      const [message] = await add(store, { key: 'k' })
      await store.migrate()
      await Promise.all([store.migrate(), store.migrate(), store.migrate()])
      await store.check()
      assert.deepEqual(await dueIds(store), [message!.id])
    },
  },
  {
    name: 'check names what is missing before the tables are there, and is content after',
    async run({ unmigrated }) {
      const store = await unmigrated?.()
      if (store === undefined) return
      try {
        await assert.rejects(store.check(), { code: 'not_migrated' })
        await Promise.all([store.migrate(), store.migrate()])
        await store.check()
      } finally {
        await store.close()
      }
    },
  },
  {
    name: "time goes on at the store's clock",
    async run({ store, pass }) {
      const before = await store.now()
      await pass(PAST_MS)
      const after = await store.now()
      assert.ok(after - before >= PAST_MS, `${after - before} ms have passed`)
    },
  },
  {
    name: 'time can be asked for within a transaction, too',
    async run({ store }) {
      const before = await store.now()
      const within = await store.transaction((tx) => store.now(tx))
      assert.ok(within >= before && within <= (await store.now()), `${within}`)
    },
  },
  {
    name: 'whoever watches may end it at any time, and notifying nobody is harmless',
    async run({ store }) {
      const end = store.watch(() => {})
      await store.notify()
      end()
      end()
      await store.notify()
    },
  },
  {
    name: 'a schedule is saved when what is there is what was expected, and not otherwise',
    async run({ store }) {
      const save = (row: ScheduleRow, expected: ScheduleRow | null) =>
        store.transaction((tx) => store.schedules.save(tx, row, expected))
      const first = { name: 'report', definition: '0 3 * * *', nextAt: 1_790_000_000_000, lastAt: null }
      const second = { ...first, nextAt: 1_790_086_400_000, lastAt: 1_790_000_000_000 }
      const changed = { ...second, definition: '0 4 * * *' }
      assert.equal(await save(second, first), false, 'nothing is there yet')
      assert.equal(await save(first, null), true)
      assert.equal(await save(second, null), false, 'something is there already')
      assert.deepEqual(await store.schedules.list(), [first])
      assert.equal(await save(second, first), true)
      assert.equal(await save(second, first), false, 'another process was faster')
      assert.equal(await save(second, { ...second, definition: 'another' }), false)
      assert.equal(await save(changed, second), true)
      assert.deepEqual(await store.schedules.list(), [changed])
    },
  },
  {
    name: 'schedules do not touch each other, and a removed one may be saved anew',
    async run({ store }) {
      const rows = ['a', 'b', 'c'].map((name) => ({ name, definition: name, nextAt: 1_790_000_000_000, lastAt: null }))
      await store.transaction(async (tx) => {
        for (const row of rows) assert.equal(await store.schedules.save(tx, row, null), true)
      })
      await store.schedules.remove('b')
      await store.schedules.remove('never there')
      const names = (await store.schedules.list()).map(({ name }) => name)
      assert.deepEqual(names.sort(), ['a', 'c'])
      assert.equal(await store.transaction((tx) => store.schedules.save(tx, rows[1]!, null)), true)
    },
  },
  {
    name: 'a schedule that is saved in a transaction which fails is not saved',
    async run({ store }) {
      const row = { name: 'report', definition: 'x', nextAt: 1_790_000_000_000, lastAt: null }
      await assert.rejects(
        store.transaction(async (tx) => {
          await store.schedules.save(tx, row, null)
          throw new Error('no')
        }),
      )
      assert.deepEqual(await store.schedules.list(), [])
    },
  },
  {
    name: 'a rate grants its capacity and says when one more will be there',
    async run({ store }) {
      const before = await store.now()
      assert.equal((await store.rates.take('sms', 10, HOUR_MS, 4)).granted, 4)
      assert.equal((await store.rates.take('sms', 10, HOUR_MS, 4)).granted, 4)
      assert.equal((await store.rates.take('sms', 10, HOUR_MS, 4)).granted, 2)
      const { granted, nextAt } = await store.rates.take('sms', 10, HOUR_MS, 4)
      const after = await store.now()
      assert.equal(granted, 0)
      assert.ok(nextAt > before, 'not yet')
      assert.ok(nextAt <= after + HOUR_MS / 10 + 1, 'a tenth of the time for a tenth of the capacity')
      assert.equal((await store.rates.take('mail', 10, HOUR_MS, 50)).granted, 10, 'each has its own bucket')
    },
  },
  {
    name: 'a rate fills with time, up to its capacity',
    async run({ store, pass }) {
      assert.equal((await store.rates.take('sms', 3, 30, 3)).granted, 3)
      await pass(100)
      assert.equal((await store.rates.take('sms', 3, 30, 100)).granted, 3)
    },
  },
  {
    name: 'parts of a token are not lost between two looks',
    async run({ store, pass }) {
      assert.equal((await store.rates.take('sms', 1, 200, 1)).granted, 1)
      let { granted, nextAt } = await store.rates.take('sms', 1, 200, 1)
      for (let look = 0; granted === 0; look++) {
        assert.ok(look < 100, 'a token that is never there')
        await pass(20)
        ;({ granted, nextAt } = await store.rates.take('sms', 1, 200, 1))
      }
      assert.ok(nextAt > 0)
    },
  },
]
