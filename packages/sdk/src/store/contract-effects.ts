import assert from 'node:assert/strict'
import {
  begin,
  claim,
  claimedIds,
  finish,
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
import type { Message } from '../message/message.ts'
import type { InboxEntry, Store } from './port.ts'

function start<Tx>(store: Store<Tx>, message: Message, ordered = true, leaseMs = LONG_MS) {
  return store.inbox.start('c', message, ordered, leaseMs)
}

async function started<Tx>(store: Store<Tx>, message: Message, leaseMs = LONG_MS): Promise<InboxEntry> {
  const { kind, entry } = await start(store, message, true, leaseMs)
  assert.ok(kind === 'new' && entry !== null, `${message.id} is started, not ${kind}`)
  return entry
}

/** A message of its own, with a dedupe key. */
const withKey = (dedupeKey: string): Message => messageOf({ metadata: { correlationId: 'c', dedupeKey } })

/** What the inbox says of an effect that is not to be begun. */
async function refused<Tx>(store: Store<Tx>, message: Message): Promise<string> {
  const { kind, entry } = await start(store, message)
  assert.equal(entry, null)
  return kind
}

/** Effects, leases that are prolonged, and what the inbox forgets. */
export const effectPromises: readonly StorePromise[] = [
  {
    name: 'an effect is recorded as running with its first attempt before it is begun',
    async run({ store }) {
      const message = messageOf({ key: 'k', keySeq: 1 })
      const entry = await started(store, message)
      assert.deepEqual(plain(entry.message), plain(message))
      assert.equal(entry.state, 'running')
      assert.equal(entry.attempts, 1)
      assert.deepEqual(await states(store), { [message.id]: 'running' })
      assert.equal(await store.inbox.complete(entry), true)
      assert.deepEqual(await states(store), { [message.id]: 'done' })
      assert.equal(await store.inbox.complete(entry), false, 'once')
    },
  },
  {
    name: 'an effect that somebody has or had is a duplicate',
    async run({ store }) {
      const [running, done, waiting] = [messageOf(), messageOf(), messageOf()]
      await started(store, running)
      await store.inbox.complete(await started(store, done))
      await keep(store, [waiting])
      for (const message of [running, done, waiting]) assert.equal(await refused(store, message), 'duplicate')
      await started(store, withKey('d'))
      assert.equal(await refused(store, withKey('d')), 'duplicate')
      assert.deepEqual(await begin(store, [withKey('d')]), ['duplicate'])
      assert.equal((await store.inbox.start('another', running, true, LONG_MS)).kind, 'new')
    },
  },
  {
    name: 'an effect behind an earlier one of its key is not recorded',
    async run({ store }) {
      const [first, second] = messagesOf(2)
      const entry = await started(store, first!)
      assert.equal(await refused(store, second!), 'behind')
      assert.equal((await start(store, messageOf())).kind, 'new', 'others pass')
      await store.inbox.complete(entry)
      await started(store, second!)
      const [third] = messagesOf(1)
      assert.equal((await start(store, third!, false)).kind, 'new', 'nobody asked for order')
    },
  },
  {
    name: 'an effect whose process died is claimed as running, and the dead cannot complete it',
    async run({ store, pass }) {
      const entry = await started(store, messageOf(), SHORT_MS)
      await pass(PAST_MS)
      const [claimed] = await claim(store)
      assert.equal(claimed!.state, 'running')
      assert.equal(claimed!.attempts, 2)
      assert.equal(await store.inbox.complete(entry), false)
      assert.equal(await store.inbox.complete(claimed!), true)
    },
  },
  {
    name: 'a lease that is renewed goes on, and only its own',
    async run({ store, pass }) {
      const [renewed, left] = [messageOf(), messageOf()]
      const entries = [await started(store, renewed, SHORT_MS), await started(store, left, SHORT_MS)]
      assert.deepEqual(await store.inbox.renew('c', entries.slice(0, 1), LONG_MS), [renewed.id])
      await pass(PAST_MS)
      assert.deepEqual(claimedIds(await claim(store)), [left.id])
      assert.deepEqual(await store.inbox.renew('c', entries, LONG_MS), [renewed.id])
      assert.equal(await store.inbox.complete(entries[0]!), true)
      assert.deepEqual(await store.inbox.renew('c', entries, LONG_MS), [])
      assert.deepEqual(await store.inbox.renew('c', [], LONG_MS), [])
    },
  },
  {
    name: 'the inbox knows when there is something to claim',
    async run({ store }) {
      assert.equal(await store.inbox.nextDue('c', true), null)
      const now = Math.floor(await store.now())
      const [first, second] = messagesOf(2)
      await keep(store, [first!], { dueAt: now + LONG_MS, state: 'retrying' })
      await keep(store, [second!], { dueAt: 1000 })
      assert.equal(await store.inbox.nextDue('c', true), now + LONG_MS, 'the second is not to be claimed yet')
      assert.equal(await store.inbox.nextDue('c', false), 1000)
      await keep(store, [messageOf()], { dueAt: 2000 })
      assert.equal(await store.inbox.nextDue('c', true), 2000)
      assert.equal(await store.inbox.nextDue('another', true), null)
    },
  },
  {
    name: 'what runs is to be claimed when its lease ends; what is parked, never',
    async run({ store }) {
      const [first, second] = messagesOf(2)
      const before = Math.floor(await store.now())
      const entry = await started(store, first!)
      const after = await store.now()
      const leaseEnd = await store.inbox.nextDue('c', true)
      assert.ok(leaseEnd! >= before + LONG_MS - 1 && leaseEnd! <= after + LONG_MS + 1)
      await keep(store, [second!])
      await store.inbox.settle(entry, { state: 'parked', dueAt: 0 })
      assert.equal(await store.inbox.nextDue('c', true), null)
    },
  },
  {
    name: 'what was done before a time is forgotten, so many at a time',
    async run({ store, pass }) {
      const old = Array.from({ length: 5 }, () => messageOf())
      await begin(store, old)
      await keep(store, [messageOf()])
      await keep(store, [messageOf()], { state: 'parked' })
      await pass(PAST_MS)
      const before = Math.ceil(await store.now())
      await pass(PAST_MS)
      const young = messageOf()
      await begin(store, [young])
      assert.equal(await store.inbox.prune(before, 2), 2)
      assert.equal(await store.inbox.prune(before, 2), 2)
      assert.equal(await store.inbox.prune(before, 2), 1)
      assert.equal(await store.inbox.prune(before, 2), 0)
      assert.deepEqual(await begin(store, [young]), ['duplicate'])
      assert.deepEqual(await begin(store, old.slice(0, 1)), ['new'])
      assert.equal(
        await store.register.count({ state: ['waiting', 'parked'] }),
        2,
        'what is not done is never forgotten',
      )
    },
  },
  {
    name: 'dedupe keys that came before a time are forgotten, so many at a time, and without what was done',
    async run({ store, pass }) {
      const old = ['a', 'b', 'c'].map(withKey)
      await begin(store, old)
      await pass(PAST_MS)
      const before = Math.ceil(await store.now())
      await pass(PAST_MS)
      await begin(store, [withKey('young')])
      assert.equal(await store.inbox.pruneDedupeKeys(before, 2), 2)
      assert.equal(await store.inbox.pruneDedupeKeys(before, 2), 1)
      assert.equal(await store.inbox.pruneDedupeKeys(before, 2), 0)
      assert.deepEqual(await begin(store, [withKey('young')]), ['duplicate'])
      assert.deepEqual(await begin(store, ['a', 'b', 'c'].map(withKey)), ['new', 'new', 'new'])
      assert.deepEqual(await begin(store, old), ['duplicate', 'duplicate', 'duplicate'], 'they are known by their ids')
    },
  },
  {
    name: 'a dedupe key outlives the memory of its message, and tells of it, too, that it was there',
    async run({ store }) {
      const message = withKey('d')
      await begin(store, [message])
      const future = Math.ceil(await store.now()) + LONG_MS
      assert.equal(await store.inbox.prune(future, 100), 1)
      assert.deepEqual(
        (await keep(store, [message, withKey('d')])).map(({ kind }) => kind),
        ['duplicate', 'duplicate'],
      )
      assert.deepEqual([await refused(store, message), await refused(store, withKey('d'))], ['duplicate', 'duplicate'])
      assert.deepEqual(await begin(store, [message, withKey('d')]), ['duplicate', 'duplicate'])
    },
  },
  {
    name: 'a dedupe key stays as long as its message is not done, and is as old as that at most',
    async run({ store, pass }) {
      const message = withKey('d')
      await keep(store, [message])
      await pass(PAST_MS)
      const before = Math.ceil(await store.now())
      await pass(PAST_MS)
      assert.equal(await store.inbox.pruneDedupeKeys(before + LONG_MS, 100), 0)
      await finish(store, ...(await claim(store)))
      assert.equal(await store.inbox.pruneDedupeKeys(before, 100), 0)
      assert.deepEqual(await begin(store, [withKey('d')]), ['duplicate'])
      assert.equal(await store.inbox.pruneDedupeKeys(before + LONG_MS, 100), 1)
      assert.deepEqual(await begin(store, [withKey('d')]), ['new'])
    },
  },
  {
    name: 'the depth counts the messages of each consumer that are not done, by their states',
    async run({ store }) {
      assert.deepEqual(await store.inbox.depth(), [])
      await keep(store, messagesOf(3))
      await keep(store, [messageOf()], { consumer: 'another', state: 'parked' })
      await finish(store, ...(await claim(store)))
      const depth = await store.inbox.depth()
      assert.deepEqual(depth.map(({ consumer, state, count }) => `${consumer} ${state} ${count}`).toSorted(), [
        'another parked 1',
        'c waiting 2',
      ])
    },
  },
]
