import assert from 'node:assert/strict'
import { BUCKETS } from '../message/bucket.ts'
import {
  add,
  ALL,
  begin,
  claim,
  claimedIds,
  draftOf,
  dueIds,
  finish,
  idsOf,
  inKey,
  keep,
  LONG_MS,
  messageOf,
  messagesOf,
  PAST_MS,
  persist,
  setTimers,
  SHORT_MS,
  type StorePromise,
} from './contract-sample.ts'
import type { Store } from './port.ts'

/** Calls at the same time. More than a pool has connections, so that some of them wait for one, too. */
const MANY = 40

const many = <T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)))

/** Some round trips inside of a transaction, so that it overlaps with others. */
async function dawdle<Tx>(store: Store<Tx>, tx: Tx, trips: number): Promise<void> {
  for (let i = 0; i < trips; i++) await store.outbox.add(tx, [draftOf()])
}

/** What holds when several connections or processes do the same at the same time. */
export const racePromises: readonly StorePromise[] = [
  {
    name: 'the numbers of a key follow the order of the commits, without a gap, while transactions overlap and fail',
    async run({ store, firstOfKeyMayConflict }) {
      const committing: string[] = []
      const run = firstOfKeyMayConflict === true ? persist : <T>(work: () => Promise<T>) => work()
      await many(MANY + 8, async (index) => {
        const fails = index % 6 === 5
        const work = run(() =>
          store.transaction(async (tx) => {
            await dawdle(store, tx, (index * 3) % 4)
            const draft = draftOf({ key: 'k' })
            await store.outbox.add(tx, [draft])
            await dawdle(store, tx, (index * 7) % 5)
            if (fails) throw new Error('the user changed their mind')
            // Whoever uses the same key waits since `add`: the end of the work is in the order of the commits.
            committing.push(draft.id)
          }),
        )
        await (fails ? assert.rejects(work, /changed their mind/) : work)
      })
      const due = (await store.outbox.due(ALL, 10_000)).map(({ message }) => message)
      const ofKey = due.filter(({ key }) => key === 'k')
      assert.equal(committing.length, MANY)
      assert.deepEqual(idsOf(ofKey), committing)
      assert.deepEqual(
        ofKey.map(({ keySeq }) => keySeq),
        Array.from({ length: MANY }, (_, i) => i + 1),
      )
    },
  },
  {
    name: 'nobody gets a message before the transaction that adds it has committed',
    async run({ store }) {
      let arrived!: () => void
      const added = new Promise<void>((resolve) => (arrived = resolve))
      const failing = store.transaction(async (tx) => {
        await store.outbox.add(tx, [draftOf({ key: 'k' }), draftOf()])
        arrived()
        await dawdle(store, tx, 4)
        throw new Error('the user changed their mind')
      })
      await Promise.all([
        assert.rejects(failing, /changed their mind/),
        added.then(async () => assert.deepEqual(await dueIds(store), [])),
      ])
      assert.deepEqual(await dueIds(store), [])
    },
  },
  {
    name: 'transactions that use the same keys in different orders all get through one call',
    async run({ store }) {
      const keys = ['a', 'b', 'c', 'd']
      await many(MANY, (index) =>
        store.transaction((tx) => {
          const turned = index % 2 === 0 ? keys : keys.toReversed()
          return store.outbox.add(
            tx,
            turned.map((key) => draftOf({ key })),
          )
        }),
      )
      const due = (await store.outbox.due(ALL, 10_000)).map(({ message }) => message)
      for (const key of keys) {
        const numbers = due.filter((message) => message.key === key).map(({ keySeq }) => keySeq)
        assert.deepEqual(
          numbers,
          Array.from({ length: MANY }, (_, i) => i + 1),
        )
      }
    },
  },
  {
    name: 'one id is added once, whoever is first',
    async run({ store }) {
      const added = await many(10, (index) =>
        persist(() => add(store, { id: 'same', key: 'k', body: new Uint8Array([index]) })),
      )
      assert.equal(new Set(added.map(([message]) => message!.body[0])).size, 1, 'all are told of the one that is there')
      const [next] = await add(store, { key: 'k' })
      assert.equal((await dueIds(store)).length, 2)
      assert.equal(next!.keySeq, 2)
    },
  },
  {
    name: 'no bucket has two owners while relays come, go and die',
    async run({ store, pass }) {
      await store.outbox.lease('dead', SHORT_MS)
      await pass(PAST_MS)
      const owners = ['a', 'b', 'c', 'd', 'e']
      const epochs = new Map<string, string>()
      for (let round = 0; round < 6; round++) {
        const leases = await many(owners.length, async (index) => {
          const owner = owners[index]!
          return { owner, leases: await persist(() => store.outbox.lease(owner, LONG_MS)) }
        })
        for (const { owner, leases: mine } of leases) {
          for (const { bucket, epoch } of mine) {
            const holder = epochs.get(`${bucket}@${epoch}`)
            assert.ok(holder === undefined || holder === owner, `bucket ${bucket} epoch ${epoch}: ${holder}, ${owner}`)
            epochs.set(`${bucket}@${epoch}`, owner)
          }
        }
      }
      const settled = await many(owners.length, (index) => store.outbox.lease(owners[index]!, LONG_MS))
      assert.deepEqual(
        settled
          .flat()
          .map(({ bucket }) => bucket)
          .toSorted((a, b) => a - b),
        ALL,
      )
      for (const leases of settled) assert.ok(leases.length <= Math.ceil(BUCKETS / owners.length))
    },
  },
  {
    name: 'of two relays that both believe in their lease only the one that has it marks as sent',
    async run({ store, pass }) {
      await add(store, ...Array.from({ length: 20 }, (_, i) => ({ key: `k${i}` })))
      const stale = await store.outbox.lease('a', SHORT_MS)
      const entries = await store.outbox.due(ALL, 100)
      await pass(PAST_MS)
      const current = await store.outbox.lease('b', LONG_MS)
      const marked = await many(4, (index) =>
        persist(() => store.outbox.sent(index % 2 === 0 ? stale : current, entries, false)),
      )
      assert.deepEqual([marked[0], marked[2]], [0, 0])
      assert.equal(marked[1]! + marked[3]!, 20)
    },
  },
  {
    name: 'a message that is delivered several times at once is handled once',
    async run({ store }) {
      const metadata = { correlationId: 'c', dedupeKey: 'd' }
      const messages = [messageOf({ key: 'k', keySeq: 1, metadata })]
      let handled = 0
      const kinds = await many(10, () =>
        persist(() =>
          store.transaction(async (tx) => {
            const [verdict] = await store.inbox.begin(tx, 'c', messages, true)
            await dawdle(store, tx, 2)
            if (verdict!.kind === 'new') handled++
            return verdict!.kind
          }),
        ),
      )
      assert.equal(kinds.filter((kind) => kind === 'new').length, 1)
      assert.equal(kinds.filter((kind) => kind === 'duplicate').length, 9)
      assert.equal(handled, 1)
    },
  },
  {
    name: 'a duplicate waits for the outcome of the other transaction, and is new when that fails',
    async run({ store }) {
      const messages = [messageOf()]
      let failing = 3
      const kinds: string[] = []
      await many(8, async () => {
        const work = () =>
          store.transaction(async (tx) => {
            const [verdict] = await store.inbox.begin(tx, 'c', messages, true)
            await dawdle(store, tx, 2)
            if (verdict!.kind === 'new' && failing-- > 0) throw new Error('the handler failed')
            return verdict!.kind
          })
        kinds.push(await persist(work).catch((error: Error) => error.message))
      })
      assert.deepEqual(kinds.toSorted(), [
        ...Array.from({ length: 4 }, () => 'duplicate'),
        'new',
        ...Array.from({ length: 3 }, () => 'the handler failed'),
      ])
    },
  },
  {
    name: 'a message that is kept by several processes is kept once',
    async run({ store }) {
      const messages = messagesOf(3)
      await many(8, () => persist(() => keep(store, messages)))
      assert.equal(await store.register.count({ consumer: 'c' }), 3)
      const kinds = await many(4, (index) =>
        index === 0 ? begin(store, messages) : persist(() => begin(store, messages)),
      )
      assert.deepEqual(
        kinds,
        kinds.map(() => messages.map(() => 'duplicate')),
      )
    },
  },
  {
    name: 'what several processes claim at once belongs to one of them',
    async run({ store }) {
      const messages = Array.from({ length: 30 }, () => messageOf())
      await keep(store, messages)
      const claimed: string[] = []
      for (let round = 0; round < 20 && claimed.length < messages.length; round++) {
        const taken = await many(4, () => persist(() => claim(store, { limit: 5 })))
        claimed.push(...taken.flatMap(claimedIds))
      }
      assert.deepEqual(claimed.toSorted(), idsOf(messages).toSorted())
    },
  },
  {
    name: 'of a key only one message runs at a time, whoever claims',
    async run({ store }) {
      const messages = messagesOf(6)
      await keep(store, messages)
      const order: string[] = []
      for (let round = 0; round < 20 && order.length < messages.length; round++) {
        const claimed = (await many(4, () => persist(() => claim(store)))).flat()
        assert.ok(claimed.length <= 1, 'one at a time')
        order.push(...claimedIds(claimed))
        await finish(store, ...claimed)
      }
      assert.deepEqual(order, idsOf(messages))
    },
  },
  {
    name: 'a lost claim is taken over by one process, and the one that lost it cannot finish',
    async run({ store, pass }) {
      await keep(store, [messageOf()])
      const [lost] = await claim(store, { leaseMs: SHORT_MS })
      await pass(PAST_MS)
      const claimed = (await many(4, () => persist(() => claim(store)))).flat()
      assert.equal(claimed.length, 1)
      const outcomes = await Promise.allSettled([finish(store, lost!), finish(store, claimed[0]!)])
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        ['rejected', 'fulfilled'],
      )
    },
  },
  {
    name: 'a message that is just being finished is not claimed, even though its lease ran out',
    async run({ store, pass }) {
      await keep(store, [messageOf()])
      const [entry] = await claim(store, { leaseMs: SHORT_MS })
      await pass(PAST_MS)
      let claiming: ReturnType<typeof claim> | undefined
      await store.transaction(async (tx) => {
        await store.inbox.finish(tx, entry!)
        claiming = persist(() => claim(store))
        await dawdle(store, tx, 10)
      })
      assert.deepEqual(await claiming, [])
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'an effect is started by one of several processes',
    async run({ store }) {
      const message = messageOf({ key: 'k', keySeq: 1 })
      const started = await many(6, () => persist(() => store.inbox.start('c', message, true, LONG_MS)))
      assert.equal(started.filter(({ kind, entry }) => kind === 'new' && entry !== null).length, 1)
      assert.equal(started.filter(({ kind, entry }) => kind === 'duplicate' && entry === null).length, 5)
    },
  },
  {
    name: 'a timer is cancelled or fires, and never both',
    async run({ store }) {
      const drafts = Array.from({ length: 20 }, () => draftOf())
      await setTimers(store, ...drafts.map((draft) => ({ draft, dueAt: 1000, cancelKey: draft.id })))
      const cancelling = many(drafts.length, async (index) => {
        const { id } = drafts[index]!
        const cancelled = await persist(() =>
          store.transaction(async (tx) => {
            if (index % 2 === 0) await dawdle(store, tx, index % 3)
            return store.timers.cancel(tx, id)
          }),
        )
        return cancelled ? [id] : []
      })
      const firing = many(4, () => persist(() => store.timers.fire(5)))
      const cancelled = (await cancelling).flat()
      const fired = (await firing).reduce((sum, count) => sum + count, 0) + (await store.timers.fire(100))
      assert.equal(cancelled.length + fired, drafts.length)
      const sent = new Set(await dueIds(store))
      for (const { id } of drafts) assert.equal(sent.has(id), !cancelled.includes(id), id)
    },
  },
  {
    name: 'a transaction that is left open holds the timers of its keys, and no others: known keys and new ones',
    async run({ store, oneWriter }) {
      if (oneWriter === true) return
      await add(store, { key: 'known' }, { key: 'free' })
      const timer = (key: string | null, dueAt: number) => ({ draft: draftOf({ key }), dueAt })
      const held = [timer('known', 1000), timer('known', 1001), timer('new', 1002)]
      const free = ['free', 'free', 'fresh', 'other', null].map((key, index) => timer(key, 2000 + index))
      await setTimers(store, ...held, ...free)
      const fired = await store.transaction(async (tx) => {
        await store.outbox.add(tx, [draftOf({ key: 'known' }), draftOf({ key: 'new' })])
        let count = 0
        // Fewer at a time than are held in front of the others.
        for (let round = 0; round < free.length; round++) count += await store.timers.fire(2)
        return count
      })
      assert.equal(fired, free.length)
      assert.equal(await store.timers.nextDue(), 1000)
      assert.equal(await store.timers.fire(100), held.length)
      const numbers = (await store.outbox.due(ALL, 100)).map(({ message }) => [message.key, message.keySeq])
      const of = (key: string) => numbers.filter(([each]) => each === key).map(([, keySeq]) => keySeq)
      assert.deepEqual([of('known'), of('new'), of('free'), of('fresh')], [[1, 2, 3, 4], [1, 2], [1, 2, 3], [1]])
    },
  },
  {
    name: 'a schedule is moved on by one of several processes',
    async run({ store }) {
      const row = { name: 'report', definition: 'x', nextAt: 1000, lastAt: null }
      const save = (expected: typeof row | null, nextAt: number) =>
        persist(() => store.transaction((tx) => store.schedules.save(tx, { ...row, nextAt }, expected)))
      const winners = (outcomes: readonly boolean[]) => outcomes.filter((saved) => saved).length
      assert.equal(winners(await many(6, () => save(null, 1000))), 1)
      assert.equal(winners(await many(6, (index) => save(row, 2000 + index))), 1)
    },
  },
  {
    name: 'a rate grants no more than it has to all together',
    async run({ store }) {
      const taken = await many(20, () => persist(() => store.rates.take('sms', 25, LONG_MS * 24, 2)))
      assert.equal(
        taken.reduce((sum, { granted }) => sum + granted, 0),
        25,
      )
    },
  },
  {
    name: 'an operator and a process that want the same message do not both get it',
    async run({ store }) {
      for (let round = 0; round < 10; round++) {
        const message = messageOf()
        await keep(store, [message])
        const [cancelled, claimed] = await Promise.all([
          persist(() => store.register.cancel([inKey(message.id)])),
          persist(() => claim(store)),
        ])
        assert.equal(cancelled + claimed.length, 1)
        await finish(store, ...claimed)
      }
    },
  },
]
