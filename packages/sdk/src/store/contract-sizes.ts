import assert from 'node:assert/strict'
import { draftOf, dueIds, FAR_AT, idsOf, messageOf, type StorePromise } from './contract-sample.ts'

/** More together than any database takes in one statement that has a small limit, a few MiB. */
const MANY = 1500
const BODY = new Uint8Array(2000).fill(0x22)

const waiting = { state: 'waiting', attempts: 0, dueAt: 0 } as const

/** Large messages, and many. */
export const sizePromises: readonly StorePromise[] = [
  {
    name: 'what many messages take together is not too large for outbox and timers, and their order stays',
    async run({ store }) {
      const drafts = Array.from({ length: MANY }, (_, i) => draftOf({ key: `k${i % 3}`, body: BODY }))
      const timers = Array.from({ length: MANY }, () => ({
        draft: draftOf({ body: BODY }),
        dueAt: FAR_AT,
        cancelKey: null,
      }))
      await store.transaction(async (tx) => {
        await store.outbox.add(tx, drafts)
        await store.timers.set(tx, timers)
      })
      assert.deepEqual((await dueIds(store)).slice(0, 1000), idsOf(drafts).slice(0, 1000))
      assert.equal((await store.outbox.depth()).pending, MANY)
      assert.equal(await store.register.count({ state: 'scheduled' }), MANY)
    },
  },
  {
    name: 'what many messages take together is not too large for the inbox, and their order stays',
    async run({ store }) {
      const long = 'n'.repeat(150)
      const named = { type: long, source: long }
      const messages = Array.from({ length: 2 * MANY }, (_, i) => {
        const correlationId = `c${i}`
        const metadata = { correlationId, dedupeKey: `${long}${i}`, externalId: `${long}${i}` }
        return messageOf({ ...named, id: `${long}${i}`, key: long, keySeq: i + 1, body: BODY, metadata })
      })
      const kept = messages.slice(0, MANY).map((message) => ({ ...waiting, message }))
      await store.inbox.keep('keeping', kept)
      const claimed = await store.inbox.claim('keeping', false, FAR_AT, MANY)
      assert.deepEqual(
        claimed.map(({ message }) => message.id),
        idsOf(messages.slice(0, MANY)),
      )
      const verdicts = await store.transaction((tx) => store.inbox.begin(tx, 'beginning', messages, true))
      assert.deepEqual(new Set(verdicts.map(({ kind, order }) => `${kind} ${order}`)), new Set(['new next']))
    },
  },
  {
    name: 'a message that is larger than the database takes is refused as too large, and the transaction goes on',
    async run({ store, tooLargeBytes }) {
      if (tooLargeBytes === undefined) return
      const body = new Uint8Array(tooLargeBytes)
      const refused = { code: 'too_large', retryable: false }
      await store.transaction(async (tx) => {
        await assert.rejects(store.outbox.add(tx, [draftOf({ body })]), refused)
        await assert.rejects(store.timers.set(tx, [{ draft: draftOf({ body }), dueAt: 0, cancelKey: null }]), refused)
        await store.outbox.add(tx, [draftOf({ id: 'small' })])
      })
      assert.deepEqual(await dueIds(store), ['small'])
      await assert.rejects(store.inbox.keep('c', [{ ...waiting, message: messageOf({ body }) }]), refused)
      await assert.rejects(store.inbox.start('c', messageOf({ body }), true, 1000), refused)
      assert.equal(await store.register.count({ direction: 'in' }), 0)
    },
  },
]
