import { beforeEach, describe, expect, test } from 'vitest'
import { silentLog } from '../log.ts'
import { service } from '../service.ts'
import { memoryStore, type MemoryTransaction } from '../store/memory/memory-store.ts'
import { memoryEngine } from '../transport/memory/index.ts'
import type { Transport } from '../transport/port.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Outbox } from './outbox.ts'

let world: OutboxWorld

beforeEach(() => {
  world = new OutboxWorld()
})

let processes = 0

/** A process of a service that sends over an engine. */
function processOf(name: string, engine: string | null | (() => string)): Outbox<MemoryTransaction> {
  const { transport: shared } = world
  const transport: Transport = {
    name: shared.name,
    capabilities: shared.capabilities,
    get engine() {
      return typeof engine === 'function' ? engine() : engine
    },
    open: () => shared.open(),
    declare: () => shared.declare(),
    send: (messages) => shared.send(messages),
    subscribe: () => shared.subscribe(),
    openReplies: () => shared.openReplies(),
    watch: (changed) => shared.watch(changed),
    close: () => shared.close(),
  }
  return new Outbox<MemoryTransaction>({ ...world.process(`host:${++processes}:aaaa`), service: name, transport })
}

type Running = readonly [service: string, engine: string | null]

async function running(name: string, engine: string | null): Promise<Outbox<MemoryTransaction>> {
  const outbox = processOf(name, engine)
  await outbox.start()
  await world.clock.settle()
  return outbox
}

const refusal = { code: 'invalid_declaration', retryable: false, data: { service: 'billing', other: 'helpdesk' } }

describe('a service whose outbox another one sends over another engine', () => {
  test('is not started, told why and what to do, and the other one goes on', async () => {
    await running('helpdesk', 'one')
    const start = processOf('billing', 'two').start()
    await expect(start).rejects.toMatchObject(refusal)
    await expect(start).rejects.toThrow(/service helpdesk .* another engine .* prefix or schema of its own/)
    await world.clock.advance('20s')
    expect((await world.store.outbox.owners()).map((owner) => owner.split(' ')[1])).toEqual(['helpdesk'])
    await world.commit({ id: 'm1' })
    await world.clock.settle()
    expect(world.sent()).toEqual(['m1'])
  })

  test('is not drained, either', async () => {
    await running('helpdesk', 'one')
    await expect(processOf('billing', 'two').drain()).rejects.toMatchObject(refusal)
  })

  test('is started when the other one is stopped, or was not heard of for as long as its lease', async () => {
    const helpdesk = await running('helpdesk', 'one')
    await helpdesk.stop()
    const billing = await running('billing', 'two')
    await billing.stop()
    await world.store.outbox.lease('host:9:aaaa helpdesk 0123456789abcdef', 15_000)
    await expect(processOf('billing', 'two').start()).rejects.toMatchObject(refusal)
    await world.clock.advance('15s')
    await (await running('billing', 'two')).stop()
  })
})

test.each<[string, Running, Running]>([
  ['processes of one service, which moves to another engine', ['helpdesk', 'one'], ['helpdesk', 'two']],
  ['services that share an engine', ['helpdesk', 'one'], ['billing', 'one']],
  ['services of which one knows no name of its engine', ['helpdesk', null], ['billing', 'two']],
  ['services of which the other knows no name of its engine', ['helpdesk', 'one'], ['billing', null]],
])('%s share an outbox', async (_, first, second) => {
  await running(...first)
  await running(...second)
  await world.clock.advance('20s')
  expect(await world.store.outbox.owners()).toHaveLength(2)
})

test('a relay that is connected to another engine says so with its next lease, and stays one relay', async () => {
  let engine = 'one'
  await processOf('helpdesk', () => engine).start()
  await world.clock.settle()
  const [before] = await world.store.outbox.owners()
  engine = 'two'
  await world.clock.advance('6s')
  const after = await world.store.outbox.owners()
  expect([after.length, after[0] === before]).toEqual([1, false])
  await running('billing', 'two')
})

test('a service does not start among the tables of another one with an engine of its own', async () => {
  const store = memoryStore()
  const [helpdesk, billing] = ['helpdesk', 'billing'].map((name) =>
    service(name, { store, transport: memoryEngine().transport(), log: silentLog }),
  )
  await helpdesk!.start()
  while ((await store.outbox.owners()).length === 0) await new Promise((resolve) => setImmediate(resolve))
  await expect(billing!.start()).rejects.toMatchObject(refusal)
  await helpdesk!.stop()
  await billing!.start()
  await billing!.stop()
})
