import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { command } from './contract/command.ts'
import { event } from './contract/event.ts'
import { request } from './contract/request.ts'
import { SdkError } from './errors.ts'
import { silentLog } from './log.ts'
import { service } from './service.ts'
import { memoryStore } from './store/memory/memory-store.ts'
import { manualClock } from './testing/manual-clock.ts'
import { systemClock } from './time/clock.ts'
import { memoryEngine } from './transport/memory/memory-engine.ts'
import type { Transport } from './transport/port.ts'

const Placed = event('order.placed', z.object({ id: z.string(), amount: z.number() })).key(({ id }) => id)
const Invoice = command('invoice.send', z.object({ id: z.string() })).key(({ id }) => id)
const Price = request('price', {
  input: z.object({ item: z.string() }),
  output: z.object({ cents: z.number() }),
  errors: { unknown: z.object({ item: z.string() }) },
})

const engine = () => memoryEngine()

test('an order that is placed in a transaction is booked once, invoiced once, and asked for its price', async () => {
  const store = memoryStore({ clock: systemClock })
  const app = service('shop', { store, transport: engine().transport() })
  const invoiced: string[] = []
  const done = new Promise<void>((resolve) => {
    app
      .on(Placed, { name: 'book' }, async ({ id, amount }, { tx, send }) => {
        await tx.table<number>('booked').set(id, amount)
        await send(Invoice, { id })
      })
      .effect(Invoice, { name: 'invoice' }, ({ id }) => {
        invoiced.push(id)
        if (invoiced.length === 2) resolve()
      })
      .answer(Price, ({ item }, { fail }) => (item === 'pen' ? { cents: 120 } : fail('unknown', { item })))
  })
  await app.migrate()
  await app.start()
  await app.transaction(async (tx, { publish }) => {
    await tx.table<string>('orders').set('o1', 'new')
    await publish(Placed, { id: 'o1', amount: 7 })
  })
  await expect(
    store.transaction(async (tx) => {
      await app.in(tx).publish(Placed, { id: 'lost', amount: 1 })
      throw new Error('rolled back')
    }),
  ).rejects.toThrow('rolled back')
  await store.transaction(async (tx) => {
    await app.in(tx).publish(Placed, { id: 'o2', amount: 8 })
  })
  await done
  expect(invoiced.toSorted()).toEqual(['o1', 'o2'])
  expect(await app.ask(Price, { item: 'pen' })).toEqual({ ok: true, value: { cents: 120 } })
  expect(await app.ask(Price, { item: 'gold' })).toMatchObject({ ok: false, error: 'unknown' })
  await app.stop()
})

test('nothing is sent before the commit: who answers at once finds what the asking wrote [MassTransit#573]', async () => {
  const clock = manualClock()
  const store = memoryStore({ clock })
  const app = service('shop', { store, transport: engine().transport(), clock })
  const Invoiced = event('invoice.sent', z.object({ id: z.string() })).key(({ id }) => id)
  const found: unknown[] = []
  let end = (): void => {}
  app
    .on(Placed, { name: 'begin' }, async ({ id }, { tx, send }) => {
      await send(Invoice, { id })
      await new Promise<void>((resolve) => (end = resolve))
      await tx.table<string>('orders').set(id, 'waits for its invoice')
    })
    .on(Invoice, { name: 'invoice' }, async ({ id }, { publish }) => void (await publish(Invoiced, { id })))
    .on(Invoiced, { name: 'go-on' }, async ({ id }, { tx }) => {
      found.push(await tx.table<string>('orders').get(id))
    })
  await app.start()
  await app.createMessage(Placed, { id: 'o1', amount: 1 })
  await clock.advance('1s')
  expect(found).toEqual([])
  end()
  await clock.advance('1s')
  expect(found).toEqual(['waits for its invoice'])
  await app.stop()
})

test('what a transaction publishes without waiting for it is part of it all the same', async () => {
  const app = service('shop', { store: memoryStore(), transport: engine().transport() })
  const id = await app.transaction(async (_, { publish }) => {
    void publish(Placed, { id: 'o1', amount: 1 })
    return publish(Placed, { id: 'o1', amount: 2 })
  })
  const { entries } = await app.register.list({ direction: 'out' })
  expect(entries.map(({ message }) => message?.keySeq)).toEqual([1, 2])
  expect(entries[1]?.id).toBe(id)
})

test('a transaction whose message cannot be made commits nothing, whoever looks at the error', async () => {
  const store = memoryStore()
  const app = service('shop', { store, transport: engine().transport() })
  const wrong = { id: 'o1', amount: 'much' } as unknown as { id: string; amount: number }
  const place = app.transaction(async (tx, { publish }) => {
    await tx.table<string>('orders').set('o1', 'new')
    publish(Placed, wrong).catch(() => {})
  })
  await expect(place).rejects.toMatchObject({ code: 'invalid_data' })
  expect(store.table('orders').list()).toEqual([])
})

test('what is published after the end of a transaction is refused', async () => {
  const app = service('shop', { store: memoryStore(), transport: engine().transport() })
  const late = await app.transaction((_, { publish }) => Promise.resolve(publish))
  await expect(late(Placed, { id: 'o1', amount: 1 })).rejects.toMatchObject({ code: 'transaction_over' })
})

test("nothing of a request's async context is in the handlers of what it sent and asked", async () => {
  const requests = new AsyncLocalStorage<string>()
  const clock = manualClock()
  const app = service('shop', { store: memoryStore({ clock }), transport: engine().transport(), clock })
  const seen: unknown[] = []
  const see = () => void seen.push(requests.getStore())
  app
    .on(Placed, { name: 'book' }, see)
    .effect(Placed, { name: 'mail' }, see)
    .answer(Price, () => {
      see()
      return { cents: 1 }
    })
  await app.start()
  await requests.run('of ann', async () => {
    await app.createMessage(Placed, { id: 'o1', amount: 1 })
    await app.ask(Price, { item: 'pen' })
  })
  await clock.advance('1s')
  await app.stop()
  expect(seen).toEqual([undefined, undefined, undefined])
})

test('asking before the start is refused at once', async () => {
  const app = service('shop', { store: memoryStore(), transport: engine().transport() })
  await expect(app.ask(Price, { item: 'pen' })).rejects.toMatchObject({ code: 'not_started' })
})

test('what was not sent before a stop is sent after the next start', async () => {
  const app = service('shop', { store: memoryStore({ clock: systemClock }), transport: engine().transport() })
  const seen: string[] = []
  let heard: () => void = () => {}
  const done = new Promise<void>((resolve) => (heard = resolve))
  app.on(Placed, { name: 'book' }, ({ id }) => {
    seen.push(id)
    heard()
  })
  await app.migrate()
  await app.transaction(async (_, { publish }) => void (await publish(Placed, { id: 'early', amount: 1 })))
  await app.start()
  await done
  await app.stop()
  await app.start()
  await app.stop()
  expect(seen).toEqual(['early'])
})

describe('a function that lives as long as one call', () => {
  test('sends what is due without starting, and ends the connection when it is stopped; and can go on after that', async () => {
    const memory = engine()
    const transport = memory.transport()
    let open = 0
    const counted: Transport = Object.assign(Object.create(transport) as Transport, {
      open: (...all: Parameters<Transport['open']>) => transport.open(...all).then(() => void open++),
      declare: (...all: Parameters<Transport['declare']>) => transport.declare(...all),
      send: (...all: Parameters<Transport['send']>) => transport.send(...all),
      close: () => transport.close().then(() => void open--),
    })
    const app = service('shop', { store: memoryStore(), transport: counted })
    for (let life = 0; life < 2; life++) {
      await app.createMessage(Placed, { id: `o${life}`, amount: 1 })
      await Promise.all([app.drain(), app.drain()])
      expect([await app.register.count({ direction: 'out' }), open]).toEqual([0, 1])
      await app.stop()
      expect(open).toBe(0)
    }
  })

  test('declares at its next call what the engine refused at first', async () => {
    const transport = engine().transport()
    let refusals = 1
    const declare = transport.declare.bind(transport)
    transport.declare = async (topology) => {
      if (refusals-- > 0) throw new SdkError('refused', 'not now')
      await declare(topology)
    }
    const app = service('shop', { store: memoryStore(), transport, sends: [Placed] })
    await app.createMessage(Placed, { id: 'o1', amount: 1 })
    await expect(app.drain()).rejects.toMatchObject({ code: 'refused' })
    await app.drain()
    expect(refusals).toBe(-1)
    expect(await app.register.count({ direction: 'out' })).toBe(0)
    await app.stop()
  })
})

test('what cannot be is refused where it is declared', () => {
  const app = service('shop', { store: memoryStore({ clock: systemClock }), transport: engine().transport() })
  app.on(Invoice, { name: 'invoice' }, () => {})
  expect(() => app.on(Invoice, { name: 'again' }, () => {})).toThrow('a command has one owner')
  expect(() => app.on(Placed, { name: 'invoice' }, () => {})).toThrow('two handlers have the name "invoice"')
  expect(() => service('No Name', { store: app.store, transport: engine().transport() })).toThrow(
    'cannot name a service',
  )
})

test('a contract is one value in a service, wherever it is named; two of one name and kind are refused', () => {
  const twice = () => event('order.placed', z.object({ id: z.string() }))
  const [one, other] = [twice(), twice()]
  const surroundings = { store: memoryStore(), transport: engine().transport() }
  const app = service('shop', { ...surroundings, sends: [one, one] })
  app.on(one, { name: 'book' }, () => {}).effect(one, { name: 'mail' }, () => {})
  app.every('0 5 * * *', { name: 'nightly' }, one, () => ({ id: 'o1' }))
  const refusal = 'the event "order.placed" is there as two different values'
  expect(() => app.on(other, { name: 'copy' }, () => {})).toThrow(refusal)
  expect(() => app.on(one.sendAs(1), { name: 'older' }, () => {})).toThrow(refusal)
  expect(() => app.every('0 6 * * *', { name: 'morning' }, other, () => ({ id: 'o1' }))).toThrow(refusal)
  expect(() => service('shop', { ...surroundings, sends: [one, other] })).toThrow(refusal)
  expect(app.describe().handlers.map(({ consumer }) => consumer)).toEqual(['shop.book', 'shop.mail'])
  expect(app.describe().schedules.map(({ name }) => name)).toEqual(['nightly'])
})

test('handlers that share a rate declare the same one', () => {
  const app = service('shop', {
    store: memoryStore(),
    transport: engine().transport(),
    settings: [{ system: 'the erp', contracts: [Placed, Invoice], rate: { limit: 10, per: '1s' } }],
  })
  const { rate } = app.settings.handling('the erp')
  app.effect(Placed, { name: 'one', ...app.settings.handling('the erp') }, () => {})
  app.effect(Invoice, { name: 'two', ...app.settings.handling('the erp') }, () => {})
  expect(app.describe().handlers.map((each) => each.rate?.sharedAs)).toEqual(['the erp', 'the erp'])
  expect(() => app.effect(Placed, { name: 'three', rate: { ...rate!, limit: 20 } }, () => {})).toThrow(
    'share the rate "the erp" and declare it differently',
  )
})

test('nothing can be declared once the service has started: what runs would not know of it', async () => {
  const app = service('shop', { store: memoryStore({ clock: systemClock }), transport: engine().transport() })
  app.on(Invoice, { name: 'invoice' }, () => {})
  await app.start()
  expect(() => app.on(Placed, { name: 'late' }, () => {})).toThrow('declare it before')
  await app.stop()
})

test('a service that cannot start leaves nothing running, and can be started when what was missing is there', async () => {
  const store = memoryStore({ clock: systemClock })
  let missing = true
  const check = (): Promise<void> => (missing ? Promise.reject(new Error('no tables')) : Promise.resolve())
  const app = service('shop', { store: { ...store, check } as typeof store, transport: engine().transport() })
  app.on(Invoice, { name: 'invoice' }, () => {})
  await expect(app.start()).rejects.toThrow('no tables')
  expect(app.runtime.surroundings.activity.idle).toBe(true)
  missing = false
  await app.start()
  await app.stop()
})

test('a service describes itself: what it handles, and what guarantee each handler has', () => {
  const app = service('shop', { store: memoryStore({ clock: systemClock }), transport: engine().transport() })
  app.on(Placed, { name: 'book' }, () => {}).effect(Invoice, { name: 'invoice' }, () => {})
  app.answer(Price, () => ({ cents: 1 })).every('0 3 * * *', { name: 'nightly' }, Invoice, () => ({ id: 'all' }))
  const description = app.describe()
  expect(description).toMatchObject({
    service: 'shop',
    answers: ['price'],
    schedules: [{ name: 'nightly', expression: '0 3 * * *', timeZone: 'UTC', contract: 'invoice.send' }],
  })
  expect(description.handlers.map(({ consumer, level, order }) => [consumer, level, order])).toEqual([
    ['shop.book', 'exactly-once', 'per key'],
    ['shop.invoice', 'at-least-once', 'per key'],
  ])
  expect(description.contracts.map(({ name }) => name).toSorted()).toEqual(['invoice.send', 'order.placed', 'price'])
})

test('other systems create messages over HTTP, once for each of their keys', async () => {
  const app = service('shop', { store: memoryStore({ clock: systemClock }), transport: engine().transport() })
  const { fetch } = app.http({ accept: [Placed] })
  const post = (amount: number): Promise<Response> =>
    fetch(
      new Request('http://shop/messages/order.placed', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'erp-4711' },
        body: JSON.stringify({ id: 'o1', amount }),
      }),
    )
  const [first, again] = [await post(1), await post(1)]
  expect([first.status, again.status]).toEqual([202, 202])
  expect(await first.json()).toMatchObject({ id: ((await again.json()) as { id: string }).id })
  expect((await post(2)).status).toBe(422)
  expect(await app.register.count({ direction: 'out' })).toBe(1)
})

test('a service that is stopped while it starts runs nothing afterwards', async () => {
  const app = service('shop', { store: memoryStore({ clock: systemClock }), transport: engine().transport() })
  const seen: string[] = []
  app.on(Placed, { name: 'book' }, ({ id }) => void seen.push(id))
  await app.migrate()
  const starting = app.start()
  await app.stop()
  await starting
  await app.createMessage(Placed, { id: 'late', amount: 1 })
  expect(app.runtime.surroundings.activity.idle).toBe(true)
  expect(seen).toEqual([])
})

test('stopping twice waits twice for the handlers that run', async () => {
  const app = service('shop', { store: memoryStore({ clock: systemClock }), transport: engine().transport() })
  let finish = (): void => {}
  const begun = new Promise<void>((resolve) => {
    app.on(Placed, { name: 'book' }, () => {
      resolve()
      return new Promise<void>((done) => (finish = done))
    })
  })
  await app.migrate()
  await app.start()
  await app.createMessage(Placed, { id: 'o1', amount: 1 })
  await begun
  const stopped: number[] = []
  const stops = [1, 2].map((number) => app.stop().then(() => stopped.push(number)))
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect(stopped).toEqual([])
  finish()
  await Promise.all(stops)
})

test('handlers that never end are left behind at the stop, and what they do takes effect once all the same', async () => {
  const clock = manualClock()
  const store = memoryStore({ clock })
  const shared = engine()
  const wake: (() => void)[] = []
  const signals: AbortSignal[] = []
  const shop = (transport: Transport) =>
    service('shop', { store, transport, clock })
      .on(Placed, { name: 'book' }, async ({ id }, { tx, signal }) => {
        signals.push(signal)
        await new Promise<void>((resolve) => wake.push(resolve))
        await tx.table<number>('booked').set(id, ((await tx.table<number>('booked').get(id)) ?? 0) + 1)
      })
      .answer(Price, (_, { signal }) => {
        signals.push(signal)
        return new Promise(() => {})
      })
  const deaf = shop(shared.transport())
  await deaf.migrate()
  await deaf.start()
  await deaf.createMessage(Placed, { id: 'o1', amount: 1 })
  const asking = deaf.ask(Price, { item: 'pen' })
  await clock.settle()
  let stopped = false
  const stopping = deaf.stop().then(() => (stopped = true))
  await clock.advance('24s')
  expect([signals.map(({ aborted }) => aborted), stopped]).toEqual([[true, true], false])
  await clock.advance('1s')
  await stopping
  await clock.advance('5s')
  expect(await asking).toMatchObject({ ok: false, error: 'timeout' })

  // Another process gets the message again, and waits for the outcome of the transaction that is still open.
  const next = shop(shared.transport())
  await next.start()
  for (let turn = 0; turn < 10; turn++) {
    await clock.advance('5s')
    for (const resolve of wake.splice(0)) resolve()
  }
  expect(store.table<number>('booked').get('o1')).toBe(1)
  expect(await next.register.count({ state: 'done' })).toBe(1)
  await next.stop()
})

test("who asks and who answers agree on deadlines by their stores' clocks, whatever those of their machines say", async () => {
  const shared = engine()
  const off = (hours: number) => ({ ...systemClock, now: () => systemClock.now() + hours * 3_600_000 })
  const start = async (name: string, hours: number, answers: boolean) => {
    const store = memoryStore({ clock: systemClock })
    const app = service(name, { store, transport: shared.transport(), clock: off(hours) })
    const begun: number[] = []
    if (answers)
      app.answer(Price, (_, { message }) => {
        begun.push(message.metadata.deadline! - systemClock.now())
        return { cents: 1 }
      })
    await app.start()
    return { app, begun }
  }
  const ahead = await start('prices', 1, true)
  const behind = await start('desk', -1, false)
  expect(await behind.app.ask(Price, { item: 'pen' }, { timeout: '30s' })).toMatchObject({ ok: true })
  expect(ahead.begun[0]).toBeGreaterThan(0)
  expect(ahead.begun[0]).toBeLessThanOrEqual(31_000)
  await behind.app.stop()
  await ahead.app.stop()
})

test("delays go by the store's clock before the service is started, too", async () => {
  const clock = { ...systemClock, now: () => systemClock.now() + 3_600_000 }
  const store = memoryStore({ clock: systemClock })
  const app = service('shop', { store, transport: engine().transport(), clock })
  await app.transaction((_, { send }) => send(Invoice, { id: 'o1' }, { delay: '1h' }))
  await app.createMessage(Invoice, { id: 'o2' }, { delay: '1h' })
  const { entries } = await app.register.list({ state: 'scheduled' })
  const latest = systemClock.now() + 3_600_000
  expect(entries.map(({ dueAt }) => dueAt! <= latest)).toEqual([true, true])
})

describe('the version of the program', () => {
  const failing = (version?: string) => {
    const clock = manualClock()
    const store = memoryStore({ clock })
    const [transport, log] = [engine().transport(), silentLog]
    const options = { store, transport, clock, log, ...(version === undefined ? {} : { version }) }
    const app = service('shop', options).on(Invoice, { name: 'invoice', retry: { attempts: 1 } }, () => {
      throw new Error('no paper')
    })
    const errors = async () => {
      await app.start()
      await app.createMessage(Invoice, { id: 'o1' })
      await clock.advance('1s')
      const { entries } = await app.register.list({ direction: 'in', state: 'parked' })
      await app.stop()
      return entries[0]!.errors
    }
    return { app, errors }
  }

  test('is in the history of what failed, when the service says one', async () => {
    expect(await failing('1.4.2').errors()).toMatchObject([{ message: 'no paper', version: '1.4.2' }])
    expect((await failing().errors())[0]).not.toHaveProperty('version')
  })

  test.each(['', 'x'.repeat(101), '1\0', 7 as unknown as string])('cannot be %j', (version) => {
    expect(() => failing(version)).toThrowError(expect.objectContaining({ code: 'invalid_declaration' }))
  })
})
