import assert from 'node:assert/strict'
import {
  add,
  ALL,
  attempt,
  draftOf,
  FAR_AT,
  idsOf,
  keep,
  leaseAll,
  messageOf,
  plain,
  setTimers,
  type StorePromise,
} from './contract-sample.ts'
import type { RegisterEntry, RegisterFilter, RegisterPage, RegisterReading, Store } from './port.ts'

const bodyOf = (bytes: number): { body: Uint8Array } => ({ body: new Uint8Array(bytes).fill(7) })

const comparable = (entry: RegisterEntry) => ({
  ...entry,
  message: entry.message === null ? null : plain(entry.message),
})

/** All pages, one after the other. */
async function pagesOf<Tx>(store: Store<Tx>, filter: RegisterFilter, limit: number, reading?: RegisterReading) {
  const pages: (readonly RegisterEntry[])[] = []
  let after: string | null = null
  do {
    const page: RegisterPage = await store.register.list(filter, limit, after, reading)
    pages.push(page.entries)
    after = page.next
  } while (after !== null)
  return pages
}

/** What the register shows at once, and how it goes on. */
export const pagePromises: readonly StorePromise[] = [
  {
    name: 'what a page reads fits into the bytes that it may have, and what is larger comes alone and whole',
    async run({ store, pass }) {
      const sizes = [10, 6000, 20, 2500, 2600, 1, 1, 0]
      const ids: string[] = []
      for (const size of sizes) {
        const body = new Uint8Array(size).fill(7)
        const [sent, timed, kept] = [draftOf({ body }), draftOf({ body }), messageOf({ body })]
        await add(store, sent)
        await setTimers(store, { draft: timed, dueAt: FAR_AT })
        await keep(store, [kept])
        ids.push(...idsOf([sent, timed, kept]))
        await pass(2)
      }
      const pages = await pagesOf(store, {}, 100, { bytesMax: 5000 })
      const bytes = pages.map((page) => page.map(({ message }) => message!.body.byteLength))
      for (const page of bytes)
        assert.ok(page.length === 1 || page.reduce((sum, size) => sum + size) <= 5000, String(page))
      assert.ok(bytes.length < ids.length / 2, 'no page is shorter than it has to be')
      assert.deepEqual(idsOf(pages.flat()).toSorted(), ids.toSorted())
      for (const { message } of pages.flat()) assert.ok(message!.body.every((byte) => byte === 7))
      const whole = await pagesOf(store, {}, 100)
      assert.deepEqual(
        pages.flat().map(comparable),
        whole.flat().map(comparable),
        'they are the same, in the same order',
      )
    },
  },
  {
    name: 'a page that is cut by its bytes and by its count goes on where it ended',
    async run({ store }) {
      const [first, second, third, fourth] = await add(store, ...[10, 10, 3000, 10].map(bodyOf))
      const filter = { direction: 'out' } as const
      const read = async (limit: number, after: string | null) => {
        const { entries, next } = await store.register.list(filter, limit, after, { bytesMax: 1000 })
        return { ids: idsOf(entries), next }
      }
      const one = await read(1, null)
      assert.deepEqual(one.ids, [first!.id])
      const two = await read(2, one.next)
      assert.deepEqual(two.ids, [second!.id])
      const three = await read(2, two.next)
      assert.deepEqual(three.ids, [third!.id])
      assert.deepEqual(await read(2, three.next), { ids: [fourth!.id], next: null })
    },
  },
  {
    name: 'errors are among the bytes of a page',
    async run({ store, pass }) {
      const ids = ['a', 'b', 'c', 'd']
      for (const id of ids) {
        const failed = attempt(1, { stack: 'x'.repeat(2000) })
        await keep(store, [messageOf({ id, body: new Uint8Array(10) })], { state: 'parked', attempt: failed })
        await pass(2)
      }
      const lengths = async (reading: RegisterReading) =>
        (await pagesOf(store, { state: 'parked' }, 100, reading)).map((page) => page.length)
      assert.deepEqual(await lengths({ bytesMax: 5000 }), [2, 2])
      assert.deepEqual(await lengths({ bytesMax: 5000, bodies: false }), [2, 2])
      assert.deepEqual(await lengths({ bytesMax: 5000, errors: false }), [4])
      assert.deepEqual(await lengths({ bytesMax: 1, bodies: false, errors: false }), [4])
    },
  },
  {
    name: 'without bodies and errors everything else is shown of a message, its last fingerprint too',
    async run({ store, pass }) {
      const metadata = { correlationId: 'c', externalId: 'X' }
      await add(store, { id: 'a', key: 'k', version: 2, metadata })
      const entries = await store.outbox.due(ALL, 10)
      const failures = entries.map((entry) => ({
        entry,
        attempt: attempt(1, { fingerprint: 'E-1' }),
        next: 'park-key' as const,
      }))
      await store.outbox.failed(await leaseAll(store), failures)
      await pass(2)
      await setTimers(store, { draft: draftOf({ id: 'b', metadata }), dueAt: FAR_AT })
      await pass(2)
      const failed = attempt(3, { fingerprint: 'E-2' })
      await keep(store, [messageOf({ id: 'c' })], { state: 'parked', attempts: 3, attempt: failed, reason: 'r' })
      const read = async (reading?: RegisterReading) => (await store.register.list({}, 10, null, reading)).entries
      const whole = await read()
      assert.deepEqual(
        whole.map(({ id, fingerprint }) => [id, fingerprint]),
        [
          ['a', 'E-1'],
          ['b', null],
          ['c', 'E-2'],
        ],
      )
      const heads = whole.map((entry) => ({ ...entry, message: null, errors: [] }))
      assert.deepEqual(await read({ bodies: false, errors: false }), heads)
      const withErrors = whole.map((entry) => ({ ...entry, message: null }))
      assert.deepEqual(await read({ bodies: false }), withErrors)
      assert.deepEqual(await read({ bodies: false, bytesMax: 10_000 }), withErrors)
      const withBodies = whole.map((entry) => comparable({ ...entry, errors: [] }))
      assert.deepEqual((await read({ errors: false })).map(comparable), withBodies)
      assert.deepEqual((await read({ errors: false, bytesMax: 10_000 })).map(comparable), withBodies)
    },
  },
  {
    name: 'a page of small messages has as many as were asked for, however many bytes it may have',
    async run({ store }) {
      const drafts = Array.from({ length: 230 }, () => draftOf())
      await setTimers(store, ...drafts.map((draft) => ({ draft, dueAt: FAR_AT })))
      const pages = await pagesOf(store, {}, 210, { bytesMax: 1_000_000 })
      assert.deepEqual(
        pages.map((page) => page.length),
        [210, 20],
      )
      assert.deepEqual(idsOf(pages.flat()).toSorted(), idsOf(drafts).toSorted())
    },
  },
  {
    name: 'pages show everything once, oldest first',
    async run({ store, pass }) {
      const ids: string[] = []
      for (let i = 0; i < 5; i++) {
        const metadata = { correlationId: 'c' }
        const drafts = [draftOf({ metadata }), draftOf({ metadata })]
        await add(store, ...drafts)
        const [timed, kept] = [draftOf(), messageOf()]
        await setTimers(store, { draft: timed, dueAt: FAR_AT })
        await keep(store, [kept])
        await keep(store, [kept], { consumer: 'other' })
        ids.push(...idsOf([...drafts, timed, kept, kept]))
        await pass(2)
      }
      const seen: RegisterEntry[] = []
      let after: string | null = null
      do {
        const page = await store.register.list({}, 4, after)
        assert.ok(page.entries.length <= 4, 'no more than asked for')
        seen.push(...page.entries)
        after = page.next
        assert.ok(seen.length <= ids.length, 'nothing comes twice')
      } while (after !== null)
      assert.deepEqual(idsOf(seen).toSorted(), ids.toSorted())
      const times = seen.map(({ createdAt }) => createdAt)
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      )
    },
  },
]
