import assert from 'node:assert/strict'
import {
  add,
  ALL,
  attempt,
  begin,
  claim,
  claimedIds,
  draftOf,
  dueIds,
  FAR_AT,
  finish,
  idsOf,
  inKey,
  keep,
  leaseAll,
  messageOf,
  messagesOf,
  outKey,
  PAST_MS,
  plain,
  setTimers,
  states,
  type StorePromise,
} from './contract-sample.ts'
import type { OutboxFailure, Purge, RegisterFilter, Store } from './port.ts'

/** Fails messages of the outbox that are due. */
async function failOut<Tx>(store: Store<Tx>, ids: readonly string[], next: OutboxFailure['next'], fingerprint = 'E-1') {
  const due = await store.outbox.due(ALL, 1000)
  const entries = due.filter(({ message }) => ids.includes(message.id))
  assert.equal(entries.length, ids.length, 'they are due')
  const failures = entries.map((entry) => ({ entry, attempt: attempt(1, { fingerprint }), next }))
  await store.outbox.failed(await leaseAll(store), failures)
}

async function listed<Tx>(store: Store<Tx>, filter: RegisterFilter): Promise<string[]> {
  const { entries } = await store.register.list(filter, 1000, null)
  assert.equal(await store.register.count(filter), entries.length, 'count and list agree')
  return entries.map(({ id }) => id).toSorted()
}

/** What operators see and do. */
export const registerPromises: readonly StorePromise[] = [
  {
    name: 'the register shows messages of both directions with all that is known of them',
    async run({ store }) {
      const metadata = { correlationId: 'c', externalId: 'DIR-7' }
      const before = await store.now()
      const [out] = await add(store, { key: 'k', version: 3, metadata })
      const incoming = messageOf({ key: 'k', keySeq: 1, type: 'ticket.closed' })
      await keep(store, [incoming], { state: 'parked', attempts: 4, attempt: attempt(4), reason: 'unknown-contract' })
      const after = await store.now()
      const { entries, next } = await store.register.list({}, 10, null)
      assert.equal(next, null)
      const shown = entries.map(({ createdAt, dueAt, message, ...rest }) => {
        assert.ok(dueAt === null || dueAt <= after + 1, 'nothing is to come')
        assert.ok(createdAt >= Math.floor(before) - 1 && createdAt <= after + 1, 'the store knows since now')
        return { ...rest, message: plain(message!) }
      })
      const common = { reason: null, fingerprint: null, errors: [], externalId: null, key: 'k', version: 1 }
      assert.deepEqual(
        shown.toSorted((a, b) => b.direction.localeCompare(a.direction)),
        [
          {
            ...common,
            direction: 'out',
            consumer: '',
            id: out!.id,
            type: 'ticket.submitted',
            version: 3,
            externalId: 'DIR-7',
            state: 'pending',
            attempts: 0,
            message: plain(out!),
          },
          {
            ...common,
            direction: 'in',
            consumer: 'c',
            id: incoming.id,
            type: 'ticket.closed',
            state: 'parked',
            attempts: 4,
            reason: 'unknown-contract',
            fingerprint: attempt(4).fingerprint,
            errors: [attempt(4)],
            message: plain(incoming),
          },
        ],
      )
    },
  },
  {
    name: 'of a handled message its type, key and external id are remembered, and not its body',
    async run({ store }) {
      await begin(store, [messageOf({ id: 'a', key: 'k', metadata: { correlationId: 'c', externalId: 'X' } })])
      const { entries } = await store.register.list({ id: 'a' }, 10, null)
      assert.deepEqual(
        entries.map(({ state, type, key, externalId, message }) => [state, type, key, externalId, message]),
        [['done', 'ticket.submitted', 'k', 'X', null]],
      )
    },
  },
  {
    name: 'a timer is scheduled in the register, with its time, until it fires',
    async run({ store }) {
      const draft = draftOf({ key: 'k' })
      await setTimers(store, { draft, dueAt: FAR_AT }, { draft: draftOf({ id: 'soon' }), dueAt: 1000 })
      const { entries } = await store.register.list({ state: 'scheduled', direction: 'out' }, 10, null)
      const times = Object.fromEntries(entries.map(({ id, dueAt }) => [id, dueAt]))
      assert.deepEqual(times, { [draft.id]: FAR_AT, soon: 1000 })
      await store.timers.fire(10)
      assert.deepEqual(await states(store), { [draft.id]: 'scheduled', soon: 'pending' })
    },
  },
  {
    name: 'a filter picks by direction, state, contract, consumer, id, key and external id',
    async run({ store }) {
      const metadata = { correlationId: 'c', externalId: 'X' }
      await add(
        store,
        { id: 'a', key: 'k' },
        { id: 'b', type: 'ticket.closed', metadata },
        { id: 'c', type: 'bill.paid' },
      )
      await setTimers(store, { draft: draftOf({ id: 'd' }), dueAt: FAR_AT })
      await keep(store, [messageOf({ id: 'e', key: 'k' }), messageOf({ id: 'f', type: 'bill.paid' })])
      await keep(store, [messageOf({ id: 'e', metadata })], { consumer: 'other', state: 'parked' })
      const expected: readonly (readonly [RegisterFilter, string])[] = [
        [{}, 'abcdeef'],
        [{ direction: 'out' }, 'abcd'],
        [{ direction: 'in' }, 'eef'],
        [{ state: 'pending' }, 'abc'],
        [{ state: ['scheduled', 'waiting'] }, 'def'],
        [{ state: [] }, ''],
        [{ contract: 'ticket.closed' }, 'b'],
        [{ contract: 'ticket.*' }, 'abdee'],
        [{ contract: '*.paid' }, 'cf'],
        [{ contract: '*c*.*d*' }, 'abdee'],
        [{ contract: '*' }, 'abcdeef'],
        [{ contract: 'ticket' }, ''],
        [{ consumer: 'c' }, 'ef'],
        [{ consumer: 'other', state: 'parked' }, 'e'],
        [{ notConsumer: 'c' }, 'abcde'],
        [{ notConsumer: 'c', direction: 'in' }, 'e'],
        [{ id: 'e' }, 'ee'],
        [{ key: 'k' }, 'ae'],
        [{ externalId: 'X' }, 'be'],
        [{ externalId: 'X', direction: 'in' }, 'e'],
        [{ id: 'a', state: 'parked' }, ''],
      ]
      for (const [filter, ids] of expected)
        assert.equal((await listed(store, filter)).join(''), ids, JSON.stringify(filter))
    },
  },
  {
    name: 'only the star of a contract pattern is special',
    async run({ store }) {
      const types = ['a_b', 'axb', 'a%b', 'a.b', 'a\\b', 'A_B', "a'b", 'a[x]b', 'a?b']
      await add(store, ...types.map((type) => ({ id: type, type })))
      for (const type of types) assert.deepEqual(await listed(store, { contract: type }), [type])
      assert.deepEqual(await listed(store, { contract: '*_b' }), ['a_b'])
      assert.deepEqual(await listed(store, { contract: 'a%*' }), ['a%b'])
      assert.deepEqual(await listed(store, { contract: 'a\\*' }), ['a\\b'])
    },
  },
  {
    name: 'a fingerprint picks by the last error, of both directions',
    async run({ store, pass }) {
      await add(store, { id: 'a' }, { id: 'b' })
      await failOut(store, ['a', 'b'], { retryAt: 0 }, 'E-1')
      await pass(1)
      await failOut(store, ['b'], 'park-message', 'E-2')
      await keep(store, [messageOf({ id: 'c' })], { state: 'parked', attempt: attempt(1, { fingerprint: 'E-1' }) })
      await keep(store, [messageOf({ id: 'd' })], { state: 'parked' })
      assert.deepEqual(await listed(store, { fingerprint: 'E-1' }), ['a', 'c'])
      assert.deepEqual(await listed(store, { fingerprint: 'E-2' }), ['b'])
      assert.deepEqual(await listed(store, { fingerprint: 'E-3' }), [])
    },
  },
  {
    name: 'older and younger messages are told apart',
    async run({ store, pass }) {
      await add(store, { id: 'a' })
      await keep(store, [messageOf({ id: 'b' })])
      await pass(PAST_MS)
      const between = Math.floor(await store.now())
      await pass(PAST_MS)
      await add(store, { id: 'c' })
      await keep(store, [messageOf({ id: 'd' })])
      assert.deepEqual(await listed(store, { before: between }), ['a', 'b'])
      assert.deepEqual(await listed(store, { after: between }), ['c', 'd'])
    },
  },
  {
    name: 'a parked message that goes out is retried in its place, and its key is free',
    async run({ store }) {
      const messages = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      const id = messages[0]!.id
      await failOut(store, [id], 'park-key')
      assert.deepEqual(await dueIds(store), [])
      assert.equal(await store.register.retry([outKey(id), outKey('unknown'), outKey(messages[1]!.id)]), 1)
      const due = await store.outbox.due(ALL, 10)
      assert.deepEqual(
        due.map(({ message, attempts }) => [message.id, attempts]),
        messages.map((message) => [message.id, 0]),
      )
      assert.equal((await store.outbox.depth()).parkedKeys, 0)
    },
  },
  {
    name: 'of two messages that park one key both have to go before it is free',
    async run({ store }) {
      const [first, second, third] = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      const entries = await store.outbox.due(ALL, 10)
      const failures = entries.slice(0, 2).map((entry) => ({ entry, attempt: attempt(), next: 'park-key' as const }))
      await store.outbox.failed(await leaseAll(store), failures)
      assert.equal(await store.register.cancel([outKey(first!.id)]), 1)
      assert.deepEqual(await dueIds(store), [])
      assert.equal(await store.register.retry([outKey(second!.id)]), 1)
      assert.deepEqual(await dueIds(store), idsOf([second!, third!]))
    },
  },
  {
    name: 'received messages that were given up are retried with their attempts counted anew',
    async run({ store }) {
      const of = (id: string) => messageOf({ id })
      await keep(store, [of('parked')], { state: 'parked', attempts: 9, attempt: attempt(9), reason: 'enough' })
      await keep(store, [of('expired')], { state: 'expired', attempts: 9 })
      await keep(store, [of('uncertain'), of('cancelled')], { attempts: 9 })
      for (const entry of await claim(store)) {
        const state = entry.message.id === 'uncertain' ? 'uncertain' : 'waiting'
        await store.inbox.settle(entry, { state, dueAt: FAR_AT })
      }
      await store.register.cancel([inKey('cancelled')])
      await begin(store, [of('done')])
      await keep(store, [of('later')], { state: 'retrying', dueAt: FAR_AT })
      const keys = ['parked', 'expired', 'uncertain', 'cancelled', 'done', 'later', 'unknown'].map((id) => inKey(id))
      assert.equal(await store.register.retry(keys), 4)
      const claimed = await claim(store)
      assert.deepEqual(claimedIds(claimed).toSorted(), ['cancelled', 'expired', 'parked', 'uncertain'])
      for (const { attempts } of claimed) assert.equal(attempts, 1)
      assert.equal(claimed.find(({ message }) => message.id === 'parked')!.errors.length, 1, 'the history stays')
    },
  },
  {
    name: 'a received message that is retried goes before what waited behind it',
    async run({ store }) {
      const [first, second] = messagesOf(2)
      await keep(store, [first!], { state: 'parked' })
      await keep(store, [second!])
      assert.deepEqual(await claim(store), [])
      assert.equal(await store.register.retry([inKey(first!.id), inKey(first!.id, 'another')]), 1)
      const claimed = await claim(store)
      assert.deepEqual(claimedIds(claimed), [first!.id])
      await finish(store, ...claimed)
      assert.deepEqual(claimedIds(await claim(store)), [second!.id])
    },
  },
  {
    name: 'a cancelled message that goes out is not sent, and frees its key',
    async run({ store }) {
      const [parked, pending, third] = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      await failOut(store, [parked!.id], 'park-key')
      await setTimers(store, { draft: draftOf({ id: 'timer' }), dueAt: 1000, cancelKey: 'a' })
      const keys = [parked!.id, pending!.id, 'timer', 'unknown'].map(outKey)
      assert.equal(await store.register.cancel(keys), 3)
      assert.equal(await store.timers.fire(10), 0)
      assert.deepEqual(await dueIds(store), [third!.id])
      assert.deepEqual(await states(store, { state: ['pending', 'cancelled', 'parked', 'scheduled'], key: 'k' }), {
        [parked!.id]: 'cancelled',
        [pending!.id]: 'cancelled',
        [third!.id]: 'pending',
      })
    },
  },
  {
    name: 'what is sent, done or running cannot be cancelled',
    async run({ store }) {
      const [sent] = await add(store, {})
      await store.outbox.sent(await leaseAll(store), await store.outbox.due(ALL, 10), true)
      const [done, running] = [messageOf(), messageOf()]
      await begin(store, [done])
      await keep(store, [running])
      const claimed = await claim(store)
      const keys = [outKey(sent!.id), inKey(done.id), inKey(running.id), inKey('unknown')]
      assert.equal(await store.register.cancel(keys), 0)
      await finish(store, ...claimed)
      assert.deepEqual(await store.register.cancel([]), 0)
    },
  },
  {
    name: 'a received message that is cancelled is not claimed, and frees its key',
    async run({ store }) {
      const [first, second, third] = messagesOf(3)
      await keep(store, [first!], { state: 'parked' })
      await keep(store, [second!, third!])
      assert.equal(await store.register.cancel([inKey(first!.id), inKey(second!.id)]), 2)
      assert.deepEqual(claimedIds(await claim(store)), [third!.id])
    },
  },
  {
    name: 'a message that goes out is replaced in its place, and the old one is cancelled',
    async run({ store }) {
      const [first, second, third] = await add(store, { key: 'k' }, { key: 'k' }, { key: 'k' })
      await failOut(store, [first!.id], 'park-key')
      const better = { ...first!, id: 'better', body: new Uint8Array([1]) }
      await store.register.replace(outKey(first!.id), better)
      const due = await store.outbox.due(ALL, 10)
      assert.deepEqual(
        due.map(({ message, attempts }) => [message.id, message.keySeq, attempts]),
        [
          ['better', 1, 0],
          [second!.id, 2, 0],
          [third!.id, 3, 0],
        ],
      )
      assert.deepEqual(plain(due[0]!.message), better)
      assert.deepEqual(await states(store, { state: 'cancelled' }), { [first!.id]: 'cancelled' })
    },
  },
  {
    name: 'a received message is replaced in its place, and the old one is cancelled',
    async run({ store }) {
      const [first, second] = messagesOf(2)
      await keep(store, [first!], { state: 'parked', attempts: 5, attempt: attempt(5) })
      await keep(store, [second!])
      const better = { ...first!, id: 'better', body: new Uint8Array([1]) }
      await store.register.replace(inKey(first!.id), better)
      assert.deepEqual(await states(store), { [first!.id]: 'cancelled', better: 'waiting', [second!.id]: 'waiting' })
      const [entry, ...more] = await claim(store)
      assert.deepEqual(more, [])
      assert.deepEqual(plain(entry!.message), better)
      assert.equal(entry!.attempts, 1)
      assert.deepEqual(entry!.errors, [])
      await finish(store, entry!)
      assert.deepEqual(claimedIds(await claim(store)), [second!.id])
    },
  },
  {
    name: 'only a parked message can be replaced',
    async run({ store }) {
      const [pending] = await add(store, { key: 'k' })
      const waiting = messageOf()
      await keep(store, [waiting])
      for (const key of [outKey(pending!.id), outKey('unknown'), inKey(waiting.id), inKey('unknown')])
        await assert.rejects(store.register.replace(key, messageOf({ id: 'better' })), { code: 'not_found' })
      assert.deepEqual(await states(store), { [pending!.id]: 'pending', [waiting.id]: 'waiting' })
    },
  },
  {
    name: 'purging deletes one state before a time, so many at a time',
    async run({ store, pass }) {
      await add(store, { id: 'a' }, { id: 'b' }, { id: 'c' })
      await store.outbox.sent(await leaseAll(store), await store.outbox.due(ALL, 10), true)
      await keep(store, [messageOf({ id: 'd' }), messageOf({ id: 'e' })], { state: 'parked' })
      await add(store, { id: 'f' })
      await pass(PAST_MS)
      const now = Math.ceil(await store.now())
      assert.equal(await store.register.purge({ state: 'sent', before: 1000 }, 10), 0, 'none is that old')
      assert.equal(await store.register.purge({ state: 'sent', before: now }, 2), 2)
      assert.equal(await store.register.purge({ state: 'sent', before: now }, 2), 1)
      assert.equal(await store.register.purge({ state: 'sent', before: now }, 2), 0)
      assert.deepEqual(await states(store), { d: 'parked', e: 'parked', f: 'pending' })
      assert.equal(await store.register.purge({ state: 'parked', before: now }, 1), 1)
      assert.equal(await store.register.purge({ state: 'parked', before: now }, 10), 1)
      assert.deepEqual(await states(store), { f: 'pending' })
    },
  },
  {
    name: 'purging takes only the contracts that are named, or all but those',
    async run({ store, pass }) {
      await keep(store, [messageOf({ id: 'a', type: 'a' }), messageOf({ id: 'b', type: 'b' })], { state: 'parked' })
      await keep(store, [messageOf({ id: 'c', type: 'c' })], { state: 'expired' })
      await pass(PAST_MS)
      const before = Math.ceil(await store.now())
      const purge = (contracts: NonNullable<Purge['contracts']>) =>
        store.register.purge({ state: 'parked', before, contracts }, 10)
      assert.equal(await purge({ only: [] }), 0)
      assert.equal(await purge({ except: ['a', 'b'] }), 0)
      assert.equal(await purge({ only: ['a', 'c'] }), 1)
      assert.deepEqual(await states(store), { b: 'parked', c: 'expired' })
      assert.equal(await purge({ except: ['a'] }), 1)
      assert.equal(await store.register.purge({ state: 'expired', before, contracts: { except: [] } }, 10), 1)
      assert.deepEqual(await states(store), {})
    },
  },
  {
    name: 'a key is free when what parked it was purged',
    async run({ store, pass }) {
      const [first, second] = await add(store, { key: 'k' }, { key: 'k' })
      await failOut(store, [first!.id], 'park-key')
      await pass(PAST_MS)
      await store.register.purge({ state: 'parked', before: Math.ceil(await store.now()) }, 10)
      assert.deepEqual(await dueIds(store), [second!.id])
    },
  },
]
