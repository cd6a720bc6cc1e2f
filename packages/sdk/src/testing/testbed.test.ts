import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import { event } from '../contract/event.ts'
import { request } from '../contract/request.ts'
import { service, type Service } from '../service.ts'
import { memoryStore, type MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Store } from '../store/port.ts'
import { systemClock } from '../time/clock.ts'
import { memoryEngine } from '../transport/memory/index.ts'
import { testbed, type Testbed, type TestbedOptions } from './testbed.ts'

const Submitted = event('ticket.submitted', z.object({ ticketId: z.string() })).key(({ ticketId }) => ticketId)
const Accepted = event('ticket.accepted', z.object({ ticketId: z.string() })).key(({ ticketId }) => ticketId)
const Close = command('ticket.close', z.object({ ticketId: z.string() })).key(({ ticketId }) => ticketId)
const Price = request('price', {
  input: z.object({ item: z.string() }),
  output: z.object({ cents: z.number() }),
  errors: { unknown: z.object({ item: z.string() }) },
})

type App = Service<MemoryTransaction>

/** A testbed that is closed when the test is over. */
async function opened(
  app: App | readonly App[],
  options: TestbedOptions<MemoryTransaction> = {},
): Promise<Testbed<MemoryTransaction>> {
  const bed = await testbed(app, options)
  onTestFinished(() => bed.close())
  return bed
}

interface Program {
  readonly texts: string[]
  failures: number
}

/** A program as it would be: with the clock, the chance, the engine of the machine. */
function program(state: Program = { texts: [], failures: 0 }) {
  const app = service('helpdesk', {
    store: memoryStore({ clock: systemClock }),
    transport: memoryEngine().transport(),
  })
    .on(Submitted, { name: 'assign' }, async ({ ticketId }, { tx, publish, send }) => {
      await tx.table<string>('tickets').set(ticketId, 'assigned')
      await publish(Accepted, { ticketId })
      await send(Close, { ticketId }, { delay: '14d', cancelKey: `close:${ticketId}` })
    })
    .on(Close, { name: 'close' }, async ({ ticketId }, { tx }) => {
      await tx.table<string>('tickets').set(ticketId, 'closed')
    })
    .effect(Accepted, { name: 'sms' }, ({ ticketId }) => {
      if (state.failures > 0) {
        state.failures--
        throw new Error('no signal')
      }
      state.texts.push(ticketId)
    })
    .answer(Price, ({ item }, { fail }) => (item === 'pen' ? { cents: 120 } : fail('unknown', { item })))
  return { app, state }
}

test('what a program does is done when the test has settled, and what is due later when its time has come', async () => {
  const { app, state } = program()
  const t = await opened(app)
  await t.publish(Submitted, { ticketId: 't1' })
  await t.settled()
  expect(t.table('tickets').get('t1')).toBe('assigned')
  expect(state.texts).toEqual(['t1'])
  await t.clock.advance('13d')
  expect(t.table('tickets').get('t1')).toBe('assigned')
  await t.clock.advance('1d')
  expect(t.table('tickets').get('t1')).toBe('closed')
})

test('the story tells what became of every message, and is the same each time', async () => {
  const tell = async (): Promise<string> => {
    const { app } = program({ texts: [], failures: 2 })
    const t = await opened(app)
    await t.publish(Submitted, { ticketId: 't1' })
    await t.settled()
    await t.ask(Price, { item: 'gold' })
    return t.story()
  }
  const story = await tell()
  expect(story).toMatchInlineSnapshot(`
    "ticket.submitted #1 of t1
      helpdesk.assign: done
        ticket.accepted #2 of t1
          helpdesk.sms: failed, after Error: no signal, again at +996ms
        ticket.close #3 of t1: scheduled for +14d
    price #4: answered with unknown"
  `)
  expect(await tell()).toBe(story)
})

test('a story can be asked for one message, and tells what was retried and parked', async () => {
  const { app, state } = program({ texts: [], failures: 2 })
  const t = await opened(app)
  const id = await t.publish(Submitted, { ticketId: 't1' })
  await t.publish(Submitted, { ticketId: 't2' })
  await t.rested()
  expect(state.texts.toSorted()).toEqual(['t1', 't2'])
  expect(await t.story(id)).toMatchInlineSnapshot(`
    "ticket.submitted #1 of t1
      helpdesk.assign: done
        ticket.accepted #2 of t1
          helpdesk.sms: done at attempt 2, after Error: no signal
        ticket.close #3 of t1: scheduled for +14d"
  `)
  const failing = service('shop', { store: memoryStore({ clock: systemClock }), transport: memoryEngine().transport() })
  failing.on(Submitted, { name: 'fail', retry: { attempts: 2 } }, () => {
    throw new Error('never')
  })
  const other = await opened(failing)
  await other.publish(Submitted, { ticketId: 't1' })
  await other.publish(Submitted, { ticketId: 't1' })
  await other.rested()
  expect(await other.story()).toMatchInlineSnapshot(`
    "ticket.submitted #1 of t1
      shop.fail: parked at attempt 2, after Error: never (2 times)
    ticket.submitted #2 of t1
      shop.fail: waiting"
  `)
})

test('services share the engine and the time, and each has the store that it would have', async () => {
  const { app } = program()
  const audited: string[] = []
  const audit = service('audit', { store: memoryStore({ clock: systemClock }), transport: memoryEngine().transport() })
  audit.on(Accepted, { name: 'note' }, async ({ ticketId }, { tx }) => {
    audited.push(ticketId)
    await tx.table<boolean>('noted').set(ticketId, true)
  })
  const t = await opened([app, audit])
  await t.publish(Submitted, { ticketId: 't1' })
  await t.settled()
  expect(audited).toEqual(['t1'])
  expect(t.as(audit).table('noted').get('t1')).toBe(true)
  expect(t.table('noted').get('t1')).toBeUndefined()
  expect(await t.as(audit).register.count({ direction: 'in', state: 'done' })).toBe(1)
})

test('a process that is ended leaves what it began to the next one', async () => {
  const sent: string[] = []
  let hold = true
  const app = service('helpdesk', { store: memoryStore({ clock: systemClock }), transport: memoryEngine().transport() })
  app.effect(Accepted, { name: 'sms', lease: '30s' }, async ({ ticketId }, { attempt }) => {
    if (hold) await new Promise(() => {})
    sent.push(`${ticketId} at attempt ${attempt}`)
  })
  const t = await opened(app)
  await t.publish(Accepted, { ticketId: 't1' })
  await expect(t.settled()).rejects.toThrow('helpdesk#1 is at work; ticket.accepted t1 is running at helpdesk.sms')
  hold = false
  await t.crash()
  expect(sent).toEqual([])
  await t.clock.advance('31s')
  expect(sent).toEqual(['t1 at attempt 2'])
})

test('a request is answered, and one that nobody could answer is unreachable', async () => {
  const { app } = program()
  const t = await opened(app)
  expect(await t.ask(Price, { item: 'pen' })).toEqual({ ok: true, value: { cents: 120 } })
  const Nobody = request('nobody', { input: z.object({}), output: z.object({}) })
  expect(await t.ask(Nobody, {})).toMatchObject({ ok: false, error: 'unreachable' })
})

test('years pass quickly, and a timer of the test fires at its very time', async () => {
  const { app } = program()
  const t = await opened(app)
  const start = t.clock.now()
  const fired: number[] = []
  t.clock.after(86_400_000, () => fired.push(t.clock.now() - start))
  await t.clock.advance('730d')
  expect(fired).toEqual([86_400_000])
  expect(t.clock.now() - start).toBe(730 * 86_400_000)
})

test('a schedule keeps its times', async () => {
  const days: string[] = []
  const app = service('reports', { store: memoryStore({ clock: systemClock }), transport: memoryEngine().transport() })
  const Build = command('report.build', z.object({ day: z.string() }))
  app.every('0 3 * * *', { name: 'report' }, Build, (at) => ({ day: at.toISOString() }))
  app.effect(Build, { name: 'build' }, ({ day }) => days.push(day))
  const t = await opened(app)
  await t.clock.advance('3d')
  expect(days).toEqual(['2026-03-03', '2026-03-04', '2026-03-05'].map((day) => `${day}T03:00:00.000Z`))
})

test('a transaction of the test is one of the service, and what the service itself does is in the same world', async () => {
  const { app, state } = program()
  const t = await opened(app)
  await expect(
    t.transaction(async (_, { publish }) => {
      await publish(Submitted, { ticketId: 'lost' })
      throw new Error('rolled back')
    }),
  ).rejects.toThrow('rolled back')
  await app.transaction(async (_, { publish }) => void (await publish(Submitted, { ticketId: 't2' })))
  await t.settled()
  expect(state.texts).toEqual(['t2'])
})

test('a service whose store is a database keeps it, unless it is given another one', async () => {
  const database: Store<MemoryTransaction> = { ...memoryStore({ clock: systemClock }), name: 'database' }
  const handled: string[] = []
  const app = service('helpdesk', { store: database, transport: memoryEngine().transport() })
  app.on(Submitted, { name: 'note' }, ({ ticketId }) => void handled.push(ticketId))
  const kept = await testbed(app)
  await kept.publish(Submitted, { ticketId: 't1' })
  await kept.settled()
  expect(await database.register.count({ direction: 'in' })).toBe(1)
  await kept.close()
  const without = await opened(app, { store: (clock) => memoryStore({ clock }) })
  await without.publish(Submitted, { ticketId: 't2' })
  await without.settled()
  expect(handled).toEqual(['t1', 't2'])
  expect(await database.register.count({ direction: 'in' })).toBe(1)
})
