// Each pattern of the SDK beside handlers and plain effects, in a world where processes die between any two calls,
// connections are lost, deliveries come twice and in another order, and calls take time.
import { command, event, type Message, request, service, type AnswerOf, type Service } from '@stathmos/sdk'
import { memoryStore, type MemoryTransaction } from '@stathmos/sdk/stores/memory'
import { explore, manualClock, type Explored, type Testbed } from '@stathmos/sdk/testing'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import { expect, test } from 'vitest'
import { z } from 'zod'

/** Runs of each test. For longer sweeps, and for other ones, there are variables of the environment. */
const RUNS = 150
const runs = Number(process.env['STATHMOS_SEEDS'] ?? RUNS)
const from = Number(process.env['STATHMOS_SEED'] ?? 0)

const MINUTE_MS = 60_000

type World = Explored<MemoryTransaction> & { readonly app: readonly Service<MemoryTransaction>[] }
type Bed = Testbed<MemoryTransaction>

function declared(name: string): Service<MemoryTransaction> {
  return service(name, { store: memoryStore({ clock: manualClock() }), transport: memoryEngine().transport() })
}

/** Nothing that still has to be done, and nothing that was given up. */
async function nothingLeft(t: Bed, { app }: World): Promise<void> {
  for (const each of app) {
    const left = await t.as(each).register.list({
      state: ['pending', 'scheduled', 'waiting', 'retrying', 'running', 'parked', 'uncertain', 'expired'],
    })
    expect(left.entries).toEqual([])
  }
}

/* ---------------------------------------------------------------- requests */

const Price = request('price', {
  input: z.object({ n: z.number() }),
  output: z.object({ price: z.number() }),
  errors: { sold: z.object({ n: z.number() }) },
})
const Rebate = request('rebate', { input: z.object({ n: z.number() }), output: z.object({ percent: z.number() }) })

interface Asked extends World {
  readonly answers: Map<number, AnswerOf<typeof Price>>
  /** Requests that an answerer was given, with how much too late it was, and the request that it was asked because of. */
  readonly begun: { readonly id: string; readonly because: string | undefined; readonly lateMs: number }[]
  now: () => number
}

function asked(once: boolean): Asked {
  const shop = declared('shop')
  const office = declared('office')
  const state: Asked = { app: [shop, office], answers: new Map(), begun: [], now: () => 0 }
  const begin = ({ id, metadata }: Message): void => {
    state.begun.push({ id, because: metadata.causationId, lateMs: state.now() - metadata.deadline! })
  }
  shop.answer(
    Price,
    async ({ n }, { ask, fail, message }) => {
      begin(message)
      if (n === 3) return fail('sold', { n })
      const rebate = await ask(Rebate, { n })
      if (!rebate.ok) throw new Error(rebate.error)
      return { price: n * 100 - rebate.value.percent }
    },
    { once },
  )
  office.answer(Rebate, ({ n }, { message }) => {
    begin(message)
    return { percent: n }
  })
  return state
}

const PATIENT = [1, 2, 3, 4]
const HASTY = [5, 6]

async function askAll(t: Bed, state: Asked): Promise<void> {
  state.now = () => t.clock.now()
  const ask = async (n: number, timeout: '1m' | '60ms'): Promise<void> => {
    state.answers.set(n, await t.ask(Price, { n }, { timeout }))
  }
  await Promise.all([...PATIENT.map((n) => ask(n, '1m')), ...HASTY.map((n) => ask(n, '60ms'))])
}

/** What is answered is right, and nobody works for who waits no longer. */
function rightOrNothing({ answers, begun, app }: Asked): void {
  expect(new Set(answers.keys()), 'each has an outcome').toEqual(new Set([...PATIENT, ...HASTY]))
  for (const [n, answer] of answers) {
    if (answer.ok) expect(answer.value).toEqual({ price: n * 99 })
    else if (answer.error === 'sold') expect([n, answer.value]).toEqual([3, { n: 3 }])
    else expect(['timeout', 'failed', 'unreachable']).toContain(answer.error)
  }
  expect(begun.filter(({ lateMs }) => lateMs >= 0)).toEqual([])
  for (const { runtime } of app) expect(runtime.asker.outstanding).toBe(0)
}

test('requests: whoever dies, who has time gets the right answer', async () => {
  const { injected } = await explore({ app: () => asked(false), runs, from, losses: 0 }, askAll, (_, state) => {
    rightOrNothing(state)
    for (const n of PATIENT)
      expect(state.answers.get(n), `${n}`).toMatchObject(n === 3 ? { error: 'sold' } : { ok: true })
  })
  expect(injected).toBeGreaterThan(runs / 2)
})

test('requests: when connections are lost as well, everybody has the right answer or none', async () => {
  await explore({ app: () => asked(false), runs, from, crashes: 1, losses: 2, processes: 2 }, askAll, (_, state) =>
    rightOrNothing(state),
  )
})

test('requests: what is answered once is not begun again when its process dies', async () => {
  const world = { runs, from, losses: 0, duplicates: false }
  await explore({ app: () => asked(true), ...world }, askAll, (_, state) => {
    rightOrNothing(state)
    // What a dead process still asks for, nobody hears: it is the rebates that tell who asked for a price.
    const rebates = state.begun.filter(({ because }) => because !== undefined)
    const asking = new Map(rebates.map(({ id, because }) => [id, because]))
    expect(new Set(asking.values()).size).toBe(asking.size)
  })
})

/* ---------------------------------------------------------------- schedules */

const Count = command('count', z.object({ at: z.number() }))

function clocked(): World {
  const app = declared('clocked')
  app
    .every('*/10 * * * *', { name: 'tick', missed: 'all' }, Count, (at) => ({ at: at.getTime() }))
    .on(Count, { name: 'count', lease: '10s' }, async ({ at }, { tx, message }) => {
      const table = tx.table<{ readonly ids: readonly string[] }>('counted')
      const before = (await table.get(String(at)))?.ids ?? []
      await table.set(String(at), { ids: [...before, message.id] })
    })
  return { app: [app] }
}

test.each([1, 2])('schedules: each occurrence is handled once, with %i processes', async (processes) => {
  let startedAt = 0
  const { injected } = await explore(
    { app: clocked, runs, from, processes },
    async (t) => {
      startedAt = t.clock.now()
      await t.clock.advance('1h')
    },
    async (t, state) => {
      const first = Math.floor(startedAt / (10 * MINUTE_MS)) + 1
      const last = Math.floor(t.clock.now() / (10 * MINUTE_MS))
      const times = Array.from({ length: last - first + 1 }, (_, n) => (first + n) * 10 * MINUTE_MS)
      expect(times.length).toBeGreaterThanOrEqual(6)
      for (const at of times) {
        const row = t.table<{ readonly ids: readonly string[] }>('counted').get(String(at))
        expect(row?.ids).toEqual([`tick@${new Date(at).toISOString()}`])
      }
      expect(t.table('counted').list()).toHaveLength(times.length)
      await nothingLeft(t, state)
    },
  )
  expect(injected).toBeGreaterThan(runs / 2)
})

/* ---------------------------------------------------------------- rates, and at most once */

const Notify = command('notify', z.object({ n: z.number(), to: z.string() }))

interface Caller extends World {
  readonly calls: { readonly n: number; readonly to: string; readonly at: number }[]
  now: () => number
}

const LIMIT = 3
const MESSAGES = 16
/** Between the token and the call the store is asked, which takes time; and a process holds one token that is left over. */
const BETWEEN_MS = 500

function limited(keyed: boolean): Caller {
  const app = declared('limited')
  const state: Caller = { app: [app], calls: [], now: () => 0 }
  const key = keyed ? { key: ({ to }: { readonly to: string }) => to } : {}
  app.effect(
    Notify,
    { name: 'notify', lease: '10s', rate: { limit: LIMIT, per: '1s', ...key } },
    ({ n, to }) => void state.calls.push({ n, to, at: state.now() }),
  )
  return state
}

async function notifyAll(t: Bed, state: Caller): Promise<void> {
  state.now = () => t.clock.now()
  for (let n = 0; n < MESSAGES; n++) await t.send(Notify, { n, to: n % 2 === 0 ? 'a' : 'b' })
  await t.settled()
}

test.each([
  ['for all', false],
  ['for each key', true],
])('rates: over all processes there are never more calls than the limit %s', async (_, keyed) => {
  const processes = 2
  await explore({ app: () => limited(keyed), runs, from, processes }, notifyAll, async (t, state) => {
    expect(new Set(state.calls.map(({ n }) => n)).size, 'all were called').toBe(MESSAGES)
    for (const lane of keyed ? ['a', 'b'] : [null]) {
      const times = state.calls.filter(({ to }) => lane === null || to === lane).map(({ at }) => at)
      times.forEach((first, i) =>
        times.slice(i).forEach((last, count) => {
          const most = LIMIT + processes + Math.floor(((last - first + BETWEEN_MS) * LIMIT) / 1000)
          expect(count + 1, `calls within ${last - first} ms`).toBeLessThanOrEqual(most)
        }),
      )
    }
    await nothingLeft(t, state)
  })
})

function careless(): Caller {
  const app = declared('careless')
  const state: Caller = { app: [app], calls: [], now: () => 0 }
  app.effect(
    Notify,
    { name: 'notify', level: 'at-most-once', concurrency: 1 },
    ({ n, to }) => void state.calls.push({ n, to, at: state.now() }),
  )
  return state
}

test('at most once: nothing is called twice, and only what died on the way is not called', async () => {
  const { injected } = await explore({ app: careless, runs, from, processes: 2 }, notifyAll, async (t, state) => {
    const called = state.calls.map(({ n }) => n)
    expect(called.toSorted((a, b) => a - b)).toEqual([...new Set(called)].toSorted((a, b) => a - b))
    // What two processes had begun when they died, and one when it did not hear of its commit.
    expect(called.length).toBeGreaterThanOrEqual(MESSAGES - 3)
    await nothingLeft(t, state)
  })
  expect(injected).toBeGreaterThan(runs / 2)
})

/* ---------------------------------------------------------------- delayed messages */

const Opened = event('opened', z.object({ ticket: z.string() })).key(({ ticket }) => ticket)
const Answered = event('answered', z.object({ ticket: z.string() })).key(({ ticket }) => ticket)
const Closed = event('closed', z.object({ ticket: z.string() })).key(({ ticket }) => ticket)
const Close = command('close', z.object({ ticket: z.string() })).key(({ ticket }) => ticket)

interface Closing extends World {
  startedAt: number
  now: () => number
}

/** A ticket closes by itself an hour after it was opened, three after it was answered last, and not when it is closed. */
function closing(): Closing {
  const app = declared('desk')
  const state: Closing = { app: [app], startedAt: 0, now: () => 0 }
  const close = (ticket: string, delay: '1h' | '3h') =>
    [Close, { ticket }, { delay, cancelKey: `close:${ticket}` }] as const
  app
    .on(
      Opened,
      { name: 'open', lease: '10s' },
      async ({ ticket }, { send }) => void (await send(...close(ticket, '1h'))),
    )
    .on(Answered, { name: 'answer', lease: '10s' }, async ({ ticket }, { send }) => {
      await send(...close(ticket, '3h'))
    })
    .on(
      Closed,
      { name: 'closed', lease: '10s' },
      async ({ ticket }, { cancel }) => void (await cancel(`close:${ticket}`)),
    )
    .on(Close, { name: 'close', lease: '10s' }, async ({ ticket }, { tx }) => {
      const table = tx.table<{ readonly hours: readonly number[] }>('closed')
      const before = (await table.get(ticket))?.hours ?? []
      await table.set(ticket, { hours: [...before, (state.now() - state.startedAt) / 3_600_000] })
    })
  return state
}

test('delayed messages: each comes once and not before its time, the moved one at its new time, the cancelled one never', async () => {
  const { injected } = await explore(
    { app: closing, runs, from, processes: 2 },
    async (t, state) => {
      state.now = () => t.clock.now()
      state.startedAt = t.clock.now()
      for (const ticket of ['left', 'answered', 'closed', 'raced']) await t.publish(Opened, { ticket })
      await t.clock.advance('30m')
      await t.publish(Answered, { ticket: 'answered' })
      await t.publish(Closed, { ticket: 'closed' })
      await t.settled()
      const dueMs = state.startedAt + 3_600_000 - t.clock.now()
      if (dueMs > 0) await t.clock.advance(dueMs)
      // The one is due, and cancelled, at the same time.
      await t.publish(Closed, { ticket: 'raced' })
      await t.clock.advance('4h')
    },
    async (t, state) => {
      const closed = (ticket: string) => t.table<{ hours: readonly number[] }>('closed').get(ticket)?.hours ?? []
      const [left, answered] = [closed('left'), closed('answered')]
      expect([left.length, answered.length, closed('closed').length]).toEqual([1, 1, 0])
      // When it is due, the store decides, whose time is known but for a part of what asking for it took.
      expect(left[0]).toBeGreaterThan(0.999)
      expect(left[0]).toBeLessThan(1.1)
      expect(answered[0]).toBeGreaterThan(3.499)
      expect(answered[0]).toBeLessThan(3.6)
      expect(closed('raced').length).toBeLessThanOrEqual(1)
      await nothingLeft(t, state)
    },
  )
  expect(injected).toBeGreaterThan(runs / 2)
})
