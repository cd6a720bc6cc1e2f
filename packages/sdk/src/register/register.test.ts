import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import type { Contract } from '../contract/contract.ts'
import { event } from '../contract/event.ts'
import { SdkError } from '../errors.ts'
import type { Kept, RegisterFilter, RegisterReading, Store } from '../store/port.ts'
import { Outbox, type OutboxOptions } from '../outbox/outbox.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { SettingsDirectory, type MessageSettings } from './message-settings.ts'
import { CleanUp } from './clean-up.ts'
import { Register } from './register.ts'
import { Submission, submissionId } from './submission.ts'

const Submitted = event('ticket.submitted', z.object({ ticketId: z.string(), title: z.string().optional() })).key(
  (data) => data.ticketId,
)
const Close = command('ticket.close', z.object({ reason: z.string() }))

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Looks so seldom that days pass in a few steps. */
const SELDOM: OutboxOptions = { relay: { lease: '12h', poll: '6h' }, retention: { parked: '12h', expired: '12h' } }

function world(
  settings: readonly MessageSettings[] = [],
  contracts: readonly Contract[] = [Submitted, Close],
  options: OutboxOptions = {},
) {
  const base = new OutboxWorld()
  const surroundings = base.process()
  const { store, clock } = base
  const directory = new SettingsDirectory(settings)
  const outbox = new Outbox(surroundings, directory.outboxOptions(options))
  let wakes = 0
  const register = new Register(
    surroundings,
    (name) => contracts.find((each) => each.name === name),
    () => void wakes++,
  )
  const submission = new Submission(surroundings, outbox, directory)
  /** Has a consumer receive messages and give them up, or whatever `more` says. */
  const park = async (ids: readonly string[], more: Partial<Kept> & { consumer?: string; data?: unknown } = {}) => {
    const { consumer = 'desk', data = { reason: 'done' }, ...kept } = more
    const body = new TextEncoder().encode(JSON.stringify(data))
    const messages = ids.map((id) => ({ ...base.draft({ id, kind: 'command', type: 'ticket.close', body }) }))
    await store.inbox.keep(
      consumer,
      messages.map((message) => ({
        message,
        state: 'parked',
        attempts: 3,
        dueAt: 0,
        attempt: failure('Boom'),
        ...kept,
      })),
    )
  }
  const failure = (fingerprint: string) => ({ at: 1, attempt: 3, name: 'E', message: 'broken', fingerprint, by: 'me' })
  return {
    base,
    clock,
    store,
    register,
    submission,
    outbox,
    park,
    failure,
    directory,
    surroundings,
    wakes: () => wakes,
  }
}

/** What is read from now on for each page that a store is asked for. */
function readsOf({ register }: Pick<Store<never>, 'register'>): (RegisterReading | undefined)[] {
  const reads: (RegisterReading | undefined)[] = []
  const list = register.list.bind(register)
  register.list = (filter, limit, after, reading) => {
    reads.push(reading)
    return list(filter, limit, after, reading)
  }
  return reads
}

const HEADS = { bodies: false, errors: false }

describe('retrying', () => {
  test('by id takes what was given up, whatever its state, and says how much', async () => {
    const { register, park, base, wakes } = world()
    await park(['a'])
    await park(['b'], { state: 'expired' })
    await park(['c'], { state: 'waiting' })
    expect(await register.retry(['a', 'b', 'c', 'none'])).toMatchObject({ matched: 2, changed: 2, dryRun: false })
    expect(await base.states()).toEqual({ a: 'waiting', b: 'waiting', c: 'waiting' })
    expect(wakes()).toBe(1)
  })

  test('by a filter takes only what is parked, unless another state is named', async () => {
    const { register, park, base } = world()
    await park(['a'])
    await park(['b'], { state: 'expired' })
    expect(await register.retry({ contract: 'ticket.*' })).toMatchObject({ changed: 1 })
    expect(await base.states()).toEqual({ a: 'waiting', b: 'expired' })
    expect(await register.retry({ state: 'expired' })).toMatchObject({ changed: 1 })
  })

  test('by fingerprint takes the messages that failed alike', async () => {
    const { register, park, failure, base } = world()
    await park(['a'], { attempt: failure('SmtpTimeout') })
    await park(['b'], { attempt: failure('NoSuchUser') })
    await register.retry({ fingerprint: 'SmtpTimeout' })
    expect(await base.states()).toEqual({ a: 'waiting', b: 'parked' })
  })

  test('goes no faster than the rate', async () => {
    const { register, park, clock } = world()
    await park(Array.from({ length: 30 }, (_, i) => `m${i}`))
    const result = register.retry({}, { rate: '50/s' })
    await clock.advance(250)
    // Five of 50 a second go every 100 ms, the first at once.
    expect(await register.count({ state: 'waiting' })).toBe(15)
    await clock.advance(1000)
    expect(await result).toMatchObject({ changed: 30 })
  })

  test('a redrive has a rate unless it is given one', async () => {
    const { register, park, clock } = world()
    await park(Array.from({ length: 30 }, (_, i) => `m${i}`))
    const result = register.redrive()
    await clock.advance(0)
    expect(await register.count({ state: 'waiting' })).toBe(5)
    await clock.advance(1000)
    expect(await result).toMatchObject({ changed: 30 })
  })

  test('a dry run changes nothing and says what would be: groups, keys, and what would fail again at once', async () => {
    const { register, park, base } = world()
    await park(['a', 'b'])
    await park(['c'], { data: { reason: 7 } })
    await park(['d'], { consumer: 'audit' })
    const result = await register.redrive({}, { dryRun: true })
    expect(result).toMatchObject({
      dryRun: true,
      matched: 4,
      changed: 0,
      groups: [
        { consumer: 'desk', contract: 'ticket.close', state: 'parked', fingerprint: 'Boom', count: 3 },
        { consumer: 'audit', contract: 'ticket.close', state: 'parked', fingerprint: 'Boom', count: 1 },
      ],
      unreadable: [{ id: 'c', consumer: 'desk', why: expect.stringContaining('reason') }],
    })
    expect(new Set(Object.values(await base.states()))).toEqual(new Set(['parked']))
  })

  test('reads no messages, and a dry run only until it has told enough of those that cannot be read', async () => {
    const { register, park, store } = world()
    const reads = readsOf(store)
    await park(
      Array.from({ length: 1100 }, (_, i) => `m${i}`),
      { data: { reason: 7 } },
    )
    const dry = await register.retry({}, { dryRun: true })
    expect([dry.matched, dry.unreadable.length]).toEqual([1100, 100])
    expect(reads).toEqual([{ errors: false, bytesMax: 16 * 1024 * 1024 }, HEADS, HEADS])
    reads.length = 0
    expect(await register.retry({})).toMatchObject({ changed: 1100 })
    expect(reads).toEqual([HEADS, HEADS, HEADS])
  })

  test('does not touch what is parked while it runs', async () => {
    const { register, park, clock, base } = world()
    await park(['a', 'b', 'c'])
    const result = register.redrive({}, { rate: '1/s' })
    await clock.advance(500)
    await park(['late'])
    await clock.advance(5000)
    expect(await result).toMatchObject({ matched: 3, changed: 3 })
    expect(await base.states()).toMatchObject({ late: 'parked' })
  })

  test('can be stopped, and says how far it came', async () => {
    const { register, park, clock } = world()
    await park(['a', 'b', 'c', 'd'])
    const controller = new AbortController()
    const result = register.retry({}, { rate: '1/s', signal: controller.signal })
    await clock.advance(1500)
    controller.abort()
    await clock.advance(1000)
    expect(await result).toMatchObject({ changed: 2 })
  })

  test.each(['fast', '0/s', '-1/s', '5/d'])('a rate of %s is none', async (rate) => {
    await expect(world().register.retry({}, { rate: rate as '1/s' })).rejects.toMatchObject({
      code: 'invalid_declaration',
    })
  })
})

describe('cancelling', () => {
  test('takes what is not done out of the way', async () => {
    const { register, park, base } = world()
    await park(['a'])
    await base.commit({ id: 'b' })
    expect(await register.cancel(['a', 'b'])).toMatchObject({ changed: 2 })
    expect(await base.states()).toEqual({ a: 'cancelled', b: 'cancelled' })
  })

  test('of everything is refused, because nobody means it', async () => {
    await expect(world().register.cancel({})).rejects.toMatchObject({ code: 'invalid_declaration' })
  })
})

describe('editing', () => {
  test('makes a new message of the data, validated, with the old one as its cause', async () => {
    const { register, park, base } = world()
    await park(['a'], { data: { reason: 7 } })
    await expect(register.edit('a', { reason: 8 })).rejects.toMatchObject({ code: 'invalid_data' })
    const id = await register.edit('a', { reason: 'seven' })
    expect(await base.states()).toEqual({ a: 'cancelled', [id]: 'waiting' })
    const [edited] = await register.inspect(id)
    expect(edited).toMatchObject({
      data: { reason: 'seven' },
      message: { metadata: { causationId: 'a', correlationId: 'a' } },
    })
    expect((await register.inspect('a'))[0]).toMatchObject({
      data: undefined,
      unreadable: expect.stringContaining('reason'),
    })
  })

  test('cannot move a message to another key, out of its order', async () => {
    const { register, store, base } = world()
    const body = new TextEncoder().encode('{"ticketId":"t1"}')
    const message = { ...base.draft({ id: 'a', key: 't1', body }), keySeq: 1 }
    await store.inbox.keep('desk', [{ message, state: 'parked', attempts: 1, dueAt: 0 }])
    await expect(register.edit('a', { ticketId: 't2' })).rejects.toMatchObject({ code: 'refused' })
    const id = await register.edit('a', { ticketId: 't1', title: 'better' })
    expect((await register.inspect(id))[0]).toMatchObject({ key: 't1', message: { keySeq: 1 } })
  })

  test('needs one parked message of a contract that the program knows', async () => {
    const { register, park } = world([], [Submitted])
    await expect(register.edit('none', {})).rejects.toMatchObject({ code: 'not_found' })
    await park(['a'])
    await expect(register.edit('a', {})).rejects.toMatchObject({ code: 'unknown_contract' })
    await park(['a'], { consumer: 'audit' })
    await expect(register.edit('a', {})).rejects.toThrow(/desk, audit|audit, desk/)
    await park(['b'], { state: 'waiting' })
    await expect(register.edit('b', {})).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('purging', () => {
  test('deletes only what is old enough, of the state, and of the contracts that are named', async () => {
    const { register, park, clock, base } = world()
    await park(['a', 'b'])
    await clock.advance(2 * DAY_MS)
    await park(['c'])
    expect(await register.purge({ state: 'parked', olderThan: '1d', dryRun: true })).toBe(2)
    expect(await register.purge({ state: 'parked', olderThan: '1d', contracts: ['ticket.submitted'] })).toBe(0)
    expect(await register.purge({ state: 'parked', olderThan: '1d' })).toBe(2)
    expect(await base.states()).toEqual({ c: 'parked' })
  })

  test.each([true, false])('by a pattern is refused: contracts are named (dry run: %s)', async (dryRun) => {
    const { register, park, base } = world()
    await park(['a'])
    await expect(
      register.purge({ state: 'parked', olderThan: 0, contracts: ['ticket.*'], dryRun }),
    ).rejects.toMatchObject({ code: 'invalid_declaration' })
    expect(await base.states()).toEqual({ a: 'parked' })
  })

  test('of what was never sent does not compile, and deletes nothing [Directum: a purge of what was unsent]', async () => {
    const { register, base, clock } = world()
    await base.commit({ id: 'unsent' })
    await clock.advance(400 * DAY_MS)
    // @ts-expect-error only what nothing more will happen to can be purged
    const slip = register.purge({ state: 'pending', olderThan: '1d' })
    await expect(slip).rejects.toMatchObject({ code: 'invalid_declaration' })
    for (const state of ['sent', 'done', 'parked', 'cancelled', 'expired'] as const)
      await register.purge({ state, olderThan: 0 })
    expect(await base.states()).toEqual({ unsent: 'pending' })
  })
})

test('a list has pages of at most 1000, and a count of all', async () => {
  const { register, park } = world()
  await park(['a', 'b', 'c'])
  const { entries, next } = await register.list({}, { limit: 2 })
  expect(entries.map(({ id }) => id)).toEqual(['a', 'b'])
  expect((await register.list({}, { limit: 2, after: next })).entries).toHaveLength(1)
  expect(await register.count()).toBe(3)
  await expect(register.list({}, { limit: 1001 })).rejects.toMatchObject({ code: 'invalid_declaration' })
})

test('a page of large messages ends early and goes on, and is whole when nobody wants the messages themselves', async () => {
  const { register, park } = world()
  await park(['a', 'b', 'c'], { data: { reason: 'x'.repeat(6 * 1024 * 1024) } })
  const first = await register.list()
  expect(first.entries.map(({ id }) => id)).toEqual(['a', 'b'])
  const second = await register.list({}, { after: first.next })
  expect([second.entries.map(({ id }) => id), second.next]).toEqual([['c'], null])
  const { entries, next } = await register.list({}, { bodies: false })
  expect([entries.map(({ id, message }) => [id, message]), next]).toEqual([
    ['a', 'b', 'c'].map((id) => [id, null]),
    null,
  ])
  expect(entries[0]!.errors).toHaveLength(1)
})

test('groups are of one direction, consumer, contract, state and error, and their messages are not read', async () => {
  const { register, park, failure, base, store } = world()
  const reads = readsOf(store)
  await park(['a', 'b'])
  await park(['c'], { attempt: failure('SmtpTimeout') })
  await park(['d'], { consumer: 'audit', state: 'waiting' })
  await base.commit({ id: 'e' })
  const { matched, groups } = await register.groups()
  expect(matched).toBe(5)
  expect(groups.map(({ consumer, state, fingerprint, count }) => [count, consumer, state, fingerprint])).toEqual([
    [2, 'desk', 'parked', 'Boom'],
    [1, 'audit', 'waiting', 'Boom'],
    [1, 'desk', 'parked', 'SmtpTimeout'],
    [1, '', 'pending', null],
  ])
  expect(await register.groups({ state: 'parked', fingerprint: 'Boom' })).toMatchObject({ matched: 2 })
  expect(reads).toEqual([HEADS, HEADS])
})

describe('submitting', () => {
  test('is no message that was received: what remembers it is in no list, but where it is named', async () => {
    const { submission, register } = world()
    const { id } = await submission.submit(Submitted, { ticketId: 't' }, { externalId: 'DIR-7' })
    const directions = async (filter: RegisterFilter) =>
      (await register.list(filter)).entries.map(({ direction }) => direction)
    expect(await directions({})).toEqual(['out'])
    expect(await directions({ direction: 'in' })).toEqual([])
    expect(await register.count({ contract: 'ticket.submitted' })).toBe(1)
    for (const named of [{ id }, { externalId: 'DIR-7' }, { consumer: 'submissions' }])
      expect(await directions(named)).toContain('in')
  })

  test.each([
    ['a\0', 'invalid_data'],
    ['x'.repeat(201), 'too_large'],
  ])('under a name that no database keeps is refused: %j', async (externalId, code) => {
    const { submission, register } = world()
    await expect(submission.submit(Submitted, { ticketId: 't' }, { externalId })).rejects.toMatchObject({ code })
    expect(await register.inspect('a\0')).toEqual([])
    expect(await register.list({ id: 'a\0' })).toEqual({ entries: [], next: null })
  })

  test('the same external id gives the same message, however often it is repeated', async () => {
    const { submission, base, outbox } = world()
    const first = await submission.submit(Submitted, { ticketId: 't' }, { externalId: 'DIR-7' })
    const again = await submission.submit(Submitted, { ticketId: 't' }, { externalId: 'DIR-7' })
    expect(first).toEqual({ id: submissionId('helpdesk', 'ticket.submitted', 'DIR-7'), repeated: false })
    expect(again).toEqual({ id: first.id, repeated: true })
    await outbox.drain()
    expect(base.sent()).toEqual([first.id])
    // It is sent and gone: a repetition has the same id, so that its consumers know it.
    expect(await submission.submit(Submitted, { ticketId: 't' }, { externalId: 'DIR-7' })).toMatchObject({
      id: first.id,
    })
    expect(first.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  test('many at once make one message', async () => {
    const { submission, base } = world()
    const all = [1, 2, 3].map(() => submission.submit(Submitted, { ticketId: 't' }, { externalId: 'DIR-7' }))
    expect((await Promise.all(all)).filter(({ repeated }) => !repeated)).toHaveLength(1)
    expect(Object.keys(await base.states({ direction: 'out' }))).toHaveLength(1)
  })

  test('the same external id with other data is refused, and changes nothing', async () => {
    const { submission, register } = world()
    const { id } = await submission.submit(Submitted, { ticketId: 't' }, { externalId: 'DIR-7' })
    await expect(submission.submit(Submitted, { ticketId: 'u' }, { externalId: 'DIR-7' })).rejects.toMatchObject({
      code: 'refused',
      data: { id },
    })
    const out = (await register.inspect(id)).find(({ direction }) => direction === 'out')
    expect(out).toMatchObject({ data: { ticketId: 't' }, externalId: 'DIR-7' })
  })

  test('the same external id of another contract is another message', async () => {
    const { submission, base } = world()
    await submission.submit(Submitted, { ticketId: 't' }, { externalId: '7' })
    await submission.submit(Close, { reason: 'r' }, { externalId: '7' })
    expect(Object.keys(await base.states({ direction: 'out' }))).toHaveLength(2)
  })

  test('invalid data leaves nothing in the register', async () => {
    const { submission, base } = world()
    const wrong = { ticketId: 7 } as unknown as { ticketId: string }
    await expect(submission.submit(Submitted, wrong, { externalId: '7' })).rejects.toMatchObject({
      code: 'invalid_data',
    })
    await expect(submission.submit(Submitted, { ticketId: 't' }, { externalId: '' })).rejects.toThrow('externalId')
    expect(await base.states()).toEqual({})
  })
})

describe('sending at once', () => {
  test('resolves when the engine has it', async () => {
    const { submission, base, outbox, clock } = world()
    await outbox.start()
    const sent = submission.sendNow(Close, { reason: 'r' })
    await clock.advance(100)
    expect(await sent).toMatchObject({ sent: true })
    expect(base.sent()).toHaveLength(1)
    await outbox.stop()
  })

  test('when the engine is away, it says so in time, and the message stays and is sent later, once', async () => {
    const { submission, base, outbox, clock } = world()
    base.transport.answer = () => {
      throw new SdkError('transport_down', 'down', { retryable: true })
    }
    await outbox.start()
    const sent = submission.sendNow(Close, { reason: 'r' }, { timeout: '2s' })
    await clock.advance(2100)
    const outcome = await sent
    expect(outcome).toMatchObject({ sent: false, state: 'pending' })
    base.transport.answer = () => 'sent'
    await clock.advance(60_000)
    expect(base.sent()).toEqual([outcome.id])
    await outbox.stop()
  })

  test('does not overtake earlier messages of its key', async () => {
    const { submission, base, outbox, clock } = world()
    const first = await submission.createMessage(Submitted, { ticketId: 't' })
    await outbox.start()
    const second = submission.sendNow(Submitted, { ticketId: 't' })
    await clock.advance(1000)
    expect(base.sent()).toEqual([first, (await second).id])
    await outbox.stop()
  })

  test('tells at once when the engine will never take it', async () => {
    const { submission, base, outbox, clock } = world()
    base.transport.answer = () => new SdkError('too_large', 'the engine takes less')
    await outbox.start()
    const sent = submission.sendNow(Close, { reason: 'r' }, { timeout: '30d' })
    await clock.advance(HOUR_MS)
    expect(await sent).toMatchObject({ sent: false, state: 'parked', reason: expect.stringContaining('takes less') })
    await outbox.stop()
  })
})

describe('settings of an external system', () => {
  const ERP = { system: 'erp', contracts: [Submitted], ttl: '1h', bodyBytesMax: 40, retry: { attempts: 3 } } as const

  test('give what is created for it a time to live and a largest size', async () => {
    const { submission, register, clock } = world([ERP])
    const id = await submission.createMessage(Submitted, { ticketId: 't' })
    expect((await register.inspect(id))[0]?.message?.metadata.deadline).toBe(clock.now() + HOUR_MS)
    await expect(submission.createMessage(Submitted, { ticketId: 't'.repeat(60) })).rejects.toMatchObject({
      code: 'too_large',
    })
    const free = await submission.createMessage(Close, { reason: 'r'.repeat(60) })
    expect((await register.inspect(free))[0]?.message?.metadata.deadline).toBeUndefined()
  })

  test('are what its handler is declared with', () => {
    const { directory } = world([{ ...ERP, rate: { limit: 10, per: '1s' }, timeout: '5s' }])
    expect(directory.handling('erp')).toEqual({
      retry: { attempts: 3 },
      rate: { limit: 10, per: '1s', name: 'erp' },
      timeout: '5s',
    })
    expect(() => directory.handling('crm')).toThrow('declared are erp')
  })

  test('keep its sent messages as long as the service does, when they say no age', async () => {
    const { submission, base, outbox, clock } = world([{ ...ERP, keepSent: true }], [], SELDOM)
    const kept = await submission.createMessage(Submitted, { ticketId: 't' })
    await submission.createMessage(Close, { reason: 'r' })
    await outbox.start()
    await clock.advance(6 * DAY_MS)
    expect(await base.states()).toEqual({ [kept]: 'sent' })
    await clock.advance(2 * DAY_MS)
    expect(await base.states()).toEqual({})
    await outbox.stop()
  })

  test('may have its sent messages forgotten by a service that keeps those of all others', async () => {
    const relay = { ...SELDOM.relay, keepSent: true }
    const { submission, base, outbox, clock } = world([{ ...ERP, keepSent: false }], [], { ...SELDOM, relay })
    await submission.createMessage(Submitted, { ticketId: 't' })
    const kept = await submission.createMessage(Close, { reason: 'r' })
    await outbox.start()
    await clock.advance(1000)
    expect(await base.states()).toEqual({ [kept]: 'sent' })
    await outbox.stop()
  })

  test('keep its sent messages, and no others', async () => {
    const settings = { ...ERP, keepSent: true, cleanUp: { sent: '1d', parked: '1d' } } as const
    const { submission, base, outbox, surroundings, directory, clock } = world([settings], [], SELDOM)
    const cleanUp = new CleanUp(surroundings, directory.cleanUps)
    const kept = await submission.createMessage(Submitted, { ticketId: 't' })
    await submission.createMessage(Close, { reason: 'r' })
    await outbox.start()
    cleanUp.start()
    await clock.advance(HOUR_MS)
    expect(await base.states()).toEqual({ [kept]: 'sent' })
    await clock.advance(DAY_MS)
    expect(await base.states()).toEqual({})
    await Promise.all([outbox.stop(), cleanUp.stop()])
  })

  test('can keep its messages longer than the service does', async () => {
    const settings = { system: 'erp', contracts: [Close], cleanUp: { expired: 'never', parked: '1d' } } as const
    const { base, outbox, park, surroundings, directory, clock } = world([settings], [], SELDOM)
    const cleanUp = new CleanUp(surroundings, directory.cleanUps)
    await park(['a'], { state: 'expired' })
    await park(['b'])
    await outbox.start()
    cleanUp.start()
    await clock.advance(18 * HOUR_MS)
    expect(await base.states()).toEqual({ a: 'expired', b: 'parked' })
    await clock.advance(12 * HOUR_MS)
    expect(await base.states()).toEqual({ a: 'expired' })
    await Promise.all([outbox.stop(), cleanUp.stop()])
  })

  test('are listed as they are', () => {
    const { directory } = world([{ ...ERP, cleanUp: { parked: '1d', expired: 'never' } }])
    expect(directory.describe()).toEqual([
      {
        system: 'erp',
        contracts: ['ticket.submitted'],
        retry: { attempts: 3 },
        rate: null,
        timeoutMs: null,
        ttlMs: HOUR_MS,
        bodyBytesMax: 40,
        keepSent: null,
        cleanUpMs: { parked: DAY_MS, expired: 'never' },
      },
    ])
  })

  test.each<[string, readonly MessageSettings[]]>([
    ['declared twice', [ERP, { ...ERP, contracts: [] }]],
    ['belongs to "erp" already', [ERP, { system: 'crm', contracts: [Submitted] }]],
    ['has no name', [{ system: '', contracts: [] }]],
    ['has a rate of 0', [{ system: 'a', contracts: [], rate: { limit: 0, per: '1s' } }]],
    ['bodyBytesMax 0', [{ system: 'a', contracts: [], bodyBytesMax: 0 }]],
    ['cleans up what is "pending"', [{ system: 'a', contracts: [], cleanUp: { pending: '1d' } as never }]],
    ['is no duration', [{ system: 'a', contracts: [], ttl: 'soon' as never }]],
  ])('that make no sense are refused: %s', (message, settings) => {
    expect(() => new SettingsDirectory(settings)).toThrow(message)
  })
})

test('a message of a wrong contract or type does not compile', () => {
  const { submission } = world()
  const wrong = (): void => {
    // @ts-expect-error its data is of another type
    void submission.submit(Submitted, { ticketId: 7 }, { externalId: '1' })
    // @ts-expect-error the external id is missing
    void submission.submit(Submitted, { ticketId: 't' }, {})
    // @ts-expect-error a request is not stored
    void submission.createMessage({} as Contract<'request', 'r', string>, 'x')
    // @ts-expect-error what is sent now is not sent later
    void submission.sendNow(Close, { reason: 'r' }, { delay: '1h' })
  }
  expect(wrong).toBeTypeOf('function')
  expectTypeOf(submission.createMessage(Close, { reason: 'r' })).resolves.toEqualTypeOf<string>()
})
