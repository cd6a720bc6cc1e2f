import { expect, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import { event } from '../contract/event.ts'
import type { HandlerContext } from '../inbox/declaration.ts'
import { service, type Service } from '../service.ts'
import { memoryStore, type MemoryStore, type MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Store } from '../store/port.ts'
import { systemClock, type Clock } from '../time/clock.ts'
import { memoryEngine } from '../transport/memory/index.ts'
import { ExplorationFailure, explore, type Explored } from './explore.ts'
import type { Testbed } from './testbed.ts'

const Paid = event('paid', z.object({ account: z.string(), cents: z.number() })).key(({ account }) => account)
const Thank = command('thank', z.object({ account: z.string() })).key(({ account }) => account)

interface Bank extends Explored<MemoryTransaction> {
  readonly app: Service<MemoryTransaction>
  /** Texts by their idempotency keys, and how often each was sent. */
  readonly texts: Map<string, number>
}

type Context = HandlerContext<MemoryTransaction>
type Book = (data: { account: string; cents: number }, context: Context) => Promise<void>

const rightly: Book = async ({ account, cents }, { tx, send }) => {
  const accounts = tx.table<number>('accounts')
  await accounts.set(account, ((await accounts.get(account)) ?? 0) + cents)
  await send(Thank, { account })
}

function bank({ book }: { readonly book?: (state: Bank) => Book } = {}): Bank {
  const app = service('bank', { store: memoryStore({ clock: systemClock }), transport: memoryEngine().transport() })
  const state: Bank = { app, texts: new Map() }
  app.on(Paid, { name: 'book' }, book?.(state) ?? rightly)
  app.effect(Thank, { name: 'thank' }, (_, { idempotencyKey }) => {
    state.texts.set(idempotencyKey, (state.texts.get(idempotencyKey) ?? 0) + 1)
  })
  return state
}

async function pay(t: Testbed<MemoryTransaction>): Promise<void> {
  await t.publish(Paid, { account: 'a', cents: 1 })
  await t.publish(Paid, { account: 'a', cents: 2 })
  await t.publish(Paid, { account: 'b', cents: 10 })
  await t.settled()
}

async function eachOnce(t: Testbed<MemoryTransaction>, { texts }: Bank): Promise<void> {
  const accounts = t.table<number>('accounts')
  expect({ a: accounts.get('a'), b: accounts.get('b') }).toEqual({ a: 3, b: 10 })
  expect(texts.size).toBe(3)
  expect(await t.register.count({ state: ['parked', 'uncertain', 'expired'] })).toBe(0)
}

async function failureOf(exploring: Promise<unknown>): Promise<ExplorationFailure> {
  const failure = await exploring.then(
    () => null,
    (error: unknown) => error,
  )
  if (failure instanceof ExplorationFailure) return failure
  throw new Error('nothing was found', { cause: failure })
}

test('whatever goes wrong, each payment is booked once and thanked for', async () => {
  const { runs, steps, injected } = await explore({ app: () => bank(), runs: 60 }, pay, eachOnce)
  expect(runs).toBe(61)
  expect(steps).toBeGreaterThan(100)
  expect(injected).toBeGreaterThan(60)
})

test('the same seed does the same again, step by step', async () => {
  const again = () => explore({ app: () => bank(), processes: 2, seed: 1_000_007 }, pay, eachOnce)
  const [first, second] = [await again(), await again()]
  expect(first.injected).toBeGreaterThan(0)
  expect(second.trace).toEqual(first.trace)
  const other = await explore({ app: () => bank(), processes: 2, seed: 1_000_008 }, pay, eachOnce)
  expect(other.trace).not.toEqual(first.trace)
})

test('an outside world that is called in a transaction is found: it is called twice', async () => {
  const app = () =>
    bank({
      book:
        ({ texts }) =>
        async (data, context) => {
          await rightly(data, context)
          texts.set(context.message.id, (texts.get(context.message.id) ?? 0) + 1)
        },
    })
  const onceEach = (_: unknown, { texts }: Bank): void => {
    for (const [key, count] of texts) if (!key.includes(':')) expect(count).toBe(1)
  }
  const failure = await failureOf(explore({ app }, pay, onceEach))
  expect(failure.message).toMatch(/explore\(\{ seed: \d+ \}\) does it again/)
  expect(failure.injected).not.toEqual([])
  const again = await failureOf(explore({ app, seed: failure.seed }, pay, onceEach))
  expect(again.trace).toEqual(failure.trace)
})

test('what is read without a lock and written back is found: a payment is lost', async () => {
  const Sum = { total: 0 }
  const app = () =>
    bank({
      book:
        () =>
        async ({ cents }, { tx }) => {
          const table = tx.table<typeof Sum>('sums')
          const [sum = Sum] = await table.list()
          await table.set('sum', { total: sum.total + cents })
        },
    })
  const total = (t: Testbed<MemoryTransaction>): void => {
    expect(t.table<typeof Sum>('sums').get('sum')).toEqual({ total: 13 })
  }
  const failure = await failureOf(explore({ app }, pay, total))
  expect(failure.message).toContain('total')
})

const broken =
  (change: (store: MemoryStore) => Partial<Store<MemoryTransaction>>) =>
  (clock: Clock): Store<MemoryTransaction> => {
    const store = memoryStore({ clock })
    return { ...store, ...change(store) }
  }

/** A part of a store with some calls replaced. */
function changed<Part extends object>(part: Part, calls: Partial<Part>): Part {
  return new Proxy(part, {
    get(target, member) {
      if (Object.hasOwn(calls, member)) return calls[member as keyof Part]
      const value: unknown = Reflect.get(target, member, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

test('a store that forgets what it received is found', async () => {
  const store = broken(({ inbox }) => ({
    inbox: changed(inbox, {
      begin: async (...args) =>
        (await inbox.begin(...args)).map((verdict) =>
          verdict.kind === 'duplicate' ? { ...verdict, kind: 'new' } : verdict,
        ),
    }),
  }))
  const failure = await failureOf(explore({ app: () => bank(), store }, pay, eachOnce))
  expect(failure.injected.length).toBeGreaterThan(0)
})

test('a store that marks messages as sent before they are is found', async () => {
  const store = broken(({ outbox }) => ({
    outbox: changed(outbox, {
      async due(buckets, limit) {
        const entries = await outbox.due(buckets, limit)
        await outbox.sent(
          entries.map(({ bucket }) => ({ bucket, epoch: 1 })),
          entries,
          false,
        )
        return entries
      },
    }),
  }))
  const failure = await failureOf(explore({ app: () => bank(), store }, pay, eachOnce))
  expect(failure.injected).toEqual([expect.stringMatching(/dies/)])
})

test('a store that does not count attempts is found: a message that ends its process is begun for ever', async () => {
  const store = broken(({ inbox }) => ({
    inbox: changed(inbox, {
      claim: async (...args) => (await inbox.claim(...args)).map((entry) => ({ ...entry, attempts: 1 })),
    }),
  }))
  const app = () =>
    bank({
      book: () => async () => {
        throw new Error('poison')
      },
    })
  const failure = await failureOf(explore({ app, store, patience: '30m' }, pay, () => {}))
  expect(failure.message).toMatch(/not at rest .* paid a is retrying at bank\.book/)
  expect(failure.seed).toBe(0)
})
