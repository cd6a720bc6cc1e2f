import assert from 'node:assert/strict'
import { add, ALL, attempt, FAR_AT, idsOf, leaseAll, outKey, states, type StorePromise } from './contract-sample.ts'
import type { BucketLease, OutboxFailure, Store } from './port.ts'

/** Until a failed message is tried again: long enough to look at what waits meanwhile. */
const RETRY_MS = 5000

/** Enough to be worth putting aside when this many are asked for. */
const MANY = 40
const BATCH = 10

/** More than a store might let go at once. */
const VERY_MANY = 2300

/** So many messages of one key, in their order. */
async function addMany<Tx>(store: Store<Tx>, count = MANY, key = 'k'): Promise<string[]> {
  return idsOf(await add(store, ...Array.from({ length: count }, () => ({ key }))))
}

/** Fails one that is due. */
async function fail<Tx>(store: Store<Tx>, leases: readonly BucketLease[], id: string, next: OutboxFailure['next']) {
  const entry = (await store.outbox.due(ALL, 10_000)).find(({ message }) => message.id === id)
  assert.ok(entry, `${id} is due`)
  await store.outbox.failed(leases, [{ entry, attempt: attempt(entry.attempts + 1), next }])
}

/** Sends what is due until nothing is. @returns the ids in the order of sending */
async function sendAll<Tx>(store: Store<Tx>, leases: readonly BucketLease[], batch = BATCH): Promise<string[]> {
  const sent: string[] = []
  for (;;) {
    const entries = await store.outbox.due(ALL, batch)
    if (entries.length === 0) return sent
    sent.push(...entries.map(({ message }) => message.id))
    assert.equal(await store.outbox.sent(leases, entries, false), entries.length)
  }
}

/** Sees to it that nothing is due although much is pending; looks often enough that a store may have put it aside. */
async function assertHeld<Tx>(store: Store<Tx>, pending: number): Promise<void> {
  for (let look = 0; look < 3; look++) assert.deepEqual(await store.outbox.due(ALL, BATCH), [])
  assert.equal((await store.outbox.depth()).pending, pending)
}

const bodyOf = (bytes: number): { body: Uint8Array } => ({ body: new Uint8Array(bytes).fill(7) })

/** What relays rely on when much is pending: how much of it they get at once, and what is not in their way. */
export const backlogPromises: readonly StorePromise[] = [
  {
    name: 'what is read at once fits into the bytes that it may have, in its order, and bodies are whole',
    async run({ store }) {
      const messages = await add(store, ...[10, 4000, 20, 2500, 3000, 1, 1].map(bodyOf))
      const leases = await leaseAll(store)
      const sizes: number[][] = []
      const ids: string[] = []
      for (let look = 0; look < messages.length; look++) {
        const entries = await store.outbox.due(ALL, 100, 5000)
        if (entries.length === 0) break
        sizes.push(entries.map(({ message }) => message.body.byteLength))
        for (const { message } of entries) assert.deepEqual(new Set(message.body), new Set([7]), 'all bytes are there')
        ids.push(...entries.map(({ message }) => message.id))
        await store.outbox.sent(leases, entries, false)
      }
      assert.deepEqual(ids, idsOf(messages))
      for (const together of sizes) assert.ok(together.reduce((sum, bytes) => sum + bytes) <= 5000, String(together))
    },
  },
  {
    name: 'a message that is larger than all that may be read at once comes alone',
    async run({ store }) {
      const messages = await add(store, ...[5000, 3, 5000, 3].map(bodyOf))
      const leases = await leaseAll(store)
      for (const message of messages.slice(0, 3)) {
        const entries = await store.outbox.due(ALL, 100, 1000)
        assert.deepEqual(
          entries.map(({ message: { id, body } }) => [id, body.byteLength]),
          [[message.id, message.body.byteLength]],
        )
        await store.outbox.sent(leases, entries, false)
      }
    },
  },
  {
    name: 'empty bodies fit into any number of bytes',
    async run({ store }) {
      await add(store, bodyOf(0), bodyOf(0))
      assert.equal((await store.outbox.due(ALL, 10, 1)).length, 2)
    },
  },
  {
    name: 'much that waits behind a parked key is pending, and not in the way of others',
    async run({ store }) {
      const [head, ...behind] = await addMany(store)
      const leases = await leaseAll(store)
      await fail(store, leases, head!, 'park-key')
      await assertHeld(store, behind.length)
      const [other] = await addMany(store, 1, 'other')
      assert.deepEqual(await sendAll(store, leases), [other])
      await addMany(store, MANY)
      await assertHeld(store, behind.length + MANY)
      const pending = await states(store, { direction: 'out', state: 'pending' })
      assert.equal(Object.keys(pending).length, behind.length + MANY)
      assert.deepEqual(new Set(Object.values(pending)), new Set(['pending']))
      assert.equal(await store.register.count({ state: 'waiting' }), 0)
      assert.equal(await store.outbox.nextDue(ALL), null)
    },
  },
  {
    name: 'all that waited behind a parked message goes in its order when that is tried again',
    async run({ store }) {
      const first = await addMany(store, VERY_MANY)
      const leases = await leaseAll(store)
      await fail(store, leases, first[0]!, 'park-key')
      await assertHeld(store, VERY_MANY - 1)
      const later = await addMany(store)
      assert.equal(await store.register.retry([outKey(first[0]!)]), 1)
      assert.deepEqual(await sendAll(store, leases, 500), [...first, ...later])
    },
  },
  {
    name: 'what waited goes when the parked message is cancelled, replaced or deleted',
    async run({ store }) {
      const leases = await leaseAll(store)
      for (const way of ['cancel', 'replace', 'purge'] as const) {
        const [head, ...behind] = await addMany(store, MANY, way)
        await fail(store, leases, head!, 'park-key')
        await assertHeld(store, behind.length)
        const { entries } = await store.register.list({ id: head! }, 1, null)
        if (way === 'cancel') await store.register.cancel([outKey(head!)])
        else if (way === 'purge') await store.register.purge({ state: 'parked', before: FAR_AT }, 10)
        else await store.register.replace(outKey(head!), { ...entries[0]!.message!, id: 'successor' })
        const sent = await sendAll(store, leases)
        assert.deepEqual(sent, way === 'replace' ? ['successor', ...behind] : behind, way)
      }
    },
  },
  {
    name: 'what waits behind a message that is tried again goes when that was sent, dropped or parked alone',
    async run({ store, pass }) {
      const leases = await leaseAll(store)
      for (const way of ['sent', 'kept', 'drop', 'park-message'] as const) {
        const [head, ...behind] = await addMany(store, MANY, way)
        await fail(store, leases, head!, { retryAt: Math.floor(await store.now()) + RETRY_MS })
        await assertHeld(store, MANY)
        await pass(RETRY_MS)
        const [entry] = await store.outbox.due(ALL, 1)
        assert.equal(entry!.message.id, head)
        if (way === 'sent' || way === 'kept') await store.outbox.sent(leases, [entry!], way === 'kept')
        else await store.outbox.failed(leases, [{ entry: entry!, attempt: attempt(2), next: way }])
        assert.deepEqual(await sendAll(store, leases), behind, way)
      }
    },
  },
  {
    name: 'of two messages of a key that are parked the later one holds back what is behind it when the first is gone',
    async run({ store }) {
      const ids = await addMany(store)
      const leases = await leaseAll(store)
      const middle = MANY / 2
      await fail(store, leases, ids[middle]!, 'park-key')
      await fail(store, leases, ids[0]!, 'park-key')
      await assertHeld(store, MANY - 2)
      await store.register.cancel([outKey(ids[0]!)])
      assert.deepEqual(await sendAll(store, leases), ids.slice(1, middle))
      await assertHeld(store, MANY - middle - 1)
      await store.register.cancel([outKey(ids[middle]!)])
      assert.deepEqual(await sendAll(store, leases), ids.slice(middle + 1))
    },
  },
  {
    name: 'of what waits, single messages can be cancelled, and the rest keeps its order',
    async run({ store }) {
      const [head, ...behind] = await addMany(store)
      const leases = await leaseAll(store)
      await fail(store, leases, head!, 'park-key')
      await assertHeld(store, behind.length)
      const gone = [behind[0]!, behind[7]!, behind.at(-1)!]
      assert.equal(await store.register.cancel(gone.map((id) => outKey(id))), gone.length)
      await store.register.retry([outKey(head!)])
      assert.deepEqual(await sendAll(store, leases), [head, ...behind.filter((id) => !gone.includes(id))])
      assert.equal(await store.register.retry([outKey(gone[0]!)]), 1)
      assert.deepEqual(await sendAll(store, leases), [gone[0]])
    },
  },
]
