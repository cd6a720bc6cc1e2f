import { beforeEach, describe, expect, test } from 'vitest'
import { METRIC } from '../telemetry/conventions.ts'
import { InboxWorld, storeDown, Ticket, type TicketData } from '../testing/inbox-world.ts'
import { declareEffect, Uncertain, type EffectHandler, type EffectOptions } from './declaration.ts'

let world: InboxWorld
/** `key+number#attempt` of the calls, in their order. */
let called: string[]

const effect = (handler: EffectHandler<TicketData> = () => {}, options: Partial<EffectOptions<TicketData>> = {}) =>
  declareEffect<'ticket.changed', TicketData>(
    Ticket,
    { name: 'sms', retry: { attempts: 3, initial: '1s', jitter: 0 }, ...options },
    (data, context) => {
      called.push(`${data.ticketId}${data.number}#${context.attempt}`)
      return handler(data, context)
    },
  )

const never = () => new Promise(() => {})

beforeEach(() => {
  world = new InboxWorld()
  called = []
})

describe('an effect', () => {
  test('is recorded before it is begun, and holds no transaction', async () => {
    const process = await world.process()
    const consumer = await process.consume(effect(never))
    await world.send('a', 1)
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'running' })
    expect(world.engine.waiting(consumer.name)).toBe(0)
    expect(world.calls).not.toContain('transaction')
  })

  test('is done once, however often its message is delivered', async () => {
    const process = await world.process()
    await process.consume(effect())
    for (let i = 0; i < 3; i++) {
      await world.send('a', 1)
      await world.settle()
    }
    expect(called).toEqual(['a1#1'])
    expect(await world.states()).toEqual({ a1: 'done' })
    expect(world.counted(METRIC.inboxDuplicates)).toBe(2)
  })

  test('that fails is tried again with the same idempotency key, in front of the later ones of its key', async () => {
    let failures = 2
    const keys: string[] = []
    const process = await world.process()
    await process.consume(
      effect((_, { idempotencyKey }) => {
        keys.push(idempotencyKey)
        if (failures-- > 0) throw new Error('not yet')
      }),
    )
    await world.send('a', 1, 2)
    await world.clock.advance('5s')
    expect(called).toEqual(['a1#1', 'a1#2', 'a1#3', 'a2#1'])
    expect(keys.slice(0, 3)).toEqual(Array.from({ length: 3 }, () => 'helpdesk.sms:a1'))
    expect(await world.states()).toEqual({ a1: 'done', a2: 'done' })
  })

  test('for the last time parks its key', async () => {
    const process = await world.process()
    await process.consume(
      effect(() => {
        throw new Error('never')
      }),
    )
    await world.send('a', 1, 2)
    await world.clock.advance('1m')
    expect(called).toEqual(['a1#1', 'a1#2', 'a1#3'])
    expect(await world.states()).toEqual({ a1: 'parked', a2: 'waiting' })
  })

  test('runs as often at a time as was declared, in this process', async () => {
    const process = await world.process()
    await process.consume(effect(never, { concurrency: 3 }))
    for (const key of ['a', 'b', 'c', 'd', 'e']) await world.send(key, 1)
    await world.settle()
    expect(called).toHaveLength(3)
  })

  test('keeps its claim for as long as it takes', async () => {
    let end: () => void = () => {}
    const first = await world.process()
    await first.consume(effect(() => new Promise<void>((resolve) => (end = resolve)), { timeout: '10m' }))
    await world.send('a', 1)
    const second = await world.process()
    await second.consume(effect())
    await world.clock.advance('5m')
    expect(called).toEqual(['a1#1'])
    end()
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'done' })
  })

  test('that happened while the store was away is recorded when it is back, and not repeated', async () => {
    const process = await world.process()
    await process.consume(
      effect(() => {
        world.fault = storeDown()
      }),
    )
    await world.send('a', 1)
    await world.clock.advance('5s')
    world.fault = null
    await world.clock.advance('1m')
    expect(called).toEqual(['a1#1'])
    expect(await world.states()).toEqual({ a1: 'done' })
  })
})

describe('an effect whose outcome is unknown', () => {
  /** A process that dies in the middle of its call, and another one after its lease. */
  async function crashed(options: Partial<EffectOptions<TicketData>>): Promise<void> {
    const first = await world.process()
    await first.consume(effect(never, options))
    await world.send('a', 1)
    await world.settle()
    first.crash()
    const second = await world.process()
    await second.consume(effect(() => {}, options))
    await world.clock.advance('29s')
    expect(called, 'the lease is not over').toEqual(['a1#1'])
    await world.clock.advance('10s')
  }

  test('because its process died is repeated after the lease, with the same key', async () => {
    await crashed({})
    expect(called).toEqual(['a1#1', 'a1#2'])
    expect(await world.states()).toEqual({ a1: 'done' })
  })

  test('is left to an operator where that was declared, and holds back its key', async () => {
    await crashed({ onUncertain: 'park' })
    await world.send('a', 2)
    await world.settle()
    expect(called).toEqual(['a1#1'])
    expect(await world.states()).toEqual({ a1: 'uncertain', a2: 'waiting' })
  })

  test.each([
    ['done', ['a1#1'], 'done'],
    ['not-done', ['a1#1', 'a1#2'], 'done'],
    ['unknown', ['a1#1', 'a1#2'], 'done'],
  ] as const)('is verified first: %s', async (answer, calls, state) => {
    const asked: string[] = []
    await crashed({
      verify: (_, { idempotencyKey }) => {
        asked.push(idempotencyKey)
        return answer
      },
    })
    expect(asked).toEqual(['helpdesk.sms:a1'])
    expect(called).toEqual(calls)
    expect(await world.states()).toEqual({ a1: state })
  })

  test('because it said so is verified before its next attempt, and a certain failure is not', async () => {
    const asked: number[] = []
    const failures = [new Error('refused'), new Uncertain('no answer')]
    const process = await world.process()
    await process.consume(
      effect(
        () => {
          throw failures.shift()!
        },
        {
          verify: (_, { attempt }) => {
            asked.push(attempt)
            return 'done'
          },
        },
      ),
    )
    await world.send('a', 1)
    await world.clock.advance('10s')
    expect(called).toEqual(['a1#1', 'a1#2'])
    expect(asked).toEqual([3])
    expect(await world.states()).toEqual({ a1: 'done' })
  })

  test('because it took too long has its signal aborted and is as unknown as any', async () => {
    let reason: unknown
    const process = await world.process()
    await process.consume(
      effect(
        (_, { signal }) => {
          signal.addEventListener('abort', () => (reason = signal.reason))
          return never()
        },
        { timeout: '5s', onUncertain: 'park' },
      ),
    )
    await world.send('a', 1)
    await world.clock.advance('5s')
    expect(reason).toMatchObject({ code: 'timeout' })
    expect(await world.states()).toEqual({ a1: 'uncertain' })
  })

  test('after its last attempt is decided by asking, and otherwise left to an operator', async () => {
    const process = await world.process()
    await process.consume(
      effect(
        () => {
          throw new Uncertain('no answer')
        },
        { retry: { attempts: 1 }, verify: ({ ticketId }) => (ticketId === 'a' ? 'done' : 'unknown') },
      ),
    )
    await world.send('a', 1)
    await world.send('b', 1)
    await world.settle()
    expect(await world.states()).toEqual({ a1: 'done', b1: 'uncertain' })
  })

  test('cannot loop: a call that ends its process every time is given up', async () => {
    for (let life = 0; life < 6; life++) {
      const process = await world.process()
      await process.consume(
        effect(() => {
          process.crash()
          return never()
        }),
      )
      if (life === 0) await world.send('a', 1)
      await world.clock.advance('31s')
      process.crash()
    }
    expect(called).toEqual(['a1#1', 'a1#2', 'a1#3'])
    expect(await world.states()).toEqual({ a1: 'uncertain' })
  })
})

describe('a rate limit', () => {
  const at: number[] = []
  const stamp = () => void at.push(world.clock.now())

  beforeEach(() => {
    at.length = 0
  })

  test('holds over all processes, and each message comes in its turn', async () => {
    const startedAt = world.clock.now()
    for (let i = 0; i < 2; i++) {
      const process = await world.process()
      await process.consume(effect(stamp, { rate: { limit: 10, per: '1s' } }))
    }
    for (let key = 0; key < 40; key++) await world.send(`k${key}-`, 1)
    await world.clock.advance('10s')
    expect(called).toHaveLength(40)
    expect(new Set(called).size).toBe(40)
    for (let second = 0; second < 4; second++) {
      const until = startedAt + (second + 1) * 1000
      expect(at.filter((time) => time < until).length).toBeLessThanOrEqual(10 + 10 * (second + 1))
    }
    expect(Math.max(...at) - startedAt).toBeLessThanOrEqual(5000)
  })

  test('is one for all handlers that give it the same name', async () => {
    const rate = { limit: 2, per: '10s', name: 'erp' } as const
    const process = await world.process()
    await process.consume(effect(stamp, { rate }))
    await process.consume(effect(stamp, { rate, name: 'mail' }))
    await process.consume(effect(stamp, { rate: { limit: 2, per: '10s' }, name: 'own' }))
    for (const key of ['a', 'b', 'c']) await world.send(key, 1)
    await world.settle()
    // Each of the three has three messages: two of the six of erp are called at once, and two of the other's.
    expect(called).toHaveLength(4)
    await world.clock.advance('1m')
    expect(called).toHaveLength(9)
  })

  test('makes the messages of its key wait and no others, in their order', async () => {
    const process = await world.process()
    await process.consume(
      effect(stamp, { rate: { limit: 1, per: '10s', key: ({ ticketId }) => ticketId }, concurrency: 2, prefetch: 4 }),
    )
    await world.send('a', 1, 6)
    await world.send('b', 1)
    await world.settle()
    expect(called.toSorted()).toEqual(['a1#1', 'b1#1'])
    await world.clock.advance('60s')
    expect(called.filter((call) => call.startsWith('a'))).toEqual(['a1#1', 'a2#1', 'a3#1', 'a4#1', 'a5#1', 'a6#1'])
    expect(world.counted(METRIC.rateWaits)).toBeGreaterThan(0)
  })

  test.each([
    ['that throws', () => (null as unknown as { id: string }).id],
    ['that no store can keep', () => 'k'.repeat(300)],
  ])('with a key %s is an attempt of its message, which is parked in the end; others go on', async (_, broken) => {
    const process = await world.process()
    const key = ({ ticketId }: TicketData) => (ticketId === 'bad' ? broken() : ticketId)
    await process.consume(effect(stamp, { rate: { limit: 10, per: '1s', key } }))
    await world.send('bad', 1, 2)
    await world.send('good', 1)
    await world.settle()
    expect(called).toEqual(['good1#1'])
    const [failed] = await world.received({ id: 'bad1' })
    expect(failed).toMatchObject({ state: 'retrying', attempts: 1, errors: [expect.anything()] })
    await world.clock.advance('1m')
    expect(await world.states()).toEqual({ bad1: 'parked', bad2: 'waiting', good1: 'done' })
    expect((await world.received({ id: 'bad1' }))[0]!.errors).toHaveLength(3)
  })

  test('with a turn that is far away has the message stored until then, unattempted', async () => {
    const process = await world.process()
    await process.consume(effect(stamp, { rate: { limit: 1, per: '1h' } }))
    await world.send('a', 1)
    await world.send('b', 1)
    await world.settle()
    const [waiting] = await world.received({ state: 'waiting' })
    expect(waiting).toMatchObject({ attempts: 0, dueAt: world.clock.now() + 3_600_000 })
    await world.clock.advance('1h')
    await world.clock.advance('6s')
    expect(called).toHaveLength(2)
    expect(called[1]).toMatch(/#1$/)
  })
})

describe('at most once', () => {
  test('is remembered as done first, and never repeats', async () => {
    const process = await world.process()
    const declaration = declareEffect(Ticket, { name: 'metrics', level: 'at-most-once' }, (data: TicketData) => {
      called.push(`${data.ticketId}${data.number}`)
      throw new Error('lost')
    })
    await process.consume(declaration)
    await world.send('a', 1)
    await world.clock.advance('1m')
    expect(called).toEqual(['a1'])
    expect((await world.received({ state: 'done' })).length).toBe(1)
    expect(world.calls.filter((call) => /^inbox\.(start|keep)/.test(call))).toEqual([])
  })

  test('has no retries to declare', () => {
    const declare = () => declareEffect(Ticket, { name: 'x', level: 'at-most-once', retry: { attempts: 2 } }, () => {})
    expect(declare).toThrow('neither retries nor verifies')
  })
})
