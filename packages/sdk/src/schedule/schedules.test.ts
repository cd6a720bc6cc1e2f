import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { METRIC } from '../telemetry/conventions.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { Outbox } from '../outbox/outbox.ts'
import type { ScheduleOptions } from './declaration.ts'
import { Schedules } from './schedules.ts'

const Build = command('report.build', z.object({ day: z.string() }))

let world: OutboxWorld

beforeEach(() => {
  world = new OutboxWorld('2026-03-01T12:00:00Z')
})

interface Setting extends Partial<ScheduleOptions> {
  readonly cron?: string
  readonly process?: string
  readonly consumers?: readonly string[]
  readonly dataAt?: (at: Date) => { day: string }
}

/** A process with one schedule, hourly unless told otherwise. Nothing relays, so that what was sent stays to be seen. */
async function running({ cron = '0 * * * *', process, consumers = [], dataAt, ...options }: Setting = {}) {
  const surroundings = world.process(process)
  const outbox = new Outbox<MemoryTransaction>(surroundings, { relay: false })
  const schedules = new Schedules(surroundings, outbox, () => consumers)
  schedules.every(
    cron,
    { name: 'report', ...options },
    Build,
    dataAt ?? ((at) => ({ day: at.toISOString().slice(0, 10) })),
  )
  await schedules.start()
  await world.clock.settle()
  return schedules
}

/** Times of the occurrences that became messages. */
async function occurrences(name = 'report'): Promise<string[]> {
  const { entries } = await world.store.register.list({ direction: 'out' }, 1000, null)
  return entries
    .filter(({ id }) => id.startsWith(`${name}@`))
    .map(({ id }) => id.slice(name.length + 1).replace(':00.000Z', ''))
}

const row = async () => (await world.store.schedules.list())[0]

describe('an occurrence', () => {
  test('becomes a message with its data, key and an id of its own', async () => {
    await running()
    await world.clock.advance('1h')
    const { entries } = await world.store.register.list({}, 10, null)
    expect(entries).toMatchObject([{ id: 'report@2026-03-01T13:00:00.000Z', type: 'report.build', key: null }])
    expect(await Build.decode(entries[0]!.message!)).toEqual({ day: '2026-03-01' })
    expect(world.telemetry.counts.get(METRIC.schedulesFired)).toBe(1)
  })

  test('becomes one message, however many processes there are', async () => {
    for (const process of ['a', 'b', 'c']) await running({ process })
    await world.clock.advance('3h')
    expect(await occurrences()).toEqual(['2026-03-01T13:00', '2026-03-01T14:00', '2026-03-01T15:00'])
  })

  test('goes on with those that remain when a process ends', async () => {
    const first = await running({ process: 'a' })
    await running({ process: 'b' })
    await world.clock.advance('1h')
    await first.stop()
    await world.clock.advance('1h')
    expect(await occurrences()).toEqual(['2026-03-01T13:00', '2026-03-01T14:00'])
  })

  test('that cannot be made is tried again, and others are sent meanwhile', async () => {
    let broken = true
    const surroundings = world.process()
    const schedules = new Schedules(surroundings, new Outbox(surroundings, { relay: false }))
    schedules.every('0 * * * *', { name: 'broken' }, Build, () => {
      if (broken) throw new Error('no data')
      return { day: 'x' }
    })
    schedules.every('0 * * * *', { name: 'report' }, Build, () => ({ day: 'x' }))
    await schedules.start()
    await world.clock.advance('1h')
    await world.clock.advance('10s')
    expect(await occurrences()).toEqual(['2026-03-01T13:00'])
    broken = false
    await world.clock.advance('30s')
    expect(await occurrences('broken')).toEqual(['2026-03-01T13:00'])
  })

  test('of many in a short time comes for each, also when a turn takes longer', async () => {
    await running({ cron: '*/10 * * * * *', missed: 'skip' })
    await world.clock.advance('1m')
    expect(await occurrences()).toHaveLength(6)
  })
})

describe('time zones', () => {
  test('in the night that has no half past two it comes right after, in the one that has two it comes once', async () => {
    world = new OutboxWorld('2026-03-28T12:00:00Z')
    await running({ cron: '30 2 * * *', tz: 'Europe/Berlin' })
    await world.clock.advance('2d')
    expect(await occurrences()).toEqual(['2026-03-29T01:00', '2026-03-30T00:30'])

    world = new OutboxWorld('2026-10-24T12:00:00Z')
    await running({ cron: '30 2 * * *', tz: 'Europe/Berlin' })
    await world.clock.advance('2d')
    expect(await occurrences()).toEqual(['2026-10-25T00:30', '2026-10-26T01:30'])
  })

  test('without one it is UTC, whatever the machine thinks', async () => {
    await running({ cron: '0 3 * * *' })
    await world.clock.advance('1d')
    expect(await occurrences()).toEqual(['2026-03-02T03:00'])
  })

  test('the clock of the store decides, not that of the machine', async () => {
    const ahead = Object.assign({}, world.store, { now: async () => world.clock.now() + 1_800_000 })
    const surroundings = { ...world.process(), store: ahead }
    const schedules = new Schedules(surroundings, new Outbox(surroundings, { relay: false }))
    schedules.every('0 * * * *', { name: 'report' }, Build, () => ({ day: 'x' }))
    await schedules.start()
    await world.clock.advance('31m')
    expect(await occurrences()).toEqual(['2026-03-01T13:00'])
  })
})

describe('when nothing was running', () => {
  test.each([
    ['once', ['2026-03-01T17:00']],
    ['all', ['2026-03-01T13:00', '2026-03-01T14:00', '2026-03-01T15:00', '2026-03-01T16:00', '2026-03-01T17:00']],
    ['skip', []],
  ] as const)('%s', async (missed, expected) => {
    const first = await running({ missed })
    await first.stop()
    await world.clock.advance(5.5 * 3_600_000)
    await running({ missed })
    await world.clock.advance('1s')
    expect(await occurrences()).toEqual(expected)
    await world.clock.advance('30m')
    expect((await occurrences()).at(-1)).toBe('2026-03-01T18:00')
  })

  test('what is only a little late was not missed', async () => {
    const first = await running({ missed: 'skip' })
    await first.stop()
    await world.clock.advance(3_600_000 + 30_000)
    await running({ missed: 'skip' })
    expect(await occurrences()).toEqual(['2026-03-01T13:00'])
  })

  test('years of seconds are passed over at once', async () => {
    const first = await running({ cron: '* * * * * *' })
    await first.stop()
    await world.clock.advance('700d')
    await running({ cron: '* * * * * *' })
    expect((await occurrences()).length).toBeLessThan(70)
  })
})

describe('while the one before is not handled', () => {
  test('allow sends regardless', async () => {
    await running({ overlap: 'allow' })
    await world.clock.advance('3h')
    expect(await occurrences()).toHaveLength(3)
  })

  test('queue sends with a key, so that they are handled one after the other', async () => {
    await running({ overlap: 'queue' })
    await world.clock.advance('2h')
    const { entries } = await world.store.register.list({}, 10, null)
    expect(entries.map(({ key, message }) => [key, message!.keySeq])).toEqual([
      ['report', 1],
      ['report', 2],
    ])
  })

  test('skip leaves it out as long as it waits to be sent', async () => {
    await running({ overlap: 'skip' })
    await world.clock.advance('3h')
    expect(await occurrences()).toEqual(['2026-03-01T13:00'])
    expect(world.telemetry.counts.get(METRIC.schedulesSkipped)).toBe(2)
  })

  test('and as long as a handler of this store has not done it', async () => {
    await running({ overlap: 'skip', consumers: ['build'] })
    await world.clock.advance('1h')
    const [entry] = await sendAll()
    await world.clock.advance('1h')
    expect(await occurrences()).toEqual([])
    await world.store.transaction((tx) => world.store.inbox.begin(tx, 'build', [entry!.message], false))
    await world.clock.advance('1h')
    expect(await occurrences()).toEqual(['2026-03-01T15:00'])
  })

  test('what was given up holds back nothing', async () => {
    await running({ overlap: 'skip', consumers: ['build'] })
    await world.clock.advance('1h')
    const [entry] = await sendAll()
    const kept = { message: entry!.message, state: 'parked', attempts: 1, dueAt: 0 } as const
    await world.store.inbox.keep('build', [kept])
    await world.clock.advance('1h')
    expect(await occurrences()).toEqual(['2026-03-01T14:00'])
  })

  async function sendAll() {
    const leases = await world.store.outbox.lease('relay', 60_000)
    const entries = await world.store.outbox.due(
      leases.map(({ bucket }) => bucket),
      10,
    )
    await world.store.outbox.sent(leases, entries, false)
    return entries
  }
})

describe('deployments', () => {
  test('a changed declaration counts from the start of the first process that has it', async () => {
    await running({ process: 'old', cron: '0 * * * *' })
    await world.clock.advance('10m')
    await running({ process: 'new', cron: '30 * * * *' })
    await world.clock.advance('2h')
    expect(await occurrences()).toEqual(['2026-03-01T12:30', '2026-03-01T13:30'])
    expect((await row())!.definition).toContain('30 * * * *')
  })

  test('what the new ones leave alone after they are gone, the old ones take over', async () => {
    await running({ process: 'old', cron: '0 * * * *' })
    const next = await running({ process: 'new', cron: '30 * * * *' })
    await next.stop()
    await world.clock.advance('2h')
    expect((await row())!.definition).toContain('0 * * * *')
    expect((await occurrences()).length).toBeGreaterThan(0)
  })

  test('what was missed under the old declaration is not forgotten with it', async () => {
    const old = await running({ cron: '0 * * * *' })
    await old.stop()
    await world.clock.advance('65m')
    await running({ cron: '0 */1 * * *', missed: 'once' })
    expect(await occurrences()).toEqual(['2026-03-01T13:00'])
  })

  test('a schedule of other processes is not removed while they are there', async () => {
    await running({ process: 'worker', name: 'report' })
    await running({ process: 'web', name: 'other' })
    await world.clock.advance('3h')
    expect((await world.store.schedules.list()).map(({ name }) => name).toSorted()).toEqual(['other', 'report'])
    expect(await occurrences()).toHaveLength(3)
  })

  test('and not when they start a little later, after nothing was running for long', async () => {
    const worker = await running({ process: 'worker', name: 'report', missed: 'once' })
    await worker.stop()
    await world.clock.advance('2d')
    await running({ process: 'web', name: 'other' })
    await world.clock.advance('4m')
    await running({ process: 'worker', name: 'report', missed: 'once' })
    expect(await occurrences()).toEqual(['2026-03-03T12:00'])
  })

  test('one that no process declares any more is removed', async () => {
    const worker = await running({ process: 'worker', name: 'gone' })
    await running({ process: 'web', name: 'other' })
    await worker.stop()
    await world.clock.advance('90m')
    expect((await world.store.schedules.list()).map(({ name }) => name)).toEqual(['other'])
  })

  test('one that was removed under our feet is declared again', async () => {
    await running()
    await world.store.schedules.remove('report')
    await world.clock.advance('1h')
    expect(await occurrences()).toEqual(['2026-03-01T13:00'])
  })
})

describe('a declaration is refused', () => {
  test.each([
    ['whose expression cannot be read', { cron: 'now and then' }, 'now and then'],
    ['whose time zone does not exist', { tz: 'Mars/Base' }, 'Mars/Base'],
    ['that never occurs', { cron: '0 0 30 2 *' }, 'it never occurs'],
    ['without a name', { name: '' }, 'needs 1 to'],
    ['whose name no database keeps', { name: 'a\0' }, 'has a NUL'],
  ] as const)('%s', async (_, setting, message) => {
    await expect(running(setting)).rejects.toThrow(message)
  })

  test('whose name is taken, or that comes too late', async () => {
    const schedules = await running()
    const again = () => schedules.every('0 * * * *', { name: 'late' }, Build, () => ({ day: '' }))
    expect(again).toThrow('before the service is started')
    await schedules.stop()
    const twice = () => schedules.every('0 * * * *', { name: 'report' }, Build, () => ({ day: '' }))
    expect(twice).toThrow('two schedules')
  })
})
