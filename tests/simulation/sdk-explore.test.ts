// The whole SDK in a world where processes die between any two calls of their stores and engines, connections are lost,
// deliveries come twice and in another order, and calls take time: what it promises holds all the same.
import { command, event, service, type Service } from '@stathmos/sdk'
import { memoryStore, type MemoryTransaction } from '@stathmos/sdk/stores/memory'
import { explore, manualClock, type Explored, type ExploreOptions, type Testbed } from '@stathmos/sdk/testing'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import { expect, test } from 'vitest'
import { z } from 'zod'

/** Runs of each test. For longer sweeps, and for other ones, there are variables of the environment. */
const RUNS = 200
const runs = Number(process.env['STATHMOS_SEEDS'] ?? RUNS)
const from = Number(process.env['STATHMOS_SEED'] ?? 0)

const item = z.object({ order: z.string(), n: z.number() })
const Placed = event('order.placed', item).key(({ order }) => order)
const Booked = event('order.booked', item).key(({ order }) => order)
const Ship = command('order.ship', item).key(({ order }) => order)
const Remind = command('order.remind', z.object({ order: z.string() })).key(({ order }) => order)
const Noted = event('note', z.object({ order: z.string(), n: z.number() }))

interface Shop extends Explored<MemoryTransaction> {
  readonly shop: Service<MemoryTransaction>
  readonly depot: Service<MemoryTransaction>
  /** Calls of the outside world, in their order. */
  readonly shipped: { readonly order: string; readonly n: number; readonly key: string }[]
  readonly reminded: string[]
  /** Fails the first time that it is called for something. */
  readonly stumble: (over: string) => void
}

/** Appends to a list in the service's own table. */
async function append(tx: MemoryTransaction, name: string, key: string, n: number): Promise<void> {
  const table = tx.table<number[]>(name)
  await table.set(key, [...((await table.get(key)) ?? []), n])
}

/** Two services with databases of their own, and every kind of handler. */
function shop(): Shop {
  const clock = manualClock()
  const declared = () => ({ store: memoryStore({ clock }), transport: memoryEngine().transport() })
  const own = service('shop', declared())
  const depot = service('depot', declared())
  const stumbled = new Set<string>()
  const stumble = (over: string): void => {
    if (stumbled.has(over)) return
    stumbled.add(over)
    throw new Error(`not at first: ${over}`)
  }
  const state: Shop = { app: [own, depot], shop: own, depot, shipped: [], reminded: [], stumble }
  own
    .on(Placed, { name: 'book', lease: '10s' }, async ({ order, n }, { tx, publish, send, cancel }) => {
      await append(tx, 'orders', order, n)
      await publish(Booked, { order, n })
      await publish(Noted, { order, n })
      if (n === 1) await send(Remind, { order }, { delay: '1h', cancelKey: `remind:${order}` })
      if (n === 2) await cancel(`remind:${order}`)
      await send(Ship, { order, n })
      if (n === 2) stumble('booking')
    })
    .effect(Remind, { name: 'remind' }, ({ order }) => state.reminded.push(order))
  depot
    .effect(Ship, { name: 'ship', lease: '10s', retry: { attempts: 12 } }, ({ order, n }, { idempotencyKey }) => {
      if (n === 1) stumble(`shipping of ${order}`)
      state.shipped.push({ order, n, key: idempotencyKey })
    })
    .on(Booked, { name: 'stock', batch: { size: 4, wait: '20ms' }, lease: '10s' }, async (items, { tx }) => {
      for (const { data } of items) {
        await append(tx, 'stock', data.order, data.n)
        if (data.n === 2) stumble('stocking')
      }
    })
    .on(Noted, { name: 'note', concurrency: 8, lease: '10s' }, ({ order, n }, { tx }) => append(tx, 'notes', order, n))
  return state
}

async function orders(t: Testbed<MemoryTransaction>): Promise<void> {
  for (const n of [1, 2, 3]) await t.publish(Placed, { order: 'a', n })
  await t.publish(Placed, { order: 'b', n: 1 })
  await t.settled()
  await t.clock.advance('2h')
}

async function asPromised(t: Testbed<MemoryTransaction>, state: Shop): Promise<void> {
  const { depot, shipped, reminded } = state
  const expected = { a: [1, 2, 3], b: [1] }
  const listed = (of: Service<MemoryTransaction>, name: string): object => {
    const { a, b } = { a: t.as(of).table(name).get('a'), b: t.as(of).table(name).get('b') }
    return { a, b }
  }
  expect(listed(state.shop, 'orders'), 'booked in order').toEqual(expected)
  expect(listed(depot, 'stock'), 'in batches, in order').toEqual(expected)
  const notes = listed(depot, 'notes') as { a?: number[]; b?: number[] }
  expect({ a: notes.a?.toSorted(), b: notes.b }, 'in any order, once').toEqual(expected)
  expect(firstCalls(shipped), 'shipped in order, once by the key').toEqual(['a1', 'a2', 'a3', 'b1'])
  // The other one was cancelled.
  expect([...new Set(reminded)], 'reminded').toEqual(['b'])
  for (const each of [state.shop, depot]) {
    const { register } = t.as(each)
    const left = await register.list({
      state: ['pending', 'scheduled', 'waiting', 'retrying', 'running', 'parked', 'uncertain', 'expired', 'cancelled'],
    })
    expect(left.entries, 'nothing is left, and nothing was given up').toEqual([])
  }
}

/** The first call with each idempotency key; those of one order in their order. */
function firstCalls(shipped: Shop['shipped']): string[] {
  const first = new Map<string, { readonly order: string; readonly n: number }>()
  for (const call of shipped) if (!first.has(call.key)) first.set(call.key, call)
  const inOrder = [...first.values()].toSorted((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0))
  return inOrder.map(({ order, n }) => `${order}${n}`)
}

const WORLDS: Readonly<Record<string, Partial<ExploreOptions<MemoryTransaction, Shop>>>> = {
  'one process of each service': {},
  'two processes of each service': { processes: 2 },
  'stores so slow that leases run out meanwhile': {
    processes: 2,
    crashes: 1,
    delays: '12s',
    patience: '3h',
    runs: Math.ceil(runs / 10),
  },
}

test.each(Object.entries(WORLDS))(
  '%s: each effect once, each key in order, nothing lost or parked',
  async (_, world) => {
    const { injected, runs: explored } = await explore({ app: shop, runs, from, ...world }, orders, asPromised)
    // A world in which nothing happens keeps every promise, too.
    expect(injected).toBeGreaterThan(explored / 2)
  },
)
