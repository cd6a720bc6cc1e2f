// Processes of one service that do not agree: on the time, on the version of a contract, on who is first.
import { event, request, service, type Service } from '@stathmos/sdk'
import { postgres } from '@stathmos/sdk/stores/postgres'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import { Pool, type PoolClient } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { silentLog } from '../../packages/sdk/src/log.ts'
import { systemClock } from '../../packages/sdk/src/time/clock.ts'
import { noPostgres, startPostgres, type PostgresServer } from '../peers/postgres.ts'

const HOUR_MS = 3_600_000

let server: PostgresServer
let schemas = 0

interface World {
  /** A process of the service: its machine's clock is off by so many hours. */
  process(hours?: number): Service<PoolClient>
  close(): Promise<void>
}

async function world(): Promise<World> {
  const schema = `p${++schemas}`
  const engine = memoryEngine()
  const opened: (() => Promise<unknown>)[] = []
  const store = () => {
    const pool = new Pool({ connectionString: server.url, max: 6 })
    const made = postgres(pool, { schema })
    opened.push(async () => {
      await made.close()
      await pool.end()
    })
    return made
  }
  await store().migrate()
  return {
    process: (hours = 0) =>
      service('desk', {
        store: store(),
        transport: engine.transport(),
        log: silentLog,
        clock: { ...systemClock, now: () => systemClock.now() + hours * HOUR_MS },
      }),
    async close() {
      for (const end of opened) await end()
    },
  }
}

/** Something that is waited for until it has come so many times. */
function counted<T>(): { readonly all: T[]; add(item: T): void; until(count: number): Promise<void> } {
  const all: T[] = []
  let told = (): void => {}
  return {
    all,
    add(item) {
      all.push(item)
      told()
    },
    async until(count) {
      while (all.length < count) await new Promise<void>((resolve) => (told = resolve))
    },
  }
}

const Changed = event('changed', z.object({ key: z.string(), n: z.number() })).key(({ key }) => key)
const Now = request('now', { input: z.object({}), output: z.object({}) })

describe.skipIf(noPostgres !== null)(`processes on PostgreSQL${noPostgres === null ? '' : `: ${noPostgres}`}`, () => {
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())

  test("whose clocks are hours apart agree by the database's: delays, deadlines, leases and requests", async () => {
    const { process, close } = await world()
    const handled = counted<number>()
    const apps = [process(1), process(-1)]
    for (const app of apps) {
      app.on(Changed, { name: 'note', lease: '1s', retry: { initial: '50ms' } }, ({ n }, { attempt }) => {
        if (attempt === 1) throw new Error('kept, and claimed later')
        handled.add(n)
      })
      app.answer(Now, () => ({}))
      await app.start()
    }
    const [ahead, behind] = apps
    for (const [n, app] of [ahead!, behind!].entries())
      await app.transaction((_, { publish }) =>
        publish(Changed, { key: `k${n}`, n }, { delay: '300ms', ttl: '1m', cancelKey: `${n}` }),
      )
    await handled.until(2)
    expect(handled.all.toSorted((a, b) => a - b)).toEqual([0, 1])
    for (const app of apps) expect(await app.ask(Now, {}, { timeout: '20s' })).toMatchObject({ ok: true })
    expect(await ahead!.register.count({ state: ['expired', 'parked'] })).toBe(0)
    for (const app of apps) await app.stop()
    await close()
  })

  test('of two versions: the old one parks what it does not know, and the new one handles it in its place', async () => {
    const { process, close } = await world()
    const First = event('skill', z.object({ id: z.string(), skill: z.string() })).key(({ id }) => id)
    const Second = First.next(z.object({ id: z.string(), skills: z.array(z.string()) }), ({ id, skill }) => ({
      id,
      skills: [skill],
    })).key(({ id }) => id)
    const before = counted<string>()
    const after = counted<string>()
    const old = process()
    await old.on(First, { name: 'learn' }, ({ skill }) => before.add(skill)).start()
    // It sends what it has been deployed with already, while the consumer is the old one.
    const sender = process()
    await old.transaction((_, { publish }) => publish(First, { id: 'a', skill: 'one' }))
    await before.until(1)
    await sender.store.transaction((tx) => sender.in(tx).publish(Second, { id: 'a', skills: ['two', '2'] }))
    await old.transaction((_, { publish }) => publish(First, { id: 'a', skill: 'three' }))
    while ((await old.register.count({ state: ['parked', 'waiting'] })) < 2);
    const [parked] = (await old.register.list({ state: 'parked' })).entries
    expect(parked).toMatchObject({ reason: 'unknown-contract', version: 2 })

    const next = process()
    await next.on(Second, { name: 'learn' }, ({ skills }) => after.add(skills.join())).start()
    await old.stop()
    await next.register.retry({ state: 'parked' })
    await after.until(2)
    expect([before.all, after.all]).toEqual([['one'], ['two,2', 'three']])
    await next.stop()
    await close()
  })

  test('that migrate at the same time all find the tables there', async () => {
    const schema = `p${++schemas}`
    const pools = Array.from({ length: 5 }, () => new Pool({ connectionString: server.url, max: 2 }))
    const stores = pools.map((pool) => postgres(pool, { schema }))
    await Promise.all(stores.map((store) => store.migrate()))
    for (const store of stores) await store.check()
    for (const pool of pools) await pool.end()
  })

  test('that redrive the same messages while both consume handle each once, in the order of its key', async () => {
    const { process, close } = await world()
    const handled = counted<readonly [string, number]>()
    let broken = true
    const apps = [process(), process()]
    for (const app of apps) {
      app.on(Changed, { name: 'note', retry: { attempts: 1 } }, ({ key, n }) => {
        if (broken && n % 3 === 0) throw new Error('not yet')
        handled.add([key, n])
      })
      await app.start()
    }
    const [one, other] = [apps[0]!, apps[1]!]
    const publish = async (app: Service<PoolClient>, from: number, to: number): Promise<void> => {
      for (let n = from; n < to; n++)
        await app.transaction((_, scope) => scope.publish(Changed, { key: `k${n % 4}`, n }))
    }
    await publish(one, 0, 40)
    while ((await one.register.count({ state: ['parked', 'waiting'] })) + handled.all.length < 40);
    broken = false
    const redriving = Promise.all([one, other, one, other].map((app) => app.register.retry({ state: 'parked' })))
    await publish(other, 40, 60)
    await redriving
    await handled.until(60)
    expect(new Set(handled.all.map(([, n]) => n)).size).toBe(60)
    for (let key = 0; key < 4; key++) {
      const order = handled.all.filter(([name]) => name === `k${key}`).map(([, n]) => n)
      expect(order).toEqual(order.toSorted((a, b) => a - b))
    }
    for (const app of apps) await app.stop()
    await close()
  })
})
