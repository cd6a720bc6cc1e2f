import assert from 'node:assert/strict'
import { add, ALL, draftOf, dueIds, idsOf, LONG_MS, PAST_MS, plain, setTimers, SHORT_MS } from './contract-sample.ts'
import type { StorePromise } from './contract-sample.ts'

/** Messages that are to be sent later. */
export const timerPromises: readonly StorePromise[] = [
  {
    name: 'a timer fires when its time has come, and not before',
    async run({ store, pass }) {
      const draft = draftOf({ key: 'k' })
      const dueAt = Math.floor(await store.now()) + LONG_MS
      await setTimers(store, { draft, dueAt }, { dueAt: dueAt + 1 })
      assert.equal(await store.timers.fire(10), 0)
      assert.deepEqual(await dueIds(store), [])
      assert.equal(await store.timers.nextDue(), dueAt)
      const soon = draftOf()
      await setTimers(store, { draft: soon, dueAt: Math.floor(await store.now()) + SHORT_MS })
      await pass(PAST_MS)
      assert.equal(await store.timers.fire(10), 1)
      assert.deepEqual(await dueIds(store), [soon.id])
      assert.equal(await store.timers.fire(10), 0, 'it fires once')
      assert.deepEqual(await dueIds(store), [soon.id])
    },
  },
  {
    name: 'a timer is there when its transaction commits, and not at all when it does not',
    async run({ store }) {
      const fault = store.transaction(async (tx) => {
        await store.timers.set(tx, [{ draft: draftOf(), dueAt: 1, cancelKey: 'a' }])
        throw new Error('no')
      })
      await assert.rejects(fault)
      assert.equal(await store.timers.nextDue(), null)
      assert.equal(await store.timers.fire(10), 0)
    },
  },
  {
    name: 'what fires is what was set, numbered in the order of firing',
    async run({ store }) {
      const later = draftOf({ key: 'k', body: new Uint8Array([0, 255]), metadata: { correlationId: 'c', tenant: 't' } })
      const earlier = draftOf({ key: 'k' })
      await setTimers(store, { draft: later, dueAt: 2000 }, { draft: earlier, dueAt: 1000 })
      const [between] = await add(store, { key: 'k' })
      assert.equal(await store.timers.fire(10), 2)
      const due = await store.outbox.due(ALL, 10)
      assert.deepEqual(
        due.map(({ message }) => plain(message)),
        [plain(between!), { ...earlier, keySeq: 2 }, { ...later, keySeq: 3 }].map(plain),
      )
    },
  },
  {
    name: 'timers fire earliest first, at most as many as asked for',
    async run({ store }) {
      const drafts = Array.from({ length: 9 }, () => draftOf())
      await setTimers(store, ...drafts.map((draft, i) => ({ draft, dueAt: 1000 + ((i * 4) % 9) })))
      const expected = drafts.map(({ id }, i) => ({ id, at: (i * 4) % 9 })).toSorted((a, b) => a.at - b.at)
      assert.equal(await store.timers.nextDue(), 1000)
      assert.equal(await store.timers.fire(4), 4)
      assert.deepEqual((await dueIds(store)).toSorted(), idsOf(expected.slice(0, 4)).toSorted())
      assert.equal(await store.timers.fire(4), 4)
      assert.equal(await store.timers.fire(4), 1)
      assert.equal(await store.timers.fire(4), 0)
      assert.deepEqual((await dueIds(store)).toSorted(), idsOf(expected).toSorted())
      assert.equal(await store.timers.nextDue(), null)
    },
  },
  {
    name: 'what fires at once fits into the bytes that it may have, and what is larger goes alone and whole',
    async run({ store }) {
      const sizes = [10, 6000, 20, 2500, 2600, 1, 1, 0]
      const drafts = sizes.map((size) => draftOf({ key: 'k', body: new Uint8Array(size).fill(7) }))
      await setTimers(store, ...drafts.map((draft, i) => ({ draft, dueAt: 1000 + i })))
      const counts: number[] = []
      for (let count = -1; count !== 0; counts.push(count)) count = await store.timers.fire(100, 5000)
      assert.deepEqual(counts, [1, 1, 2, 4, 0])
      const due = await store.outbox.due(ALL, 10)
      assert.deepEqual(
        due.map(({ message }) => plain(message)),
        drafts.map((draft, i) => plain({ ...draft, keySeq: i + 1 })),
      )
    },
  },
  {
    name: 'many fire at once, in the order of their times',
    async run({ store }) {
      const drafts = Array.from({ length: 230 }, () => draftOf({ key: 'k' }))
      await setTimers(store, ...drafts.map((draft, i) => ({ draft, dueAt: 1000 + i })))
      assert.equal(await store.timers.fire(210), 210)
      assert.deepEqual(await dueIds(store), idsOf(drafts.slice(0, 210)))
      assert.equal(await store.timers.fire(210), 20)
      assert.deepEqual(await dueIds(store), idsOf(drafts))
    },
  },
  {
    name: 'a second timer of one name replaces the first; those without a name do not meet',
    async run({ store }) {
      const [first, second] = [draftOf(), draftOf()]
      const unnamed = [draftOf(), draftOf()]
      await setTimers(store, { draft: first, dueAt: 1000, cancelKey: 'close 7' })
      await setTimers(store, { draft: second, dueAt: 2000, cancelKey: 'close 7' })
      await setTimers(store, ...unnamed.map((draft) => ({ draft, dueAt: 3000 })))
      assert.equal(await store.timers.nextDue(), 2000)
      assert.equal(await store.timers.fire(10), 3)
      assert.deepEqual((await dueIds(store)).toSorted(), idsOf([second, ...unnamed]).toSorted())
    },
  },
  {
    name: 'a timer may be moved with the id of its message',
    async run({ store }) {
      const draft = draftOf()
      await setTimers(store, { draft, dueAt: 1000, cancelKey: 'close 7' })
      const dueAt = Math.floor(await store.now()) + LONG_MS
      await setTimers(store, { draft, dueAt, cancelKey: 'close 7' })
      assert.equal(await store.timers.nextDue(), dueAt)
      assert.equal(await store.timers.fire(10), 0)
    },
  },
  {
    name: 'a timer whose message id is there already is left as it is',
    async run({ store }) {
      const [sent] = await add(store, { id: 'sent' })
      await setTimers(store, { draft: draftOf({ id: 'set' }), dueAt: 1000 })
      await setTimers(
        store,
        { draft: draftOf({ id: 'set', type: 'other' }), dueAt: 2000 },
        { draft: draftOf({ id: 'sent' }), dueAt: 1000 },
      )
      await store.timers.fire(10)
      assert.equal(await store.timers.nextDue(), null)
      const due = await store.outbox.due(ALL, 10)
      assert.deepEqual(
        due.map(({ message }) => [message.id, message.type]),
        [
          ['sent', sent!.type],
          ['set', 'ticket.submitted'],
        ],
      )
    },
  },
  {
    name: 'a timer that was cancelled does not fire, and cancelling says whether there was one',
    async run({ store }) {
      const cancel = (name: string) => store.transaction((tx) => store.timers.cancel(tx, name))
      await setTimers(store, { dueAt: 1000, cancelKey: 'close 7' })
      assert.equal(await cancel('close 8'), false)
      assert.equal(await cancel('close 7'), true)
      assert.equal(await cancel('close 7'), false)
      assert.equal(await store.timers.fire(10), 0)
      assert.deepEqual(await dueIds(store), [])
    },
  },
  {
    name: 'a timer that is set and cancelled in one transaction never was',
    async run({ store }) {
      const found = await store.transaction(async (tx) => {
        await store.timers.set(tx, [{ draft: draftOf(), dueAt: 1000, cancelKey: 'a' }])
        return store.timers.cancel(tx, 'a')
      })
      assert.equal(found, true)
      assert.equal(await store.timers.fire(10), 0)
    },
  },
  {
    name: 'cancelling in a transaction that fails cancels nothing',
    async run({ store }) {
      await setTimers(store, { dueAt: 1000, cancelKey: 'a' })
      const fault = store.transaction(async (tx) => {
        assert.equal(await store.timers.cancel(tx, 'a'), true)
        throw new Error('no')
      })
      await assert.rejects(fault)
      assert.equal(await store.timers.fire(10), 1)
    },
  },
  {
    name: 'a timer that has fired is a message and stays one; its name is free again',
    async run({ store }) {
      const draft = draftOf()
      await setTimers(store, { draft, dueAt: 1000, cancelKey: 'a' })
      await store.timers.fire(10)
      assert.equal(await store.transaction((tx) => store.timers.cancel(tx, 'a')), false)
      assert.deepEqual(await dueIds(store), [draft.id])
      await setTimers(store, { dueAt: 1000, cancelKey: 'a' })
      assert.equal(await store.timers.fire(10), 1)
      assert.equal((await dueIds(store)).length, 2)
    },
  },
]
