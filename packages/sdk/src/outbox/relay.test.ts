import { beforeEach, describe, expect, test } from 'vitest'
import { SdkError } from '../errors.ts'
import { silentLog } from '../log.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Outbox, type OutboxOptions } from './outbox.ts'
import type { RelayOptions } from './relay-options.ts'

let world: OutboxWorld

beforeEach(() => {
  world = new OutboxWorld()
})

async function running(options: RelayOptions = {}, name?: string, more: OutboxOptions = {}) {
  const outbox = new Outbox<MemoryTransaction>(world.process(name), { ...more, relay: options })
  await outbox.start()
  await world.clock.settle()
  return outbox
}

const ids = (count: number, from = 1): string[] => Array.from({ length: count }, (_, i) => `m${i + from}`)
const refused = (retryable: boolean): SdkError => new SdkError('refused', 'the queue is full', { retryable })
const down = (): SdkError => new SdkError('transport_down', 'nobody there', { retryable: true })

describe('sending', () => {
  test('what was committed is sent in the order of the commits, and forgotten', async () => {
    await running()
    await world.commit({ id: 'm1', key: 'a' }, { id: 'm2', key: 'a' })
    await world.commit({ id: 'm3', key: 'a' })
    await world.clock.settle()
    expect(world.sent()).toEqual(['m1', 'm2', 'm3'])
    expect(world.transport.sent.map(({ keySeq }) => keySeq)).toEqual([1, 2, 3])
    expect(await world.states()).toEqual({})
  })

  test('messages of another service in the same outbox are sent, and the operator is told of it once', async () => {
    const told: object[] = []
    const log = { ...silentLog, warn: (fields: object) => void told.push(fields) }
    const outbox = new Outbox<MemoryTransaction>({ ...world.process(), log })
    await outbox.start()
    await world.commit({ id: 'm1', source: 'billing' }, { id: 'm2' }, { id: 'm3', source: 'billing' })
    await world.clock.advance('2s')
    expect(world.sent()).toEqual(['m1', 'm2', 'm3'])
    expect(told).toEqual([{ service: 'helpdesk', source: 'billing' }])
  })

  test('what was sent is kept for the register where that is wanted', async () => {
    await running({ keepSent: true })
    await world.commit({ id: 'm1' })
    await world.clock.settle()
    expect(await world.states()).toEqual({ m1: 'sent' })
  })

  test('large messages go out in batches of so many bytes, and larger ones alone', async () => {
    const body = (bytes: number) => ({ body: new Uint8Array(bytes) })
    await world.commit(...[400, 400, 400, 900, 100, 100, 100].map((bytes, i) => ({ id: `m${i + 1}`, ...body(bytes) })))
    await running({ batchBytes: 800 })
    await world.clock.settle()
    expect(world.sent()).toEqual(ids(7))
    expect(world.transport.batches).toEqual([2, 1, 1, 3])
  })

  test('a backlog goes out in batches, each key in its order', async () => {
    await world.commit(...ids(1000).map((id, i) => ({ id, key: `k${i % 7}` })))
    await running({ batch: 100, lanes: 3 })
    await world.clock.settle()
    expect(world.sent()).toHaveLength(1000)
    expect(world.transport.batches.length).toBeLessThan(40)
    for (let key = 0; key < 7; key++) {
      const order = world.transport.sent.filter((message) => message.key === `k${key}`).map(({ keySeq }) => keySeq)
      expect(order).toEqual(order.map((_, i) => i + 1))
    }
  })

  test('processes share the buckets, and each message is sent by one of them', async () => {
    await running({}, 'a')
    await running({}, 'b')
    await world.clock.advance('20s')
    await world.commit(...ids(200).map((id) => ({ id, key: id })))
    await world.clock.advance('5s')
    expect(world.sent().toSorted()).toEqual(ids(200).toSorted())
    expect(world.transport.batches.length).toBeGreaterThanOrEqual(2)
  })

  test('the lag, the depth and the age of the oldest message are told', async () => {
    const { telemetry } = world
    world.transport.answer = () => {
      throw down()
    }
    await running()
    await world.commit({ id: 'm1' }, { id: 'm2' })
    await world.clock.advance('3s')
    expect(await telemetry.gauge(METRIC.outboxPending)).toBe(2)
    expect(await telemetry.gauge(METRIC.outboxOldestAge)).toBe(3)
    world.transport.answer = () => 'sent'
    world.transport.tell(true)
    await world.clock.settle()
    expect(telemetry.counts.get(METRIC.sent)).toBe(2)
  })
})

describe('noticing', () => {
  test('a message of an own transaction that nobody told of is found within milliseconds', async () => {
    // A database that tells nobody anything.
    const deaf = Object.assign({}, world.store, { watch: () => () => {} })
    const outbox = new Outbox<MemoryTransaction>({ ...world.process(), store: deaf })
    await outbox.start()
    await world.clock.advance('1m')
    await world.store.transaction(async (tx) => {
      await outbox.in(tx).publishAll([])
      await world.store.outbox.add(tx, [world.draft({ id: 'm1' })])
    })
    const { event } = await import('../contract/event.ts')
    const { z } = await import('zod')
    const Happened = event('it.happened', z.object({}))
    await world.store.transaction((tx) => outbox.in(tx).publish(Happened, {}, { id: 'm2' }))
    await world.clock.advance('2ms')
    expect(world.sent()).toEqual(['m1', 'm2'])
  })

  test('a message of another process is found by looking, at the latest after a second', async () => {
    const deaf = Object.assign({}, world.store, { watch: () => () => {} })
    const outbox = new Outbox<MemoryTransaction>({ ...world.process(), store: deaf })
    await outbox.start()
    await world.clock.advance('1m')
    await world.commit({ id: 'm1' })
    await world.clock.advance('1s')
    expect(world.sent()).toEqual(['m1'])
  })

  test('an idle relay asks about once a second, not more', async () => {
    let looks = 0
    const store = Object.assign({}, world.store, {
      outbox: Object.assign(Object.create(world.store.outbox) as typeof world.store.outbox, {
        due: (...args: Parameters<typeof world.store.outbox.due>) => {
          looks++
          return world.store.outbox.due(...args)
        },
        lease: (owner: string, ms: number) => world.store.outbox.lease(owner, ms),
        owners: () => world.store.outbox.owners(),
        nextDue: (buckets: readonly number[]) => world.store.outbox.nextDue(buckets),
      }),
    })
    const outbox = new Outbox<MemoryTransaction>({ ...world.process(), store })
    await outbox.start()
    await world.clock.advance('10s')
    looks = 0
    await world.clock.advance('1m')
    expect(looks).toBeLessThan(80)
  })
})

describe('a message that cannot be sent', () => {
  test('is tried again, holds back its key and nobody else [MassTransit#6216]', async () => {
    world.transport.answer = ({ id }) => (id === 'm1' ? refused(true) : 'sent')
    await running()
    await world.commit({ id: 'm1', key: 'a' })
    await world.clock.settle()
    await world.commit({ id: 'm2', key: 'a' }, { id: 'm3', key: 'b' }, { id: 'm4' })
    await world.clock.settle()
    expect(world.sent()).toEqual(['m3', 'm4'])
    world.transport.answer = () => 'sent'
    await world.clock.advance('2s')
    expect(world.sent()).toEqual(['m3', 'm4', 'm1', 'm2'])
  })

  test('parks its key after the last attempt; an operator may let it go on', async () => {
    world.transport.answer = ({ id }) => (id === 'm1' ? refused(true) : 'sent')
    await running({ retry: { attempts: 3 } })
    await world.commit({ id: 'm1', key: 'a' })
    await world.clock.advance('1m')
    await world.commit({ id: 'm2', key: 'a' })
    await world.clock.advance('1m')
    expect(await world.states()).toEqual({ m1: 'parked', m2: 'pending' })
    const [parked] = (await world.store.register.list({ id: 'm1' }, 1, null)).entries
    expect(parked!.errors.map(({ attempt, name }) => [attempt, name])).toEqual([
      [1, 'refused'],
      [2, 'refused'],
      [3, 'refused'],
    ])
    expect(await world.telemetry.gauge(METRIC.outboxParkedKeys)).toBe(1)
    world.transport.answer = () => 'sent'
    await world.store.register.retry([{ direction: 'out', consumer: '', id: 'm1' }])
    await world.clock.advance('2s')
    expect(world.sent()).toEqual(['m1', 'm2'])
  })

  test('is parked alone when it has no key', async () => {
    world.transport.answer = ({ id }) => (id === 'm1' ? refused(false) : 'sent')
    await running()
    await world.commit({ id: 'm1' }, { id: 'm2' })
    await world.clock.settle()
    expect(await world.states()).toEqual({ m1: 'parked' })
    expect(world.sent()).toEqual(['m2'])
  })

  test('is forgotten where that is wanted', async () => {
    world.transport.answer = () => refused(false)
    await running({ onExhausted: 'drop' })
    await world.commit({ id: 'm1', key: 'a' })
    await world.clock.settle()
    expect(await world.states()).toEqual({})
  })

  test('is not tried a second time when that cannot help', async () => {
    world.transport.answer = () => refused(false)
    await running()
    await world.commit({ id: 'm1', key: 'a' })
    await world.clock.advance('1m')
    expect(world.transport.batches).toEqual([1])
    expect(await world.states()).toEqual({ m1: 'parked' })
  })

  test('holds back the rest of its key in the same batch when it is known before', async () => {
    await world.commit(
      { id: 'm1', key: 'a', body: new Uint8Array(1001) },
      { id: 'm2', key: 'a' },
      { id: 'm3', key: 'b' },
    )
    await running()
    await world.clock.settle()
    expect(world.sent()).toEqual(['m3'])
    expect(await world.states()).toEqual({ m1: 'parked', m2: 'pending' })
  })

  test('and cannot even be handed over is found among many, which are sent', async () => {
    world.transport.answer = ({ id }) => {
      if (id === 'm37') throw new TypeError('cannot be written')
      return 'sent'
    }
    await world.commit(...ids(100).map((id) => ({ id, key: id })), { id: 'behind', key: 'm37' })
    await running({ retry: { attempts: 1 } })
    await world.clock.settle()
    expect(new Set(world.sent())).toEqual(new Set(ids(100).filter((id) => id !== 'm37')))
    expect(await world.states()).toEqual({ m37: 'parked', behind: 'pending' })
  })

  test('because it brings down the connection is found among many, which are sent [MassTransit#6216]', async () => {
    world.transport.answer = ({ id }) => {
      if (id === 'm3') throw down()
      return 'sent'
    }
    await world.commit(...ids(10).map((id) => ({ id, key: id })))
    await running({ retry: { attempts: 2, initial: '1s' } })
    await world.clock.advance('10s')
    expect(new Set(world.sent())).toEqual(new Set(ids(10).filter((id) => id !== 'm3')))
    // Others that go through are what tells a bad message from a bad connection.
    for (const id of ids(10, 100)) {
      await world.commit({ id, key: id })
      await world.clock.advance('10s')
    }
    expect(await world.states()).toEqual({ m3: 'parked' })
    expect(world.sent()).toEqual(expect.arrayContaining(ids(10, 100)))
  })
})

describe('a message whose time is over', () => {
  const late = () => ({ metadata: { correlationId: 'c', deadline: world.clock.now() - 1 } })

  test('is parked as expired and not sent; its key goes on', async () => {
    await world.commit({ id: 'm1', key: 'a', ...late() }, { id: 'm2', key: 'a' })
    await running()
    await world.clock.settle()
    expect(world.sent()).toEqual(['m2'])
    const [parked] = (await world.store.register.list({ state: 'parked' }, 10, null)).entries
    expect(parked).toMatchObject({ id: 'm1', errors: [{ name: 'expired' }] })
  })

  test('or forgotten', async () => {
    await world.commit({ id: 'm1', key: 'a', ...late() })
    await running({ onExpired: 'drop' })
    await world.clock.settle()
    expect(await world.states()).toEqual({})
  })
})

describe('an engine that cannot be reached', () => {
  test('costs no attempts, and everything is sent when it is back', async () => {
    world.transport.answer = () => {
      throw down()
    }
    await world.commit(...ids(3).map((id) => ({ id, key: 'a' })))
    await running({ retry: { attempts: 1 } })
    await world.clock.advance('1h')
    expect(await world.states()).toEqual({ m1: 'pending', m2: 'pending', m3: 'pending' })
    world.transport.answer = () => 'sent'
    world.transport.tell(true)
    await world.clock.advance('1s')
    expect(world.sent()).toEqual(['m1', 'm2', 'm3'])
  })

  test('costs no attempts of the many that were tried one by one meanwhile, however often it goes away', async () => {
    await running({ retry: { attempts: 1 } })
    await world.clock.advance('1s')
    for (let outage = 0; outage < 5; outage++) {
      world.transport.answer = () => {
        throw down()
      }
      await world.commit(...ids(40, outage * 100).map((id, i) => ({ id, key: i % 2 === 0 ? id : null })))
      await world.clock.advance('10m')
      world.transport.answer = () => 'sent'
      await world.clock.advance('10s')
    }
    expect(await world.states()).toEqual({})
    expect(new Set(world.sent()).size).toBe(200)
  })

  test('leaves no backlog that waits for minutes [CAP: a backlog of four minutes after an outage]', async () => {
    world.transport.answer = () => {
      throw down()
    }
    await running()
    await world.commit(...ids(2000).map((id) => ({ id, key: id })))
    await world.clock.advance('10m')
    world.transport.answer = () => 'sent'
    // Nobody tells that it is back.
    await world.clock.advance('6s')
    expect(world.sent()).toHaveLength(2000)
  })

  test('or does not answer is given up after a while; what it says then is not heard', async () => {
    let open = (): void => {}
    world.transport.gate = new Promise((resolve) => (open = resolve))
    await world.commit({ id: 'm1' })
    await running({ timeout: '2s' })
    await world.clock.advance('2s')
    expect(await world.states()).toEqual({ m1: 'pending' })
    world.transport.gate = null
    open()
    await world.clock.advance('1s')
    // Twice, with the same id: consumers know it.
    expect(world.sent()).toEqual(['m1', 'm1'])
    expect(await world.states()).toEqual({})
  })

  test('is left to processes that can reach it', async () => {
    const cut = new OutboxWorld().transport
    cut.answer = () => {
      throw down()
    }
    const alone = new Outbox<MemoryTransaction>({ ...world.process('cut'), transport: cut })
    await alone.start()
    await world.commit({ id: 'm1', key: 'a' })
    await world.clock.settle()
    await running({}, 'fine')
    await world.clock.advance('40s')
    expect(world.sent()).toEqual(['m1'])
  })

  test('stays left to them, however long it lasts', async () => {
    const cut = new OutboxWorld().transport
    cut.answer = () => {
      throw down()
    }
    const alone = new Outbox<MemoryTransaction>({ ...world.process('cut'), transport: cut })
    await alone.start()
    await running({}, 'fine')
    await world.clock.advance('1m')
    cut.tell(false)
    for (let minute = 0; minute < 3; minute++) {
      await world.commit(...ids(20).map((id) => ({ id: `${minute}.${id}`, key: id })))
      await world.clock.advance('1m')
      expect(world.sent()).toHaveLength(20 * (minute + 1))
    }
    await alone.stop()
  })
})

describe('a store that fails', () => {
  test('between sending and writing down has the messages sent once by this process, not again and again', async () => {
    let broken = true
    const store = Object.assign({}, world.store, {
      outbox: Object.assign(Object.create(world.store.outbox) as typeof world.store.outbox, {
        due: world.store.outbox.due.bind(world.store.outbox),
        lease: world.store.outbox.lease.bind(world.store.outbox),
        owners: world.store.outbox.owners.bind(world.store.outbox),
        unlease: world.store.outbox.unlease.bind(world.store.outbox),
        nextDue: world.store.outbox.nextDue.bind(world.store.outbox),
        sent: (...args: Parameters<typeof world.store.outbox.sent>) =>
          broken
            ? Promise.reject(new SdkError('store_down', 'the disk is full', { retryable: true }))
            : world.store.outbox.sent(...args),
      }),
    })
    const outbox = new Outbox<MemoryTransaction>({ ...world.process(), store })
    await outbox.start()
    await world.commit({ id: 'm1' })
    await world.clock.advance('10s')
    expect(world.sent()).toEqual(['m1'])
    broken = false
    await world.clock.advance('20s')
    expect(world.sent()).toEqual(['m1'])
    expect(await world.states()).toEqual({})
  })

  test('a process that died in between leaves its messages to others, who send all of them [Spring Modulith#663]', async () => {
    await world.commit(...ids(5).map((id) => ({ id, key: id })))
    // Died with the leases in its hands, after having sent and before having written down.
    await world.store.outbox.lease('dead', 15_000)
    await running()
    await world.clock.advance('14s')
    expect(world.sent()).toEqual([])
    await world.clock.advance('3s')
    expect(world.sent().toSorted()).toEqual(ids(5))
  })
})

describe('leases', () => {
  test('what another process has taken over meanwhile is not written down by the first', async () => {
    let open = (): void => {}
    world.transport.gate = new Promise((resolve) => (open = resolve))
    await world.commit({ id: 'm1' })
    await running()
    // The clock of the store is ahead, or the process slept: another one has the buckets by now.
    for (const owner of await world.store.outbox.owners()) await world.store.outbox.unlease(owner)
    await world.store.outbox.lease('other', 60_000)
    open()
    await world.clock.settle()
    expect(await world.states()).toEqual({ m1: 'pending' })
    expect(world.telemetry.counts.get(METRIC.outboxLeaseLost)).toBe(1)
  })

  test('a process that slept sends nothing before it has renewed', async () => {
    const outbox = await running()
    await outbox.stop()
    const other = await world.store.outbox.lease('other', 60_000)
    expect(other).toHaveLength(64)
    await world.commit({ id: 'm1' })
    await outbox.start()
    await world.clock.advance('30s')
    expect(world.sent()).toEqual([])
  })

  test('stopping finishes what is being sent and gives the buckets back', async () => {
    let open = (): void => {}
    world.transport.gate = new Promise((resolve) => (open = resolve))
    await world.commit({ id: 'm1' })
    const outbox = await running()
    const stopping = outbox.stop()
    open()
    await stopping
    expect(world.sent()).toEqual(['m1'])
    expect(await world.states()).toEqual({})
    expect(await world.store.outbox.lease('other', 1000)).toHaveLength(64)
    expect(world.clock.nextAt).toBeNull()
  })

  test('a program that ends after each piece of work sends all that is due and gives the buckets back', async () => {
    const outbox = new Outbox<MemoryTransaction>(world.process(), { relay: { batch: 10 } })
    await world.commit(...ids(35).map((id) => ({ id, key: id })))
    await outbox.drain()
    expect(world.sent()).toHaveLength(35)
    expect(await world.store.outbox.lease('other', 1000)).toHaveLength(64)
  })

  test.each([
    [{ timeout: '5s' }, 'less than a third'],
    [{ batch: 0 }, 'relay.batch is 0'],
    [{ batchBytes: 0.5 }, 'relay.batchBytes is 0.5'],
    [{ lanes: 17 }, 'relay.lanes is 17'],
    [{ poll: 0 }, 'relay.poll is 0'],
  ] as const)('%o is refused', (relay, message) => {
    expect(() => new Outbox(world.process(), { relay })).toThrow(message)
  })
})
