import assert from 'node:assert/strict'
import {
  begin,
  claim,
  claimedIds,
  FAR_AT,
  finish,
  inKey,
  keep,
  LONG_MS,
  messageOf,
  messagesOf,
} from './contract-sample.ts'
import type { StorePromise } from './contract-sample.ts'
import type { Kept } from './port.ts'

const KINDS = { new: 'new', duplicate: 'duplicate', behind: 'behind' } as const

/** Beginning messages, and keeping them. */
export const inboxPromises: readonly StorePromise[] = [
  {
    name: 'a message is new once for every consumer',
    async run({ store }) {
      const message = messageOf({ key: 'k', keySeq: 1 })
      assert.deepEqual(await begin(store, [message]), [KINDS.new])
      assert.deepEqual(await begin(store, [message]), [KINDS.duplicate])
      assert.deepEqual(await begin(store, [message], { ordered: false }), [KINDS.duplicate])
      assert.deepEqual(await begin(store, [message], { consumer: 'another' }), [KINDS.new])
    },
  },
  {
    name: 'what a transaction began that failed is new again',
    async run({ store }) {
      const messages = messagesOf(2, { metadata: { correlationId: 'c', dedupeKey: 'd' } }).slice(0, 1)
      const fault = store.transaction(async (tx) => {
        await store.inbox.begin(tx, 'c', messages, true)
        throw new Error('no')
      })
      await assert.rejects(fault)
      const verdicts = await store.transaction((tx) => store.inbox.begin(tx, 'c', messages, true))
      assert.deepEqual(
        verdicts.map(({ kind, order }) => [kind, order]),
        [['new', 'next']],
      )
    },
  },
  {
    name: 'verdicts come in the order of the messages; of two with one id in a call the first is new',
    async run({ store }) {
      const [a, b, c] = [messageOf(), messageOf({ key: 'k', keySeq: 1 }), messageOf({ key: 'k', keySeq: 2 })]
      await begin(store, [b])
      const messages = [c, a, b, a]
      const verdicts = await store.transaction((tx) => store.inbox.begin(tx, 'c', messages, true))
      assert.deepEqual(
        verdicts.map(({ message, kind }) => [message.id, kind]),
        [
          [c.id, 'new'],
          [a.id, 'new'],
          [b.id, 'duplicate'],
          [a.id, 'duplicate'],
        ],
      )
      assert.deepEqual(await begin(store, []), [])
    },
  },
  {
    name: 'a message that is kept is a duplicate, whatever became of it',
    async run({ store }) {
      const [waiting, retrying, parked, expired, cancelled, running] = Array.from({ length: 6 }, () => messageOf())
      await keep(store, [running!])
      assert.equal((await claim(store)).length, 1)
      await keep(store, [waiting!, cancelled!])
      await keep(store, [retrying!], { state: 'retrying' })
      await keep(store, [parked!], { state: 'parked' })
      await keep(store, [expired!], { state: 'expired' })
      await store.register.cancel([inKey(cancelled!.id)])
      const all = [waiting!, retrying!, parked!, expired!, cancelled!, running!]
      const expected = all.map(() => KINDS.duplicate)
      assert.deepEqual(await begin(store, all), expected)
      assert.deepEqual(await begin(store, all, { ordered: false }), expected)
    },
  },
  {
    name: 'of two messages with one dedupe key a consumer begins the first',
    async run({ store }) {
      const metadata = { correlationId: 'c', dedupeKey: 'invoice 7' }
      const [first, second, third] = [messageOf({ metadata }), messageOf({ metadata }), messageOf({ metadata })]
      const free = messageOf({ metadata: { correlationId: 'c', dedupeKey: 'invoice 8' } })
      assert.deepEqual(await begin(store, [first, second, free]), [KINDS.new, KINDS.duplicate, KINDS.new])
      assert.deepEqual(await begin(store, [third]), [KINDS.duplicate])
      assert.deepEqual(await begin(store, [third], { consumer: 'another' }), [KINDS.new])
    },
  },
  {
    name: 'a dedupe key counts when its message is kept, and one that came before keeps a message out',
    async run({ store }) {
      const withKey = (dedupeKey: string) => messageOf({ metadata: { correlationId: 'c', dedupeKey } })
      const kept = withKey('a')
      await keep(store, [kept])
      assert.deepEqual(await begin(store, [withKey('a')]), [KINDS.duplicate])
      await begin(store, [withKey('b')])
      const late = [withKey('b'), withKey('a'), withKey('b')]
      assert.deepEqual(
        (await keep(store, late)).map(({ message, kind }) => [message.id, kind]),
        late.map(({ id }) => [id, KINDS.duplicate]),
      )
      assert.deepEqual(claimedIds(await claim(store)), [kept.id])
    },
  },
  {
    name: 'a message behind an earlier one of its key that is not done is not recorded',
    async run({ store }) {
      const [first, second, third] = messagesOf(3)
      await keep(store, [first!], { state: 'retrying', dueAt: Math.floor(await store.now()) + LONG_MS })
      assert.deepEqual(await begin(store, [second!, third!]), [KINDS.behind, KINDS.behind])
      assert.deepEqual(await begin(store, [second!]), [KINDS.behind], 'still not recorded')
      const others = [messageOf(), messageOf({ key: 'free', keySeq: 1 })]
      assert.deepEqual(await begin(store, others), [KINDS.new, KINDS.new], 'other keys and no key pass')
      assert.deepEqual(await begin(store, [second!], { consumer: 'another' }), [KINDS.new])
      assert.deepEqual(await begin(store, [third!], { ordered: false }), [KINDS.new], 'nobody asked for order')
      await store.register.cancel([inKey(first!.id)])
      assert.deepEqual(await begin(store, [second!]), [KINDS.new])
    },
  },
  {
    name: 'whatever is not done holds its key: waiting, retrying, running, uncertain and parked',
    async run({ store }) {
      for (const state of ['waiting', 'retrying', 'running', 'uncertain', 'parked'] as const) {
        const [first, second] = messagesOf(2, { key: state })
        await keep(store, [first!])
        const [entry] = await claim(store)
        if (state !== 'running') await store.inbox.settle(entry!, { state, dueAt: FAR_AT })
        assert.deepEqual(await begin(store, [second!]), [KINDS.behind], state)
      }
    },
  },
  {
    name: 'what is done, cancelled, expired or parked without its key holds nobody back',
    async run({ store }) {
      for (const state of ['done', 'cancelled', 'expired', 'parked'] as const) {
        const [first, second] = messagesOf(2, { key: state })
        await keep(store, [first!])
        const [entry] = await claim(store)
        if (state === 'done') await finish(store, entry!)
        else if (state === 'parked') await store.inbox.settle(entry!, { state, dueAt: 0, holdsKey: false })
        else if (state === 'expired') await store.inbox.settle(entry!, { state, dueAt: 0 })
        else {
          await store.inbox.settle(entry!, { state: 'waiting', dueAt: FAR_AT })
          assert.equal(await store.register.cancel([inKey(first!.id)]), 1)
        }
        assert.deepEqual(await begin(store, [second!]), [KINDS.new], state)
      }
      const [first, second] = messagesOf(2, { key: 'kept as parked' })
      await keep(store, [first!], { state: 'parked', holdsKey: false })
      assert.deepEqual(await begin(store, [second!]), [KINDS.new])
      const [third, fourth] = messagesOf(2, { key: 'kept as parked, holding' })
      await keep(store, [third!], { state: 'parked' })
      assert.deepEqual(await begin(store, [fourth!]), [KINDS.behind])
    },
  },
  {
    name: 'a message that is kept twice stays as it is',
    async run({ store }) {
      const message = messageOf()
      const kinds = async (fields: Partial<Kept>) => (await keep(store, [message], fields)).map(({ kind }) => kind)
      assert.deepEqual(await kinds({ attempts: 3 }), [KINDS.new])
      assert.deepEqual(await kinds({ attempts: 1, state: 'parked', reason: 'again' }), [KINDS.duplicate])
      const [entry] = await claim(store)
      assert.equal(entry!.attempts, 4)
      await finish(store, entry!)
      assert.deepEqual(await kinds({}), [KINDS.duplicate])
      assert.deepEqual(await claim(store), [], 'nor does one that is done come back')
    },
  },
]
