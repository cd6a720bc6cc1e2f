import assert from 'node:assert/strict'
import {
  attempt,
  begin,
  claim,
  claimedIds,
  FAR_AT,
  finish,
  idsOf,
  inKey,
  keep,
  LONG_MS,
  messageOf,
  messagesOf,
  PAST_MS,
  persist,
  SHORT_MS,
  states,
  type StorePromise,
} from './contract-sample.ts'
import type { Message } from '../message/message.ts'
import type { InboxEntry, Store } from './port.ts'

/** Enough to be worth putting aside. */
const MANY = 160

/** More than a store might let go at once. */
const VERY_MANY = 450

/** More than are put aside behind a message whose key moves on. */
const DEEP = 330

/** Keeps a message that is parked, and so many behind it. @returns all of them, in their order */
async function park<Tx>(store: Store<Tx>, count = MANY, key = 'k'): Promise<Message[]> {
  const messages = messagesOf(count, { key })
  await keep(store, messages.slice(0, 1), { state: 'parked' })
  await keep(store, messages.slice(1))
  return messages
}

/** Sees to it that nothing can be claimed; looks often enough that a store may have put aside what waits. */
async function assertHeld<Tx>(store: Store<Tx>): Promise<void> {
  for (let look = 0; look < 6; look++) assert.deepEqual(await claim(store, { limit: 3, runs: true }), [])
}

/** Claims and finishes until nothing is due. @returns the ids in the order of claiming */
async function drain<Tx>(store: Store<Tx>, { runs = true, limit = 60 } = {}): Promise<string[]> {
  const done: string[] = []
  for (;;) {
    const entries = await claim(store, { runs, limit })
    if (entries.length === 0) return done
    done.push(...claimedIds(entries))
    await finish(store, ...entries)
  }
}

/** What consumers rely on when much waits behind a message that does not move: it comes in its turn, and is in nobody's way. */
export const inboxBacklogPromises: readonly StorePromise[] = [
  {
    name: 'much that waits behind a parked message is waiting, and not in the way of others',
    async run({ store }) {
      await park(store)
      await assertHeld(store)
      assert.equal(await store.inbox.nextDue('c', true), null)
      const others = [
        messageOf({ key: 'other', keySeq: 1 }),
        messageOf({ key: 'k', type: 'ticket.closed' }),
        messageOf(),
      ]
      await keep(store, others)
      await keep(store, [messageOf({ key: 'k' })], { consumer: 'another' })
      assert.equal(await store.inbox.nextDue('c', true), 0)
      assert.deepEqual((await drain(store)).toSorted(), idsOf(others).toSorted())
      assert.deepEqual(
        (await store.inbox.depth()).filter(({ consumer }) => consumer === 'c').toSorted((a, b) => a.count - b.count),
        [
          { consumer: 'c', state: 'parked', count: 1 },
          { consumer: 'c', state: 'waiting', count: MANY - 1 },
        ],
      )
      assert.equal(await store.register.count({ consumer: 'c', state: 'waiting' }), MANY - 1)
      assert.equal((await store.inbox.claim('another', true, LONG_MS, 10)).length, 1)
    },
  },
  {
    name: 'what comes while much waits behind a parked message is behind it, too, and comes in its turn',
    async run({ store }) {
      const messages = await park(store)
      await assertHeld(store)
      const later = messagesOf(MANY)
      assert.deepEqual(await begin(store, later.slice(0, 2)), ['behind', 'behind'])
      assert.equal((await store.inbox.start('c', later[0]!, true, LONG_MS)).kind, 'behind')
      await keep(store, later)
      await assertHeld(store)
      await store.register.cancel([inKey(messages[0]!.id)])
      assert.deepEqual(await drain(store), idsOf([...messages.slice(1), ...later]))
      assert.deepEqual(await begin(store, [messageOf({ key: 'k' })]), ['new'])
    },
  },
  ...[true, false].map((runs): StorePromise => {
    const how = runs ? 'in runs' : 'one by one'
    return {
      name: `all that waited behind a parked message is claimed ${how}, in its order, when that is tried again`,
      async run({ store }) {
        const count = runs ? VERY_MANY : MANY
        const messages = await park(store, count)
        await assertHeld(store)
        await keep(store, messagesOf(MANY, { key: 'parked' }), { state: 'parked' })
        assert.equal(await store.register.retry([inKey(messages[0]!.id)]), 1)
        assert.deepEqual(await drain(store, { runs }), idsOf(messages))
      },
    }
  }),
  {
    name: 'what waited is claimed when the parked message is cancelled, replaced or deleted',
    async run({ store }) {
      for (const way of ['cancel', 'replace', 'purge', 'move'] as const) {
        const [head, ...behind] = await park(store, MANY, way)
        await assertHeld(store)
        const successor = { ...head!, id: `successor by ${way}` }
        if (way === 'cancel') await store.register.cancel([inKey(head!.id)])
        else if (way === 'purge') await store.register.purge({ state: 'parked', before: FAR_AT }, 10)
        else if (way === 'replace') await store.register.replace(inKey(head!.id), successor)
        else await store.register.replace(inKey(head!.id), { ...successor, key: 'elsewhere' })
        const done = await drain(store)
        if (way === 'move') assert.deepEqual(done.toSorted(), idsOf([successor, ...behind]).toSorted(), way)
        const inOrder = done.filter((id) => way !== 'move' || id !== successor.id)
        assert.deepEqual(inOrder, idsOf(way === 'replace' ? [successor, ...behind] : behind), way)
      }
    },
  },
  {
    name: 'what waits behind a message that is tried again is claimed when that is done, or no longer holds its key',
    async run({ store, pass }) {
      const ends = {
        finished: (entry) => finish(store, entry),
        completed: async (entry) => assert.ok(await store.inbox.complete(entry)),
        expired: (entry) => store.inbox.settle(entry, { state: 'expired', dueAt: 0 }),
        parkedAlone: (entry) => store.inbox.settle(entry, { state: 'parked', dueAt: 0, holdsKey: false }),
        unknown: (entry) => store.inbox.settle(entry, { state: 'uncertain', dueAt: 0, holdsKey: false }),
      } as const satisfies Record<string, (entry: InboxEntry) => Promise<void>>
      for (const [way, end] of Object.entries(ends)) {
        const [head, ...behind] = messagesOf(MANY, { key: way })
        const dueAt = Math.floor(await store.now()) + LONG_MS
        await keep(store, [head!], { state: 'retrying', attempts: 1, attempt: attempt(1), dueAt })
        await keep(store, behind)
        await assertHeld(store)
        assert.equal(await store.inbox.nextDue('c', true), dueAt)
        await pass(LONG_MS)
        const [entry, ...more] = await claim(store, { runs: true, leaseMs: 2 * LONG_MS })
        assert.deepEqual([entry!.message.id, more.length], [head!.id, 0])
        await assertHeld(store)
        await end(entry!)
        assert.deepEqual(await drain(store), idsOf(behind), way)
      }
    },
  },
  {
    name: 'a message that fails again and again keeps its key until it is done',
    async run({ store, pass }) {
      const messages = await park(store)
      await assertHeld(store)
      await store.register.retry([inKey(messages[0]!.id)])
      for (let round = 1; round <= 3; round++) {
        const entries = await claim(store)
        assert.deepEqual(claimedIds(entries), [messages[0]!.id])
        const dueAt = Math.floor(await store.now()) + SHORT_MS
        await store.inbox.settle(entries[0]!, { state: 'retrying', dueAt, attempt: attempt(round) })
        await pass(PAST_MS)
      }
      assert.deepEqual(await drain(store), idsOf(messages))
    },
  },
  {
    name: 'a transaction that fails releases nothing',
    async run({ store }) {
      const messages = await park(store)
      await assertHeld(store)
      await store.register.retry([inKey(messages[0]!.id)])
      const [entry] = await claim(store)
      const failing = store.transaction(async (tx) => {
        await store.inbox.finish(tx, entry!)
        throw new Error('the handler failed')
      })
      await assert.rejects(failing, /the handler failed/)
      await assertHeld(store)
      await finish(store, entry!)
      assert.deepEqual(await drain(store), idsOf(messages.slice(1)))
    },
  },
  {
    name: 'of two messages of a key that are parked the later one holds what is behind it when the first is gone',
    async run({ store }) {
      const messages = messagesOf(2 * MANY)
      const [first, second] = [messages[0]!, messages[MANY]!]
      await keep(store, [first], { state: 'parked' })
      await keep(store, messages.slice(1, MANY))
      await assertHeld(store)
      await keep(store, [second], { state: 'parked' })
      await keep(store, messages.slice(MANY + 1))
      await assertHeld(store)
      await store.register.cancel([inKey(first.id)])
      assert.deepEqual(await drain(store), idsOf(messages.slice(1, MANY)))
      await assertHeld(store)
      await store.register.cancel([inKey(second.id)])
      assert.deepEqual(await drain(store), idsOf(messages.slice(MANY + 1)))
    },
  },
  {
    name: 'of what waits, single messages can be cancelled and tried again, and all keep their places',
    async run({ store }) {
      const [head, ...behind] = await park(store)
      await assertHeld(store)
      const gone = [behind[0]!, behind[7]!, behind.at(-1)!]
      assert.equal(await store.register.cancel(gone.map(({ id }) => inKey(id))), gone.length)
      assert.equal(await store.register.retry([inKey(behind[7]!.id)]), 1)
      await assertHeld(store)
      await store.register.retry([inKey(head!.id)])
      const left = [head!, ...behind].filter((message) => message === behind[7] || !gone.includes(message))
      assert.deepEqual(await drain(store), idsOf(left))
      await store.register.retry([inKey(behind[0]!.id)])
      assert.deepEqual(await drain(store), [behind[0]!.id])
    },
  },
  {
    name: 'much that waits behind a message that is being handled is not in the way of others, and comes in its order',
    async run({ store }) {
      const messages = messagesOf(DEEP)
      await keep(store, messages)
      const [entry] = await claim(store, { limit: 1 })
      await assertHeld(store)
      const other = messageOf({ key: 'other', keySeq: 1 })
      await keep(store, [other])
      assert.deepEqual(await drain(store, { limit: 1 }), [other.id])
      const later = messagesOf(DEEP)
      await keep(store, later)
      await assertHeld(store)
      await finish(store, entry!)
      assert.deepEqual(await drain(store, { limit: 7 }), idsOf([...messages.slice(1), ...later]))
    },
  },
  {
    name: 'what came last overtakes nothing of a long key in a run',
    async run({ store }) {
      const messages = messagesOf(DEEP)
      await keep(store, messages)
      const [entry] = await claim(store, { limit: 1 })
      await assertHeld(store)
      const last = messagesOf(5)
      await keep(store, last)
      await finish(store, entry!)
      assert.deepEqual(await drain(store, { limit: 2 * DEEP }), idsOf([...messages.slice(1), ...last]))
    },
  },
  {
    name: 'many keys that are parked are all held, and each is released alone',
    async run({ store }) {
      const keys = Array.from({ length: 40 }, (_, index) => `k${index}`)
      const of = new Map<string, Message[]>()
      for (const key of keys) of.set(key, await park(store, 8, key))
      await assertHeld(store)
      const [freed, ...rest] = keys
      await store.register.retry([inKey(of.get(freed!)![0]!.id)])
      assert.deepEqual(await drain(store), idsOf(of.get(freed!)!))
      await assertHeld(store)
      assert.equal(await store.register.cancel(rest.map((key) => inKey(of.get(key)![0]!.id))), rest.length)
      const done = await drain(store)
      assert.equal(done.length, rest.length * 7)
      for (const key of rest) {
        const ids = idsOf(of.get(key)!.slice(1))
        assert.deepEqual(
          done.filter((id) => ids.includes(id)),
          ids,
        )
      }
    },
  },
  {
    name: 'whoever asks for no order gets what waits behind a parked message, also when others asked for it',
    async run({ store }) {
      const [head, ...behind] = await park(store)
      await assertHeld(store)
      assert.equal(await store.inbox.nextDue('c', false), 0)
      const claimed: string[] = []
      for (;;) {
        const entries = await claim(store, { ordered: false })
        if (entries.length === 0) break
        claimed.push(...claimedIds(entries))
        await finish(store, ...entries)
      }
      assert.deepEqual(claimed.toSorted(), idsOf(behind).toSorted())
      assert.deepEqual(await states(store, { state: 'parked' }), { [head!.id]: 'parked' })
    },
  },
]

/** Of each key every such message fails at first. */
const FAILING = 130

/** Looks that find nothing before an operator acts: enough to put aside what waits. */
const IDLE_LOOKS = 12
const IDLE_LOOKS_MAX = 3000

/** The same for several processes at once. */
export const inboxBacklogRaces: readonly StorePromise[] = [
  {
    name: 'what waits behind messages that are parked, retried and cancelled is handled once, in order, by several processes',
    async run({ store }) {
      const lines = new Map(['a', 'b'].map((key) => [key, messagesOf(2 * FAILING + 20, { key })]))
      const failing = new Set([...lines.values()].flatMap((line) => idsOf(line.filter((_, i) => i % FAILING === 0))))
      const handled = new Map([...lines.keys()].map((key) => [key, [] as string[]]))
      const cancelled = new Set<string>()
      let left = [...lines.values()].flat().length
      let idle = 0

      const handle = async (entries: readonly InboxEntry[], key: string): Promise<void> => {
        const stop = entries.findIndex(({ message }) => failing.has(message.id))
        const done = stop < 0 ? entries : entries.slice(0, stop)
        const ids = handled.get(key)!
        await persist(async () => {
          const before = ids.length
          try {
            await store.transaction(async (tx) => {
              for (const entry of done) await store.inbox.finish(tx, entry)
              // Nobody else has this key before the transaction has committed.
              ids.push(...claimedIds(done))
            })
          } catch (error) {
            ids.length = before
            throw error
          }
        })
        left -= done.length
        if (stop < 0) return
        const [failed, ...behind] = entries.slice(stop)
        failing.delete(failed!.message.id)
        // From the end, so that nobody gets a later one first.
        for (const entry of behind.toReversed())
          await persist(() => store.inbox.settle(entry, { state: 'waiting', dueAt: 0, uncounted: true }))
        await persist(() => store.inbox.settle(failed!, { state: 'parked', dueAt: 0, attempt: attempt() }))
      }
      const work = async (limit: number): Promise<void> => {
        while (left > 0) {
          const entries = await persist(() => claim(store, { limit, runs: true }))
          idle = entries.length === 0 ? idle + 1 : 0
          assert.ok(idle < IDLE_LOOKS_MAX, `${left} messages are never claimed`)
          for (const key of lines.keys()) {
            const ofKey = entries.filter(({ message }) => message.key === key)
            if (ofKey.length > 0) await handle(ofKey, key)
          }
        }
      }
      const receive = async (messages: readonly Message[]): Promise<void> => {
        for (let at = 0; at < messages.length; at += 40) await persist(() => keep(store, messages.slice(at, at + 40)))
      }
      const decide = async (): Promise<void> => {
        for (let turn = 0; left > 0 && idle < IDLE_LOOKS_MAX;) {
          const { entries } = await store.register.list({ consumer: 'c', state: 'parked' }, 10, null)
          if (idle < IDLE_LOOKS) continue
          for (const { id } of entries) {
            idle = 0
            if (turn++ % 2 === 0) await persist(() => store.register.retry([inKey(id)]))
            else {
              assert.equal(await persist(() => store.register.cancel([inKey(id)])), 1)
              cancelled.add(id)
              left--
            }
          }
        }
      }
      await Promise.all([...[...lines.values()].map(receive), work(3), work(25), work(100), decide()])
      for (const [key, line] of lines)
        assert.deepEqual(
          handled.get(key),
          idsOf(line).filter((id) => !cancelled.has(id)),
          key,
        )
      assert.ok(cancelled.size > 0)
      assert.deepEqual(await claim(store), [])
      assert.deepEqual(
        await begin(
          store,
          [...lines.keys()].map((key) => messageOf({ key })),
        ),
        ['new', 'new'],
      )
    },
  },
]
