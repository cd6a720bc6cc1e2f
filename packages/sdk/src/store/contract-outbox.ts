import assert from 'node:assert/strict'
import { bucketOf } from '../message/bucket.ts'
import type { Message } from '../message/message.ts'
import { add, ALL, attempt, draftOf, dueIds, idsOf, leaseAll, plain, type StorePromise } from './contract-sample.ts'

const rich: Message = {
  id: 'наряд-1 "q" \\ %',
  kind: 'command',
  type: 'ticket.close',
  version: 12,
  source: 'helpdesk',
  time: 1_790_000_000_123,
  key: "k'ey; ünï",
  keySeq: null,
  contentType: 'application/octet-stream',
  body: Uint8Array.from({ length: 256 }, (_, i) => i),
  metadata: {
    correlationId: 'c',
    causationId: 'b',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'a=1',
    deadline: 1_800_000_000_000,
    replyTo: 'here',
    requestId: 'r',
    externalId: 'DIR-7',
    dedupeKey: 'd',
    tenant: 't',
    custom: { 'x-y': 'z', quote: '"\'' },
  },
}

/** Adding messages, and reading what is due. */
export const outboxPromises: readonly StorePromise[] = [
  {
    name: 'a message is there when its transaction commits, and not at all when it does not',
    async run({ store }) {
      const fault = store.transaction(async (tx) => {
        await store.outbox.add(tx, [draftOf({ key: 'k' }), draftOf()])
        throw new Error('no')
      })
      await assert.rejects(fault)
      assert.deepEqual(await dueIds(store), [])
      const messages = await add(store, { key: 'k' }, {})
      assert.deepEqual((await dueIds(store)).toSorted(), idsOf(messages).toSorted())
    },
  },
  {
    name: 'what comes out is what went in',
    async run({ store }) {
      await store.transaction((tx) => store.outbox.add(tx, [rich]))
      const [entry] = await store.outbox.due(ALL, 10)
      assert.deepEqual(plain(entry!.message), { ...rich, keySeq: 1 })
      assert.equal(entry!.bucket, bucketOf(rich.key!))
      assert.equal(entry!.attempts, 0)
      const [empty] = await add(store, { body: new Uint8Array(0), key: '' })
      const found = (await store.outbox.due(ALL, 10)).find(({ message }) => message.id === empty!.id)
      assert.equal(found!.message.body.length, 0)
      assert.equal(found!.message.key, '')
    },
  },
  {
    name: 'adding nothing is harmless',
    async run({ store }) {
      assert.deepEqual(await add(store), [])
      assert.deepEqual(await dueIds(store), [])
    },
  },
  {
    name: 'messages are numbered 1, 2, 3 within their type and key, and not without a key',
    async run({ store }) {
      const type = 'ticket.closed'
      const first = await add(store, { key: 'b' }, { key: 'a' }, { key: 'b' }, {}, { key: 'b', type })
      assert.deepEqual(
        first.map(({ keySeq }) => keySeq),
        [1, 1, 2, null, 1],
      )
      const second = await add(store, { key: 'b' }, { key: 'c' }, { key: 'b' }, { key: 'b', type })
      assert.deepEqual(
        second.map(({ keySeq }) => keySeq),
        [3, 1, 4, 2],
      )
    },
  },
  {
    name: 'numbers go on in a second call of the same transaction',
    async run({ store }) {
      const drafts = [draftOf({ key: 'k' }), draftOf({ key: 'k' }), draftOf({ key: 'k' })]
      await store.transaction(async (tx) => {
        await store.outbox.add(tx, drafts.slice(0, 2))
        await store.outbox.add(tx, drafts.slice(2))
      })
      const due = await store.outbox.due(ALL, 10)
      assert.deepEqual(
        due.map(({ message: { id, keySeq } }) => [id, keySeq]),
        drafts.map(({ id }, index) => [id, index + 1]),
      )
    },
  },
  {
    name: 'a number that the application gave stays as it is',
    async run({ store }) {
      const [message] = await add(store, { key: 'k', keySeq: 41 })
      assert.equal(message!.keySeq, 41)
      const [entry] = await store.outbox.due(ALL, 10)
      assert.equal(entry!.message.keySeq, 41)
    },
  },
  {
    name: 'a rollback leaves no gap',
    async run({ store }) {
      await add(store, { key: 'k' })
      for (let i = 0; i < 3; i++) {
        const fault = store.transaction(async (tx) => {
          await store.outbox.add(tx, [draftOf({ key: 'k' })])
          throw new Error('no')
        })
        await assert.rejects(fault)
      }
      const [message] = await add(store, { key: 'k' })
      assert.equal(message!.keySeq, 2)
    },
  },
  {
    name: 'a message whose id is there already is left as it is, and uses up no number',
    async run({ store }) {
      const [original] = await add(store, { id: 'same', key: 'k' })
      const again = draftOf({ id: 'same', key: 'k', body: new Uint8Array([9]), type: 'ticket.submitted' })
      const [repeated, next] = await add(store, again, { key: 'k' })
      assert.deepEqual(plain(repeated!), plain(original!))
      assert.equal(next!.keySeq, 2)
      // A message alone goes another way in some stores.
      const [alone] = await add(store, { id: 'same', key: 'k' })
      assert.deepEqual(plain(alone!), plain(original!))
      const [last] = await add(store, { key: 'k' })
      assert.equal(last!.keySeq, 3)
      const due = await store.outbox.due(ALL, 10)
      assert.deepEqual(
        due.map(({ message }) => plain(message)),
        [plain(original!), plain(next!), plain(last!)],
      )
    },
  },
  {
    name: 'a message whose id was sent and kept, or is parked, is not sent again',
    async run({ store }) {
      await add(store, { id: 'sent', key: 'a' }, { id: 'parked', key: 'b' })
      const leases = await leaseAll(store)
      const due = await store.outbox.due(ALL, 10)
      const entryOf = (id: string) => due.find(({ message }) => message.id === id)!
      await store.outbox.sent(leases, [entryOf('sent')], true)
      await store.outbox.failed(leases, [{ entry: entryOf('parked'), attempt: attempt(), next: 'park-message' }])
      const again = await add(store, { id: 'sent', key: 'a' }, { id: 'parked', key: 'b' })
      assert.deepEqual(
        again.map(({ id, keySeq }) => [id, keySeq]),
        [
          ['sent', 1],
          ['parked', 1],
        ],
      )
      assert.deepEqual(await dueIds(store), [])
    },
  },
  {
    name: 'what is due comes in the order of insertion, at most as many as asked for',
    async run({ store }) {
      const ids: string[] = []
      for (let i = 0; i < 10; i++) ids.push(...idsOf(await add(store, { key: `k${i % 3}` })))
      assert.deepEqual(await dueIds(store), ids)
      const due = await store.outbox.due(ALL, 4)
      assert.deepEqual(
        due.map(({ message }) => message.id),
        ids.slice(0, 4),
      )
      const all = await store.outbox.due(ALL, 100)
      assert.deepEqual(
        all.map(({ seq }) => seq),
        all.map(({ seq }) => seq).toSorted((a, b) => a - b),
      )
    },
  },
  {
    name: 'messages that one call adds are in their order within a key',
    async run({ store }) {
      const drafts = Array.from({ length: 30 }, (_, i) => ({ key: `k${(i * 7) % 4}` }))
      const messages = await add(store, ...drafts)
      const due = (await store.outbox.due(ALL, 100)).map(({ message }) => message)
      for (const key of ['k0', 'k1', 'k2', 'k3']) {
        const ofKey = (all: readonly Message[]) => idsOf(all.filter((message) => message.key === key))
        assert.deepEqual(ofKey(due), ofKey(messages))
      }
    },
  },
  {
    name: 'what is due is of the buckets that are asked for',
    async run({ store }) {
      const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`)
      await add(store, ...keys.map((key) => ({ key })), {}, {})
      const mine = ALL.filter((bucket) => bucket % 2 === 0)
      const due = await store.outbox.due(mine, 100)
      const expected = keys.filter((key) => bucketOf(key) % 2 === 0)
      assert.deepEqual(
        due
          .map(({ message }) => message.key)
          .filter((key) => key !== null)
          .toSorted(),
        expected.toSorted(),
      )
      assert.ok(
        due.every(({ bucket }) => mine.includes(bucket)),
        'no other bucket',
      )
      assert.deepEqual(await store.outbox.due([], 100), [])
      const rest = await store.outbox.due(
        ALL.filter((bucket) => bucket % 2 === 1),
        100,
      )
      assert.equal(due.length + rest.length, keys.length + 2, 'every message is in one bucket')
    },
  },
]
