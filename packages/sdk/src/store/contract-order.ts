import assert from 'node:assert/strict'
import type { Message } from '../message/message.ts'
import { FAR_AT, keep, LONG_MS, messageOf, messagesOf, type StorePromise } from './contract-sample.ts'
import type { Store, Verdict } from './port.ts'

/** A message of one key, with a number. */
const seq = (keySeq: number | null, fields: Partial<Message> = {}): Message =>
  messageOf({ key: 'k', keySeq, ...fields })

/** Begins a message in a transaction of its own. */
async function begun<Tx>(store: Store<Tx>, message: Message, ordered = false): Promise<Verdict> {
  const [verdict] = await store.transaction((tx) => store.inbox.begin(tx, 'c', [message], ordered))
  return verdict!
}

/** The ways in which messages come in. */
const WAYS = {
  begin: begun,
  start: <Tx>(store: Store<Tx>, message: Message) => store.inbox.start('c', message, false, LONG_MS),
  keep: async <Tx>(store: Store<Tx>, message: Message) => (await keep(store, [message]))[0]!,
} satisfies Record<string, <Tx>(store: Store<Tx>, message: Message) => Promise<Verdict>>

/** What the inbox says of the numbers of messages, each begun for itself. */
async function orders<Tx>(store: Store<Tx>, ...messages: readonly Message[]): Promise<string[]> {
  const said: string[] = []
  for (const message of messages) said.push((await begun(store, message)).order)
  return said
}

const said = ({ kind, order }: Verdict): string => `${kind} ${order}`

/** What numbers say of the order in which messages come. */
export const orderPromises: readonly StorePromise[] = [
  {
    name: 'numbers tell what comes next, where something is missing, and what comes too late',
    async run({ store }) {
      assert.deepEqual(await orders(store, seq(1), seq(2), seq(5), seq(6), seq(4), seq(7), seq(7)), [
        'next',
        'next',
        'gap',
        'next',
        'late',
        'next',
        'late',
      ])
      const unnumbered = [seq(null), seq(null, { key: null }), seq(8)]
      assert.deepEqual(await orders(store, ...unnumbered), ['unknown', 'unknown', 'next'])
      const other = { key: 'other' }
      assert.deepEqual(await orders(store, seq(1, other), seq(2, other)), ['next', 'next'])
      const middle = { key: 'begun in the middle' }
      assert.deepEqual(await orders(store, seq(40, middle), seq(41, middle)), ['unknown', 'next'])
    },
  },
  {
    name: 'numbers tell the same of messages that are begun, kept, and whose effects are started',
    async run({ store }) {
      for (const [way, come] of Object.entries(WAYS)) {
        const key = `by ${way}`
        const found: string[] = []
        for (const keySeq of [1, 2, 5, 3, 6]) found.push(said(await come(store, seq(keySeq, { key }))))
        assert.deepEqual(found, ['new next', 'new next', 'new gap', 'new late', 'new next'], way)
      }
    },
  },
  {
    name: 'a number that came in one way is compared with those that came in another',
    async run({ store }) {
      const found: string[] = []
      for (const come of [WAYS.begin, WAYS.keep, WAYS.start, WAYS.keep, WAYS.begin])
        found.push(said(await come(store, seq(found.length + 1))))
      assert.deepEqual(found, Array(5).fill('new next'))
      assert.equal(said(await WAYS.keep(store, seq(7))), 'new gap')
      assert.equal(said(await WAYS.begin(store, seq(8))), 'new next', 'a gap is told once')
      assert.equal(said(await WAYS.start(store, seq(6))), 'new late')
    },
  },
  {
    name: 'the number of a duplicate is seen like any other, in whatever way it comes in',
    async run({ store }) {
      for (const [way, come] of Object.entries(WAYS)) {
        const metadata = { correlationId: 'c', dedupeKey: way }
        const first = seq(1, { key: way, metadata })
        assert.equal(said(await come(store, first)), 'new next', way)
        assert.equal(said(await come(store, first)), 'duplicate late', way)
        assert.equal(said(await come(store, seq(2, { key: way, metadata }))), 'duplicate next', way)
        assert.equal(said(await come(store, seq(3, { key: way }))), 'new next', way)
        assert.equal(said(await come(store, seq(5, { key: way, metadata }))), 'duplicate gap', way)
        assert.equal(said(await come(store, seq(6, { key: way }))), 'new next', way)
      }
    },
  },
  {
    name: 'what is behind is compared when it is kept',
    async run({ store }) {
      await keep(store, [seq(1)], { state: 'retrying', dueAt: FAR_AT })
      assert.equal(said(await begun(store, seq(3), true)), 'behind unknown')
      assert.equal(said(await store.inbox.start('c', seq(3), true, LONG_MS)), 'behind unknown')
      assert.equal(said(await WAYS.keep(store, seq(3))), 'new gap')
    },
  },
  {
    name: 'numbers are compared within one call, too',
    async run({ store }) {
      const numbered = (key: string) => [1, 2, 4, 3].map((keySeq) => seq(keySeq, { key }))
      const begin = await store.transaction((tx) => store.inbox.begin(tx, 'c', numbered('begun'), true))
      const kept = await keep(store, numbered('kept'))
      for (const verdicts of [begin, kept])
        assert.deepEqual(
          verdicts.map(({ order }) => order),
          ['next', 'next', 'gap', 'late'],
        )
    },
  },
  {
    name: 'every source and type counts for itself',
    async run({ store }) {
      const of = (source: string, type: string, keySeq: number) => seq(keySeq, { source, type })
      const messages = [of('a', 'x', 1), of('b', 'x', 1), of('a', 'y', 1), of('a', 'x', 2), of('b', 'x', 2)]
      assert.deepEqual(
        await orders(store, ...messages),
        messages.map(() => 'next'),
      )
    },
  },
  {
    name: 'numbers of what could not be recorded were never seen',
    async run({ store }) {
      const fault = store.transaction(async (tx) => {
        await store.inbox.begin(tx, 'c', [seq(1)], true)
        throw new Error('no')
      })
      await assert.rejects(fault)
      const [first, second] = messagesOf(2)
      assert.deepEqual(await orders(store, first!, second!), ['next', 'next'])
    },
  },
]
