import assert from 'node:assert/strict'
import { BUCKETS } from '../message/bucket.ts'
import {
  add,
  ALL,
  attempt,
  dueIds,
  FAR_AT,
  idsOf,
  leaseAll,
  LONG_MS,
  PAST_MS,
  SHORT_MS,
  states,
  type StorePromise,
} from './contract-sample.ts'
import type { BucketLease, OutboxEntry, OutboxFailure, Store } from './port.ts'

/** Fails what is due of one id. */
async function fail<Tx>(store: Store<Tx>, leases: readonly BucketLease[], id: string, next: OutboxFailure['next']) {
  const entry = await dueEntry(store, id)
  await store.outbox.failed(leases, [{ entry, attempt: attempt(entry.attempts + 1), next }])
}

async function dueEntry<Tx>(store: Store<Tx>, id: string): Promise<OutboxEntry> {
  const entry = (await store.outbox.due(ALL, 1000)).find(({ message }) => message.id === id)
  assert.ok(entry, `${id} is due`)
  return entry
}

const bucketsOf = (leases: readonly BucketLease[]): number[] =>
  leases.map(({ bucket }) => bucket).toSorted((a, b) => a - b)

/** What relays rely on: leases, and what becomes of entries. */
export const relayPromises: readonly StorePromise[] = [
  {
    name: 'a relay that is alone leases every bucket, and keeps the epochs as long as it renews',
    async run({ store }) {
      const leases = await leaseAll(store)
      assert.deepEqual(bucketsOf(leases), ALL)
      const again = await leaseAll(store)
      const epochs = new Map(leases.map(({ bucket, epoch }) => [bucket, epoch]))
      assert.equal(again.length, BUCKETS)
      for (const { bucket, epoch } of again) assert.equal(epoch, epochs.get(bucket))
    },
  },
  {
    name: 'relays that come later get their fair share, and every bucket has one owner',
    async run({ store }) {
      const held = new Map<string, readonly BucketLease[]>()
      for (const owners of [['a'], ['a', 'b'], ['a', 'b', 'c']]) {
        // Those who have too much give it up, then the others find it.
        for (let round = 0; round < 3; round++)
          for (const owner of owners) held.set(owner, await store.outbox.lease(owner, LONG_MS))
        assert.deepEqual(bucketsOf([...held.values()].flat()), ALL, `${owners.length} relays share all buckets`)
        for (const leases of held.values()) {
          assert.ok(leases.length <= Math.ceil(BUCKETS / owners.length), `${leases.length} is more than a fair share`)
          assert.ok(leases.length >= 1, 'everybody has some')
        }
      }
    },
  },
  {
    name: 'what was given back is free at once, and its next owner has higher epochs',
    async run({ store }) {
      const before = new Map((await leaseAll(store, 'a')).map(({ bucket, epoch }) => [bucket, epoch]))
      await store.outbox.unlease('a')
      const after = await leaseAll(store, 'b')
      assert.deepEqual(bucketsOf(after), ALL)
      for (const { bucket, epoch } of after) assert.ok(epoch > before.get(bucket)!, `bucket ${bucket}`)
      await store.outbox.unlease('nobody')
    },
  },
  {
    name: 'who leases buckets, or waits for some, is known as long as the lease lasts',
    async run({ store, pass }) {
      assert.deepEqual(await store.outbox.owners(), [])
      await leaseAll(store, 'a')
      await leaseAll(store, 'b')
      assert.deepEqual((await store.outbox.owners()).toSorted(), ['a', 'b'])
      await store.outbox.lease('b', SHORT_MS)
      await pass(PAST_MS)
      assert.deepEqual(await store.outbox.owners(), ['a'])
      await store.outbox.unlease('a')
      assert.deepEqual(await store.outbox.owners(), [])
    },
  },
  {
    name: 'a relay that died is succeeded when its lease is over',
    async run({ store, pass }) {
      const before = new Map((await store.outbox.lease('a', SHORT_MS)).map(({ bucket, epoch }) => [bucket, epoch]))
      await pass(PAST_MS)
      const after = await leaseAll(store, 'b')
      assert.deepEqual(bucketsOf(after), ALL)
      for (const { bucket, epoch } of after) assert.ok(epoch > before.get(bucket)!, `bucket ${bucket}`)
    },
  },
  {
    name: 'what a relay says whose lease was taken over is refused',
    async run({ store, pass }) {
      const [message, failing] = await add(store, { key: 'k' }, { key: 'other' })
      const stale = await store.outbox.lease('a', SHORT_MS)
      const sent = await dueEntry(store, message!.id)
      const failed = await dueEntry(store, failing!.id)
      await pass(PAST_MS)
      const current = await leaseAll(store, 'b')
      assert.equal(await store.outbox.sent(stale, [sent], false), 0)
      for (const next of ['park-key', 'drop', { retryAt: FAR_AT }] as const)
        await store.outbox.failed(stale, [{ entry: failed, attempt: attempt(), next }])
      assert.deepEqual((await dueIds(store)).toSorted(), idsOf([message!, failing!]).toSorted())
      assert.equal((await dueEntry(store, failing!.id)).attempts, 0)
      assert.equal(await store.outbox.sent(current, [sent, failed], false), 2)
      assert.deepEqual(await dueIds(store), [])
    },
  },
  {
    name: 'a lease of one bucket says nothing of another',
    async run({ store }) {
      const [message] = await add(store, { key: 'k' })
      const leases = await leaseAll(store)
      const entry = await dueEntry(store, message!.id)
      const others = leases.filter(({ bucket }) => bucket !== entry.bucket)
      assert.equal(await store.outbox.sent(others, [entry], false), 0)
      await store.outbox.failed(others, [{ entry, attempt: attempt(), next: 'drop' }])
      assert.deepEqual(await dueIds(store), [message!.id])
    },
  },
  {
    name: 'what was sent is deleted, or kept as sent',
    async run({ store }) {
      const [gone, kept] = await add(store, { key: 'a' }, { key: 'b' })
      const leases = await leaseAll(store)
      assert.equal(await store.outbox.sent(leases, [await dueEntry(store, gone!.id)], false), 1)
      assert.equal(await store.outbox.sent(leases, [await dueEntry(store, kept!.id)], true), 1)
      assert.deepEqual(await dueIds(store), [])
      assert.deepEqual(await states(store), { [kept!.id]: 'sent' })
      assert.equal(await store.outbox.sent(leases, [], false), 0)
    },
  },
  {
    name: "a message that is to be tried again holds back its key's later ones, and nobody else's",
    async run({ store, pass }) {
      const [first, second, third] = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      const other = { key: 'k', type: 'ticket.closed' }
      const rest = await add(store, { key: 'free' }, {}, other)
      const leases = await leaseAll(store)
      const retryAt = Math.floor(await store.now()) + LONG_MS
      await fail(store, leases, first!.id, { retryAt })
      assert.deepEqual((await dueIds(store)).toSorted(), idsOf(rest).toSorted())
      assert.equal(await store.outbox.nextDue(ALL), retryAt)
      await fail(store, leases, rest[0]!.id, { retryAt: Math.floor(await store.now()) + SHORT_MS })
      await pass(PAST_MS)
      assert.equal((await dueEntry(store, rest[0]!.id)).attempts, 1)
      assert.ok(!(await dueIds(store)).some((id) => idsOf([first!, second!, third!]).includes(id)))
    },
  },
  {
    name: 'what is tried again is due when its time has come, before what waited behind it',
    async run({ store, pass }) {
      const messages = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      const leases = await leaseAll(store)
      assert.equal(await store.outbox.nextDue(ALL), null)
      await fail(store, leases, messages[0]!.id, { retryAt: Math.floor(await store.now()) + SHORT_MS })
      await pass(PAST_MS)
      assert.deepEqual(await dueIds(store), idsOf(messages))
      assert.deepEqual(
        (await store.outbox.due(ALL, 10)).map(({ attempts }) => attempts),
        [1, 0, 0],
      )
      await fail(store, leases, messages[0]!.id, 'park-key')
      assert.equal(await store.outbox.nextDue(ALL), null, 'what is parked waits for no time')
    },
  },
  {
    name: 'a retry in the middle of a key lets what is before it go, and nothing behind it',
    async run({ store }) {
      const [first, second] = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      const leases = await leaseAll(store)
      await fail(store, leases, second!.id, { retryAt: Math.floor(await store.now()) + LONG_MS })
      assert.deepEqual(await dueIds(store), [first!.id])
    },
  },
  {
    name: 'a retry without a key holds back nobody',
    async run({ store }) {
      const [first, second] = await add(store, {}, {})
      const leases = await leaseAll(store)
      await fail(store, leases, first!.id, { retryAt: Math.floor(await store.now()) + LONG_MS })
      assert.deepEqual(await dueIds(store), [second!.id])
      await fail(store, leases, second!.id, 'park-key')
      const [third] = await add(store, {})
      assert.deepEqual(await dueIds(store), [third!.id])
    },
  },
  {
    name: "park-key holds back its key's later messages, those of the future too",
    async run({ store }) {
      const [first, , other] = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k', type: 'ticket.closed' })
      await fail(store, await leaseAll(store), first!.id, 'park-key')
      assert.deepEqual(await dueIds(store), [other!.id])
      const [, free] = await add(store, { key: 'k' }, { key: 'free' })
      assert.deepEqual(await dueIds(store), idsOf([other!, free!]))
      assert.equal(await store.outbox.nextDue(ALL), null)
    },
  },
  {
    name: 'park-message lets the later ones pass, and drop forgets the message',
    async run({ store }) {
      const [first, second, third] = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      const leases = await leaseAll(store)
      await fail(store, leases, first!.id, 'park-message')
      assert.deepEqual(await dueIds(store), idsOf([second!, third!]))
      await fail(store, leases, second!.id, 'drop')
      assert.deepEqual(await dueIds(store), [third!.id])
      assert.deepEqual(await states(store), { [first!.id]: 'parked', [third!.id]: 'pending' })
    },
  },
  {
    name: 'the newest 20 attempts of a message are kept',
    async run({ store }) {
      const [message] = await add(store, { key: 'k' })
      const leases = await leaseAll(store)
      for (let i = 1; i <= 23; i++) await fail(store, leases, message!.id, { retryAt: 0 })
      const { entries } = await store.register.list({ id: message!.id }, 10, null)
      const numbers = entries[0]!.errors.map((error) => error.attempt)
      assert.deepEqual(
        numbers,
        Array.from({ length: 20 }, (_, i) => i + 4),
      )
      assert.equal(entries[0]!.attempts, 23)
      const due = await dueEntry(store, message!.id)
      assert.deepEqual([due.attempts, due.errors], [23, entries[0]!.errors], 'the relay is told, too')
    },
  },
  {
    name: 'the depth tells what is pending, parked and held back, and how old it is',
    async run({ store, pass }) {
      assert.deepEqual(await store.outbox.depth(), { pending: 0, parked: 0, parkedKeys: 0, oldestAt: null })
      const before = await store.now()
      const [first, , third] = await add(store, { key: 'a' }, { key: 'a' }, { key: 'b' }, { key: 'c' })
      const after = await store.now()
      await pass(PAST_MS)
      await add(store, { key: 'd' })
      const leases = await leaseAll(store)
      await fail(store, leases, first!.id, 'park-key')
      await fail(store, leases, third!.id, 'park-message')
      const { oldestAt, ...counts } = await store.outbox.depth()
      assert.deepEqual(counts, { pending: 3, parked: 2, parkedKeys: 1 })
      assert.ok(oldestAt! >= Math.floor(before) - 1 && oldestAt! <= after + 1, 'as old as the oldest pending one')
    },
  },
]
