import assert from 'node:assert/strict'
import {
  attempt,
  begin,
  claim,
  claimedIds,
  finish,
  idsOf,
  keep,
  LONG_MS,
  messageOf,
  messagesOf,
  PAST_MS,
  plain,
  SHORT_MS,
  states,
  type StorePromise,
} from './contract-sample.ts'
import type { InboxEntry } from './port.ts'

/** Stored messages, their claims and what becomes of them. */
export const claimPromises: readonly StorePromise[] = [
  {
    name: 'a claim counts an attempt and brings the message as it was kept',
    async run({ store }) {
      const message = messageOf({ key: 'k', keySeq: 3, body: new Uint8Array([0, 128, 255]) })
      const failed = attempt(2, { stack: 'at x', name: 'E_SMTP', version: '1.4.2' })
      await keep(store, [message], { state: 'retrying', attempts: 2, attempt: failed, reason: 'because' })
      const [entry, ...more] = await claim(store)
      assert.deepEqual(more, [])
      assert.deepEqual(plain(entry!.message), plain(message))
      assert.equal(entry!.consumer, 'c')
      assert.equal(entry!.state, 'retrying')
      assert.equal(entry!.attempts, 3)
      assert.deepEqual(entry!.errors, [failed])
      assert.equal(entry!.reason, 'because')
    },
  },
  {
    name: 'what is due is claimed once, at most as many as asked for, of one consumer',
    async run({ store }) {
      const messages = Array.from({ length: 7 }, () => messageOf())
      await keep(store, messages)
      await keep(store, [messageOf()], { consumer: 'another' })
      await keep(store, [messageOf()], { dueAt: Math.floor(await store.now()) + LONG_MS })
      const taken = [
        await claim(store, { limit: 3 }),
        await claim(store, { limit: 3 }),
        await claim(store, { limit: 3 }),
      ]
      assert.deepEqual(
        taken.map(({ length }) => length),
        [3, 3, 1],
      )
      assert.deepEqual(taken.flatMap(claimedIds).toSorted(), idsOf(messages).toSorted())
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'what is claimed at once fits into the bytes that it may have, and what is larger comes alone and whole',
    async run({ store }) {
      const sizes = [10, 4000, 20, 2500, 6000, 1, 0]
      const messages = sizes.map((bytes) => messageOf({ body: new Uint8Array(bytes).fill(7) }))
      for (const message of messages) await keep(store, [message])
      const claims: (readonly InboxEntry[])[] = []
      for (let look = 0; look < sizes.length; look++) {
        const entries = await store.inbox.claim('c', true, LONG_MS, 100, true, 5000)
        if (entries.length > 0) claims.push(entries)
      }
      assert.deepEqual(claims.flatMap(claimedIds).toSorted(), idsOf(messages).toSorted())
      for (const entries of claims) {
        const bytes = entries.map(({ message }) => message.body.byteLength)
        assert.ok(bytes.length === 1 || bytes.reduce((sum, size) => sum + size) <= 5000, String(bytes))
        for (const { message } of entries) assert.ok(message.body.every((byte) => byte === 7))
      }
    },
  },
  {
    name: 'of a run of a key as much is claimed as fits, from its beginning',
    async run({ store }) {
      const messages = messagesOf(6, { body: new Uint8Array(2000) })
      await keep(store, messages)
      const entries = await store.inbox.claim('c', true, LONG_MS, 100, true, 5000)
      assert.ok(entries.length >= 1 && entries.length <= 2, String(entries.length))
      assert.deepEqual(claimedIds(entries), idsOf(messages.slice(0, entries.length)))
    },
  },
  {
    name: 'a message that is kept for later is due when its time has come',
    async run({ store, pass }) {
      const message = messageOf()
      await keep(store, [message], { state: 'retrying', dueAt: Math.floor(await store.now()) + SHORT_MS })
      await pass(PAST_MS)
      assert.deepEqual(claimedIds(await claim(store)), [message.id])
    },
  },
  {
    name: 'what is parked, expired, uncertain or done is not claimed',
    async run({ store }) {
      await keep(store, [messageOf()], { state: 'parked' })
      await keep(store, [messageOf()], { state: 'expired' })
      await begin(store, [messageOf()])
      await keep(store, [messageOf()])
      const [entry] = await claim(store)
      await store.inbox.settle(entry!, { state: 'uncertain', dueAt: 0 })
      assert.deepEqual(await claim(store), [])
      assert.deepEqual(await claim(store, { ordered: false }), [])
    },
  },
  {
    name: 'a claim whose lease ran out is claimed again, and says that it was running',
    async run({ store, pass }) {
      await keep(store, [messageOf()])
      const [first] = await claim(store, { leaseMs: SHORT_MS })
      assert.equal(first!.state, 'waiting')
      await pass(PAST_MS)
      const [second] = await claim(store)
      assert.equal(second!.state, 'running')
      assert.equal(second!.attempts, 2)
      assert.ok(second!.epoch > first!.epoch)
      await assert.rejects(finish(store, first!), { code: 'lease_lost' })
      await store.inbox.settle(first!, { state: 'parked', dueAt: 0, attempt: attempt() })
      assert.equal(await store.inbox.complete(first!), false)
      assert.deepEqual(await store.inbox.renew('c', [first!], LONG_MS), [])
      assert.deepEqual(await states(store), { [second!.message.id]: 'running' })
      await finish(store, second!)
      assert.deepEqual(await states(store), { [second!.message.id]: 'done' })
    },
  },
  {
    name: 'a lease that ran out unnoticed does not keep its owner from finishing',
    async run({ store, pass }) {
      await keep(store, [messageOf()])
      const [entry] = await claim(store, { leaseMs: SHORT_MS })
      await pass(PAST_MS)
      await finish(store, entry!)
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'of a key only the earliest that is not done is claimed, when order is asked for',
    async run({ store }) {
      const [first, second, third] = messagesOf(3)
      const others = [messageOf({ key: 'other', keySeq: 1 }), messageOf(), messageOf()]
      await keep(store, [first!, second!, third!, ...others])
      const claimed = await claim(store)
      assert.deepEqual(claimedIds(claimed).toSorted(), idsOf([first!, ...others]).toSorted())
      assert.deepEqual(await claim(store), [], 'the first is still running')
      await finish(store, ...claimed)
      const [next, ...more] = await claim(store)
      assert.deepEqual([next!.message.id, more.length], [second!.id, 0])
      await store.inbox.settle(next!, { state: 'retrying', dueAt: Math.floor(await store.now()) + LONG_MS })
      assert.deepEqual(await claim(store), [], 'the second is tried again first')
    },
  },
  {
    name: 'a run of a key is claimed in its order, as far as it only waits',
    async run({ store }) {
      const [first, second, third, fourth, fifth] = messagesOf(5)
      const other = messageOf({ key: 'other', keySeq: 1 })
      const later = Math.floor(await store.now()) + LONG_MS
      await keep(store, [first!, second!, third!])
      await store.inbox.keep('c', [{ message: fourth!, state: 'waiting', attempts: 0, dueAt: later }])
      await keep(store, [fifth!, other])
      const claimed = await claim(store, { runs: true })
      const ids = claimedIds(claimed)
      assert.ok(ids.includes(first!.id) && ids.includes(other.id))
      // A store may take fewer, but none out of turn.
      const run = ids.filter((id) => id !== other.id)
      assert.deepEqual(run, idsOf([first!, second!, third!]).slice(0, run.length))
      for (const entry of claimed) assert.equal(entry.attempts, 1)
      assert.deepEqual(await claim(store, { runs: true }), [], 'the key is taken')
      await finish(store, ...claimed)
    },
  },
  {
    name: 'a claimed run is given back from where it failed, and claimed again in its order',
    async run({ store }) {
      const messages = messagesOf(4)
      await keep(store, messages)
      const [head, ...behind] = await claim(store, { runs: true })
      await finish(store, head!)
      const dueAt = Math.floor(await store.now()) - 1
      for (const entry of behind) await store.inbox.settle(entry, { state: 'waiting', dueAt, uncounted: true })
      const again: string[] = []
      for (let entries = await claim(store, { runs: true }); entries.length > 0;) {
        for (const entry of entries) assert.equal(entry.attempts, 1)
        again.push(...claimedIds(entries))
        await finish(store, ...entries)
        entries = await claim(store, { runs: true })
      }
      assert.deepEqual(again, idsOf(messages.slice(1)))
    },
  },
  {
    name: 'a run ends at a message that was tried before, and leaves its limit to others',
    async run({ store }) {
      const messages = messagesOf(3)
      await keep(store, messages)
      const [head] = await claim(store, { limit: 1, runs: true })
      const dueAt = Math.floor(await store.now()) - 1
      await store.inbox.settle(head!, { state: 'retrying', dueAt, attempt: attempt(1) })
      assert.deepEqual(claimedIds(await claim(store, { runs: true })), [messages[0]!.id])
    },
  },
  {
    name: 'a key is claimed all at once when nobody asks for order',
    async run({ store }) {
      const messages = messagesOf(3)
      await keep(store, messages)
      assert.deepEqual(claimedIds(await claim(store, { ordered: false })).toSorted(), idsOf(messages).toSorted())
    },
  },
  {
    name: 'waiting in a long key takes no place from others',
    async run({ store }) {
      await keep(store, messagesOf(20))
      const other = messageOf({ key: 'other', keySeq: 1 })
      await keep(store, [other])
      assert.ok(claimedIds(await claim(store, { limit: 2 })).includes(other.id))
    },
  },
  {
    name: 'finishing is part of the transaction',
    async run({ store }) {
      const message = messageOf()
      await keep(store, [message])
      const [entry] = await claim(store)
      const fault = store.transaction(async (tx) => {
        await store.inbox.finish(tx, entry!)
        throw new Error('no')
      })
      await assert.rejects(fault)
      assert.deepEqual(await states(store), { [message.id]: 'running' })
      await finish(store, entry!)
      assert.deepEqual(await states(store), { [message.id]: 'done' })
      await assert.rejects(finish(store, entry!), { code: 'lease_lost' })
    },
  },
  {
    name: 'a message that is done keeps no body, and is a duplicate all the same',
    async run({ store }) {
      const [kept, begun] = [messageOf(), messageOf()]
      await keep(store, [kept])
      await finish(store, ...(await claim(store)))
      await begin(store, [begun])
      const { entries } = await store.register.list({ state: 'done' }, 10, null)
      assert.deepEqual(
        entries.map(({ message }) => message),
        [null, null],
      )
      assert.deepEqual(await begin(store, [kept, begun]), ['duplicate', 'duplicate'])
    },
  },
  {
    name: 'a claim that failed is due again at its time, with its history',
    async run({ store, pass }) {
      const message = messageOf()
      await keep(store, [message], { attempts: 1, attempt: attempt(1) })
      const [first] = await claim(store)
      const dueAt = Math.floor(await store.now()) + SHORT_MS
      await store.inbox.settle(first!, { state: 'retrying', dueAt, attempt: attempt(2), reason: 'later' })
      await pass(PAST_MS)
      const [second] = await claim(store)
      assert.equal(second!.state, 'retrying')
      assert.equal(second!.attempts, 3)
      assert.equal(second!.reason, 'later')
      assert.deepEqual(second!.errors, [attempt(1), attempt(2)])
    },
  },
  {
    name: "an attempt that was not the message's fault is given back",
    async run({ store }) {
      await keep(store, [messageOf()])
      for (let i = 0; i < 3; i++) {
        const [entry] = await claim(store)
        assert.equal(entry!.attempts, 1)
        await store.inbox.settle(entry!, { state: 'waiting', dueAt: 0, uncounted: true })
      }
    },
  },
  {
    name: 'the newest 20 failed attempts are kept',
    async run({ store }) {
      await keep(store, [messageOf()])
      for (let i = 1; i <= 23; i++) {
        const [entry] = await claim(store)
        await store.inbox.settle(entry!, { state: 'retrying', dueAt: 0, attempt: attempt(i) })
      }
      const [entry] = await claim(store)
      assert.deepEqual(
        entry!.errors.map((error) => error.attempt),
        Array.from({ length: 20 }, (_, i) => i + 4),
      )
    },
  },
  {
    name: 'a claim ends once: what is settled cannot be finished, settled or renewed',
    async run({ store }) {
      await keep(store, [messageOf()])
      const [entry] = await claim(store)
      await store.inbox.settle(entry!, { state: 'parked', dueAt: 0, reason: 'enough' })
      await store.inbox.settle(entry!, { state: 'retrying', dueAt: 0 })
      await assert.rejects(finish(store, entry!), { code: 'lease_lost' })
      assert.equal(await store.inbox.complete(entry!), false)
      assert.deepEqual(await store.inbox.renew('c', [entry!], LONG_MS), [])
      const { entries } = await store.register.list({ consumer: 'c' }, 10, null)
      assert.deepEqual(
        entries.map(({ state, reason }) => [state, reason]),
        [['parked', 'enough']],
      )
    },
  },
]
