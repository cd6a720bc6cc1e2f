import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { command } from './contract/command.ts'
import { event } from './contract/event.ts'
import { request } from './contract/request.ts'
import { SdkError } from './errors.ts'
import { service, type Service } from './service.ts'
import { memoryStore, type MemoryTransaction } from './store/memory/memory-store.ts'
import { embedded } from './transport/embedded/index.ts'
import { memoryEngine } from './transport/memory/memory-engine.ts'
import type { Capabilities, Topology, Transport } from './transport/port.ts'

const Placed = event('order.placed', z.object({ id: z.string() })).key(({ id }) => id)
const Invoice = command('invoice.send', z.object({ id: z.string() }))
const Price = request('price', { input: z.object({ item: z.string() }), output: z.object({ cents: z.number() }) })

const engines: Record<string, () => Promise<() => Transport>> = {
  async memory() {
    const engine = memoryEngine()
    return () => engine.transport()
  },
  async embedded() {
    const dataDir = await mkdtemp(join(tmpdir(), 'stathmos-declare-'))
    onTestFinished(() => rm(dataDir, { recursive: true }))
    return () => embedded({ dataDir })
  },
}

/** A service that resolves `done` when it has handled so many messages. */
function books(transport: Transport, count: number, name = 'books') {
  const handled: string[] = []
  let app: Service<MemoryTransaction>
  const done = new Promise<string[]>((resolve) => {
    const handle = ({ id }: { id: string }): void => {
      if (handled.push(id) === count) resolve(handled)
    }
    app = service(name, { store: memoryStore(), transport })
      .on(Placed, { name: 'book' }, handle)
      .effect(Invoice, { name: 'invoice' }, handle)
  })
  return { app: app!, done }
}

describe.each(Object.entries(engines))('on the %s engine', (_, make) => {
  test('a service that declared gets all that was sent before its first start', async () => {
    const transport = await make()
    await books(transport(), 0).app.declare()
    const shop = service('shop', { store: memoryStore(), transport: transport(), sends: [Placed, Invoice] })
    for (const id of ['o1', 'o2', 'o3']) await shop.createMessage(Placed, { id })
    await shop.createMessage(Invoice, { id: 'i1' })
    await shop.drain()
    expect(await shop.register.count({ direction: 'out' })).toBe(0)
    await shop.stop()
    // Another process, at another time.
    const { app, done } = books(transport(), 4)
    await app.declare()
    await app.start()
    expect((await done).toSorted()).toEqual(['i1', 'o1', 'o2', 'o3'])
    await app.stop()
  })

  test('a service that did not gets nothing of that', async () => {
    const transport = await make()
    const shop = service('shop', { store: memoryStore(), transport: transport(), sends: [Placed] })
    await shop.createMessage(Placed, { id: 'early' })
    await shop.drain()
    const { app, done } = books(transport(), 1)
    await app.start()
    await shop.createMessage(Placed, { id: 'late' })
    await shop.drain()
    expect(await done).toEqual(['late'])
    await Promise.all([shop.stop(), app.stop()])
  })
})

/** A transport that only remembers what it was asked for. */
function recording(
  more: {
    readonly capabilities?: Partial<Capabilities>
    readonly declare?: () => Promise<void>
    readonly close?: () => Promise<void>
  } = {},
) {
  const calls: string[] = []
  const topologies: Topology[] = []
  const inner = memoryEngine().transport()
  const transport: Transport = {
    name: 'recording',
    capabilities: { ...inner.capabilities, ...more.capabilities },
    async open(surroundings) {
      calls.push('open')
      await inner.open(surroundings)
    },
    async declare(topology) {
      calls.push('declare')
      topologies.push(topology)
      await more.declare?.()
      await inner.declare(topology)
    },
    send: (messages) => inner.send(messages),
    subscribe(consumer, prefetch, receive) {
      calls.push('subscribe')
      return inner.subscribe(consumer, prefetch, receive)
    },
    openReplies: (receive) => inner.openReplies(receive),
    watch: (changed) => inner.watch(changed),
    async close() {
      calls.push('close')
      await more.close?.()
      await inner.close()
    },
  }
  return { transport, calls, topologies }
}

test('it opens, declares and closes, every time, and does not ask the store', async () => {
  const { transport, calls, topologies } = recording()
  const nobody = () => Promise.reject(new SdkError('store_down', 'there is no database here'))
  const store = { ...memoryStore(), check: nobody, now: nobody } as ReturnType<typeof memoryStore>
  const app = service('shop', { store, transport, sends: [Placed] })
    .on(Invoice, { name: 'invoice' }, () => {})
    .answer(Price, () => ({ cents: 1 }))
  await app.declare()
  await app.declare()
  expect(calls).toEqual(['open', 'declare', 'close', 'open', 'declare', 'close'])
  expect(topologies[0]).toMatchObject({
    sends: [{ type: 'order.placed' }, { type: 'invoice.send' }, { type: 'price' }],
    consumers: [{ queue: 'shop.invoice' }, { queue: 'shop.price' }],
  })
})

test('more can be declared after it, and is with the next call or at the start', async () => {
  const { transport, calls, topologies } = recording()
  const app = service('shop', { store: memoryStore(), transport }).on(Invoice, { name: 'invoice' }, () => {})
  await app.drain()
  app.on(Placed, { name: 'book' }, () => {})
  await app.declare()
  expect(calls).toEqual(['open', 'declare', 'declare'])
  app.answer(Price, () => ({ cents: 1 }))
  await app.start()
  expect(topologies.map(({ consumers }) => consumers.length)).toEqual([1, 2, 3])
  expect(calls.filter((call) => call === 'subscribe')).toHaveLength(3)
  await app.declare()
  expect(topologies).toHaveLength(3)
  await app.stop()
  await app.declare()
  expect(calls.slice(-4)).toEqual(['close', 'open', 'declare', 'close'])
})

test('who starts or sends meanwhile keeps the connection', async () => {
  for (const meanwhile of ['start', 'drain'] as const) {
    const { transport, calls } = recording()
    const app = service('shop', { store: memoryStore(), transport }).on(Invoice, { name: 'invoice' }, () => {})
    await Promise.all([app.declare(), app.declare(), app[meanwhile](), app.declare()])
    expect(calls.filter((call) => call === 'open' || call === 'close')).toEqual(['open'])
    await app.stop()
    expect(calls.at(-1)).toBe('close')
  }
})

test('who starts while it disconnects waits for that, and connects anew', async () => {
  let disconnected = (): void => {}
  const closing = new Promise<void>((resolve) => (disconnected = resolve))
  const { transport, calls } = recording({ close: () => closing })
  const app = service('shop', { store: memoryStore(), transport }).on(Invoice, { name: 'invoice' }, () => {})
  const declaring = app.declare()
  while (!calls.includes('close')) await Promise.resolve()
  const starting = app.start()
  disconnected()
  await Promise.all([declaring, starting])
  expect(calls).toEqual(['open', 'declare', 'close', 'open', 'declare', 'subscribe'])
  await app.stop()
})

describe('what start would refuse is refused', () => {
  test('an ordered handler where nobody keeps the order, and answers where nobody carries replies: before anybody is asked', async () => {
    const unordered = recording({ capabilities: { ordering: false } })
    const app = service('shop', { store: memoryStore(), transport: unordered.transport })
    app.on(Placed, { name: 'book' }, () => {})
    await expect(app.declare()).rejects.toMatchObject({ code: 'capability_missing' })
    const mute = recording({ capabilities: { replies: false } })
    const desk = service('desk', { store: memoryStore(), transport: mute.transport }).answer(Price, () => ({
      cents: 1,
    }))
    await expect(desk.declare()).rejects.toMatchObject({ code: 'capability_missing' })
    await expect(desk.start()).rejects.toMatchObject({ code: 'capability_missing' })
    expect([...unordered.calls, ...mute.calls]).toEqual([])
  })

  test('a schedule that cannot be read', async () => {
    const { transport, calls } = recording()
    const app = service('shop', { store: memoryStore(), transport })
    app.every('at noon', { name: 'noon' }, Invoice, () => ({ id: 'i1' }))
    await expect(app.declare()).rejects.toMatchObject({ code: 'invalid_declaration' })
    expect(calls).toEqual([])
  })

  test('what the engine does not take; nothing stays open', async () => {
    let refusals = 1
    const { transport, calls } = recording({
      declare: () => (refusals-- > 0 ? Promise.reject(new SdkError('invalid_declaration', 'no')) : Promise.resolve()),
    })
    const app = service('shop', { store: memoryStore(), transport }).on(Invoice, { name: 'invoice' }, () => {})
    await expect(app.declare()).rejects.toThrow('no')
    await app.declare()
    expect(calls).toEqual(['open', 'declare', 'close', 'open', 'declare', 'close'])
  })
})
