import { AsyncLocalStorage } from 'node:async_hooks'
import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { event } from '../contract/event.ts'
import { SdkError } from '../errors.ts'
import { Submission } from '../register/submission.ts'
import { SettingsDirectory } from '../register/message-settings.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Store } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { outboxIsFull, type OutboxLimit } from './depth-limit.ts'
import { Outbox } from './outbox.ts'

const Submitted = event('ticket.submitted', z.object({ ticketId: z.string() }))
const ticket = { ticketId: 't1' }

let world: OutboxWorld
let process: Surroundings<MemoryTransaction>
/** How often the store was asked how full it is. */
let looks: number
/** Messages of the log. */
let logged: string[]

beforeEach(() => {
  world = new OutboxWorld()
  looks = 0
  logged = []
  const { outbox } = world.store
  const depth = outbox.depth.bind(outbox)
  outbox.depth = () => {
    looks++
    return depth()
  }
  const log = (_: object, text: string) => void logged.push(text)
  process = { ...world.process(), log: { debug: log, info: log, warn: log, error: log } }
})

const outboxWith = (limit: OutboxLimit, store: Partial<Store<MemoryTransaction>> = {}): Outbox<MemoryTransaction> =>
  new Outbox({ ...process, store: { ...world.store, ...store } }, { relay: false, limit })

/** Publishes in a transaction of its own. */
const publish = (outbox: Outbox<MemoryTransaction>): Promise<string> =>
  world.store.transaction((tx) => outbox.in(tx).publish(Submitted, ticket))

const pending = async (): Promise<number> => world.store.register.count({ direction: 'out' })

/** As a relay would. */
async function sendAll(): Promise<void> {
  const leases = await world.store.outbox.lease('relay', 60_000)
  const entries = await world.store.outbox.due(
    leases.map(({ bucket }) => bucket),
    1000,
  )
  await world.store.outbox.sent(leases, entries, false)
}

const messages = (count: number) => Array.from({ length: count }, () => ({}))

describe('a full outbox', () => {
  test('refuses what would be added, with numbers and a remedy', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    const refused = publish(outbox)
    await expect(refused).rejects.toMatchObject({
      code: 'overloaded',
      retryable: true,
      message: expect.stringMatching(
        /3 messages wait to be sent, and depthMax is 3.*try again later.*stathmos app outbox/,
      ),
      data: { depthMax: 3, pending: 3 },
    })
    expect(await pending()).toBe(3)
    expect(world.telemetry.counts.get(METRIC.outboxFull)).toBe(1)
    await outbox.stop()
  })

  test('takes messages again when it was seen to have room, and says both to the operator, once', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    for (let time = 0; time < 3; time++) await expect(publish(outbox)).rejects.toThrow('full')
    await sendAll()
    await expect(publish(outbox)).rejects.toThrow('full')
    await world.clock.advance('1s')
    expect(world.clock.nextAt).toBeNull()
    await publish(outbox)
    expect(await pending()).toBe(1)
    expect(logged.filter((text) => text.startsWith('the outbox'))).toEqual([
      'the outbox is full; messages are held up until some of those in it are sent',
      'the outbox has room again',
    ])
    await outbox.stop()
  })

  test('leaves the transaction as it is: it may commit without the message', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    await world.store.transaction(async (tx) => {
      await tx.table('tickets').set('t1', ticket)
      await expect(outbox.in(tx).publish(Submitted, ticket)).rejects.toThrow('full')
    })
    await outbox.stop()
    const kept = await world.store.transaction((tx) => Promise.resolve(tx.table('tickets').get('t1')))
    expect(kept).toEqual(ticket)
  })

  test('takes what is to be sent later, and takes it back', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    await world.store.transaction(async (tx) => {
      await outbox.in(tx).publish(Submitted, ticket, { delay: '1h', cancelKey: 'later' })
      expect(await outbox.in(tx).cancel('later')).toBe(true)
      await outbox.in(tx).publish(Submitted, ticket, { delay: '1h', id: 'timer' })
    })
    expect((await world.states())['timer']).toBe('scheduled')
    await outbox.stop()
  })

  test('takes the messages of schedules', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    await world.store.transaction(async (tx) => {
      const buffer = outbox.unlimitedBuffer(tx)
      await buffer.scopeOf(null).publish(Submitted, ticket)
      await buffer.flush()
    })
    expect(await pending()).toBe(4)
    await outbox.stop()
  })
})

describe('the depth', () => {
  test('is never asked for where there is no limit', async () => {
    const outbox = new Outbox(process, { relay: false })
    for (let time = 0; time < 10; time++) {
      await publish(outbox)
      await world.clock.advance('1s')
    }
    expect(looks).toBe(0)
  })

  test('is asked for once a second at most, however many messages there are', async () => {
    const outbox = outboxWith({ depthMax: 1000 })
    for (let time = 0; time < 100; time++) {
      await publish(outbox)
      await world.clock.advance(100)
    }
    expect(looks).toBe(10)
  })

  test('is asked for less often where that takes long', async () => {
    const { outbox: port } = world.store
    const depth = port.depth.bind(port)
    port.depth = () => new Promise((resolve) => void world.clock.after(200, () => resolve(depth())))
    const outbox = outboxWith({ depthMax: 1000 })
    for (let time = 0; time < 100; time++) {
      await publish(outbox)
      await world.clock.advance(100)
    }
    // Every 4 s: a twentieth of the time.
    expect(looks).toBe(3)
  })

  test('is waited for by nobody, and without it messages pass', async () => {
    world.store.outbox.depth = () => new Promise(() => {})
    const outbox = outboxWith({ depthMax: 1, whenFull: 'block' })
    await publish(outbox)
    await publish(outbox)
    expect(await pending()).toBe(2)
  })

  test('that could not be asked for lately is not known: messages pass', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    world.store.outbox.depth = () => Promise.reject(new SdkError('store_down', 'gone', { retryable: true }))
    for (let second = 0; second < 5; second++) {
      await expect(publish(outbox)).rejects.toThrow('full')
      await world.clock.advance('1s')
    }
    await publish(outbox)
    expect(logged.at(-1)).toContain('could not be asked for a while; messages pass')
    await outbox.stop()
  })

  test('that the gauges have asked for is not asked for again', async () => {
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    await world.commit(...messages(3))
    await world.clock.advance('1s')
    expect(await world.telemetry.gauge(METRIC.outboxPending)).toBe(3)
    expect(looks).toBe(2)
    await expect(publish(outbox)).rejects.toThrow('full')
    expect(looks).toBe(2)
    await outbox.stop()
  })

  test('is asked for while it is full, whether messages come or not, and no more after the stop', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3 })
    await outbox.start()
    await world.clock.advance('1m')
    expect(looks).toBe(61)
    await expect(publish(outbox)).rejects.toThrow('full')
    await outbox.stop()
    expect(world.clock.nextAt).toBeNull()
  })

  test("is asked for outside of the caller's async context, in which libraries keep transactions", async () => {
    const context = new AsyncLocalStorage<string>()
    const seen: (string | undefined)[] = []
    const { outbox: port } = world.store
    const depth = port.depth.bind(port)
    port.depth = () => {
      seen.push(context.getStore())
      return depth()
    }
    const outbox = outboxWith({ depthMax: 3 })
    await context.run('a transaction', () => publish(outbox))
    expect(seen).toEqual([undefined])
  })
})

describe('block', () => {
  test('waits before anything is written, until the depth has fallen', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3, whenFull: 'block' })
    await outbox.start()
    const published = publish(outbox)
    await world.clock.advance('2500ms')
    expect(await pending()).toBe(3)
    await sendAll()
    await world.clock.advance('1s')
    await published
    expect(await pending()).toBe(1)
    expect(world.clock.nextAt).toBeNull()
    await outbox.stop()
  })

  test('waits no longer than blockMax, and looks no more than once a second meanwhile', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3, whenFull: 'block', blockMax: '3s' })
    await outbox.start()
    const codes: string[] = []
    for (let time = 0; time < 2; time++) publish(outbox).catch((error: SdkError) => codes.push(error.code))
    await world.clock.advance('2999ms')
    expect(codes).toEqual([])
    await world.clock.advance('1ms')
    expect(codes).toEqual(['overloaded', 'overloaded'])
    expect(looks).toBeLessThanOrEqual(4)
    await outbox.stop()
  })

  test('a service that was never started looks no longer than somebody waits', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3, whenFull: 'block', blockMax: '2500ms' })
    await publish(outbox)
    await world.clock.settle()
    const refused = publish(outbox).catch((error: unknown) => error)
    await world.clock.advance('2500ms')
    expect(await refused).toMatchObject({ code: 'overloaded' })
    expect(world.clock.nextAt).toBeNull()
  })

  test('a transaction that ended while its message waited does not get it', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3, whenFull: 'block' })
    await outbox.start()
    let refused: unknown
    await world.store.transaction(async (tx) => {
      outbox
        .in(tx)
        .publish(Submitted, ticket)
        .catch((error: unknown) => (refused = error))
    })
    await sendAll()
    await world.clock.advance('1s')
    expect(refused).toMatchObject({ code: 'transaction_over' })
    expect(await pending()).toBe(0)
    await outbox.stop()
  })

  test('few transactions of a process wait, so that a pool of connections is never used up by them', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3, whenFull: 'block' })
    await outbox.start()
    const ended: string[] = []
    const all = Array.from({ length: 6 }, () =>
      publish(outbox).then(
        () => ended.push('published'),
        () => ended.push('refused'),
      ),
    )
    await world.clock.settle()
    expect(ended).toEqual(['refused', 'refused'])
    await sendAll()
    await world.clock.advance('1s')
    await Promise.all(all)
    expect(ended.slice(2)).toEqual(['published', 'published', 'published', 'published'])
    await outbox.stop()
  })

  test('where an open transaction keeps the relay from writing, it is refused at once', async () => {
    await world.commit(...messages(3))
    const outbox = outboxWith({ depthMax: 3, whenFull: 'block' }, { oneWriter: true })
    await outbox.start()
    await expect(publish(outbox)).rejects.toMatchObject({ code: 'overloaded' })
    await outbox.stop()
  })

  test('a transaction that the service begins itself is begun after the waiting', async () => {
    await world.commit(...messages(3))
    let begun = 0
    const transaction: (typeof world.store)['transaction'] = (work) => {
      begun++
      return world.store.transaction(work)
    }
    const outbox = outboxWith({ depthMax: 3, whenFull: 'block' }, { oneWriter: true, transaction })
    await outbox.start()
    const surroundings = { ...process, store: { ...world.store, transaction } }
    const submission = new Submission(surroundings, outbox, new SettingsDirectory())
    const created = submission.createMessage(Submitted, ticket)
    await world.clock.advance('500ms')
    expect(begun).toBe(0)
    await sendAll()
    await world.clock.advance('1s')
    await created
    expect(await pending()).toBe(1)
    await outbox.stop()
  })
})

test.each([
  [{ depthMax: 0 }, 'outbox.depthMax is 0'],
  [{ depthMax: 1.5 }, 'outbox.depthMax is 1.5'],
  [{ depthMax: 1, whenFull: 'drop' as never }, 'outbox.whenFull is drop'],
  [{ depthMax: 1, blockMax: 'soon' as never }, 'soon'],
] satisfies [OutboxLimit, string][])('%o is no limit', (limit, message) => {
  expect(() => outboxWith(limit)).toThrow(message)
})

test('a full outbox is found among the causes of an error, and nothing else is taken for it', () => {
  const full = new SdkError('overloaded', 'full', { data: { depthMax: 3, retryAfterMs: 1000 } })
  expect(outboxIsFull(new Error('no', { cause: new Error('really', { cause: full }) }))).toBe(1000)
  expect(outboxIsFull(new SdkError('overloaded', 'an engine that takes no more'))).toBeNull()
  const circle = new Error('round')
  circle.cause = circle
  expect(outboxIsFull(circle)).toBeNull()
  expect(outboxIsFull('full')).toBeNull()
})
