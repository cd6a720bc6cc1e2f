import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import type { Contract } from '../contract/contract.ts'
import { event } from '../contract/event.ts'
import { SdkError } from '../errors.ts'
import { Register } from '../register/register.ts'
import { manifestOf, type Declared } from '../schema/manifest.ts'
import type { Service } from '../service.ts'
import type { Attempt } from '../store/port.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import type { AppOperations } from './app-operations.ts'
import { tell, type Invocation } from './command.ts'
import { runAppCommand } from './index.ts'
import { age, outline, table } from './table.ts'

const Close = command('ticket.close', z.object({ reason: z.string() }))
const Closed = event('ticket.closed', z.object({ ticketId: z.string() })).key((data) => data.ticketId)

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'stathmos-cli-'))
})
afterEach(async () => rm(directory, { recursive: true }))

/** A service whose module is a file, as commands load it. */
async function world(over: Partial<AppOperations> = {}, contracts: readonly Contract[] = [Close, Closed]) {
  const base = new OutboxWorld()
  const register = new Register(base.process(), (name) => contracts.find((each) => each.name === name))
  let migrations = 0
  let declarations = 0
  let closed = 0
  const store = { ...base.store, close: async () => void closed++ }
  const app: AppOperations = {
    name: 'helpdesk',
    contracts,
    register,
    store,
    migrate: async () => void migrations++,
    declare: async () => void declarations++,
    manifest: () => manifestOf(contracts as readonly (Contract & Declared)[], { service: 'helpdesk', owns: [] }),
    ...over,
  }
  const slot = `app${Object.keys(globalThis).length}`
  Object.assign(globalThis, { [slot]: app })
  await writeFile(join(directory, `${slot}.mjs`), `export const app = globalThis.${slot}`)
  const run = async (...argv: string[]) => {
    let [out, err] = ['', '']
    const io = { cwd: directory, out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
    const code = await runAppCommand([...argv, '--app', `./${slot}.mjs`], io)
    return { code, out, err, json: () => JSON.parse(out) as never }
  }
  const park = async (id: string, data: unknown = { reason: 'done' }, failed: Partial<Attempt> = {}) => {
    const body = new TextEncoder().encode(JSON.stringify(data))
    const message = { ...base.draft({ id, kind: 'command', type: 'ticket.close', body }), keySeq: null }
    const attempt = {
      at: 0,
      attempt: 3,
      name: 'E',
      message: 'smtp is away',
      fingerprint: 'Smtp-1',
      by: 'me',
      ...failed,
    }
    await base.store.inbox.keep('helpdesk.close', [{ message, state: 'parked', attempts: 3, dueAt: 0, attempt }])
  }
  return { base, run, park, migrations: () => migrations, declarations: () => declarations, closed: () => closed }
}

describe('looking', () => {
  test('outbox shows what waits to be sent, as a table, and how much there is', async () => {
    const { base, run, closed } = await world()
    await base.commit({ id: 'm1', key: 'k' })
    await base.clock.advance(180_000)
    const { code, out, err } = await run('outbox')
    expect(out).toBe(
      'id  contract          key  where   state    tries  age  next  why\n' +
        'm1  ticket.submitted  k    outbox  pending      0  3m   -     -\n',
    )
    expect(err).toBe('1 pending, the oldest for 3m; 0 parked, which hold 0 keys back\n')
    expect([code, closed()]).toEqual([0, 1])
  })

  test('inbox shows what is not done, and pages go on', async () => {
    const { run, park } = await world()
    await park('a')
    await park('b')
    const first = await run('inbox', '--limit', '1')
    expect(first.out).toContain('smtp is away')
    const token = /--page '(.*)'/.exec(first.err)![1]!
    expect((await run('inbox', '--page', token)).out).toMatch(/^b /m)
    expect((await run('inbox', '--state', 'retrying')).out).toBe('there is nothing\n')
  })

  test('dlq groups what was given up by what went wrong', async () => {
    const { run, park } = await world()
    expect((await run('dlq')).out).toBe('nothing was given up\n')
    await park('a')
    await park('b')
    const { out } = await run('dlq')
    expect(out).toMatch(/^ +2 {2}ticket.close {2}helpdesk.close {2}parked {2}Smtp-1 /m)
    expect((await run('dlq', '--json')).json()).toMatchObject({ matched: 2, groups: [{ count: 2 }] })
  })

  test('dlq and show say in which version of the program it failed, where that is known', async () => {
    const { run, park } = await world()
    await park('a')
    expect((await run('dlq')).out).not.toContain('version')
    await park('b', {}, { fingerprint: 'Smtp-2', version: '1.4.2' })
    const { out } = await run('dlq')
    expect(out).toMatch(/^count .* fingerprint {2}version {2}since/)
    expect(out).toMatch(/ Smtp-1 {7}- /)
    expect(out).toMatch(/ Smtp-2 {7}1\.4\.2 /)
    expect((await run('dlq', '--json')).json()).toMatchObject({ groups: [{}, { version: '1.4.2' }] })
    expect((await run('register', 'show', 'b')).out).toContain('version: 1.4.2')
  })

  test('register show prints the data and the errors of a message', async () => {
    const { run, park } = await world()
    await park('a', { reason: 7 })
    const { out } = await run('register', 'show', 'a')
    expect(out).toContain('unreadable: the data is not what')
    expect(out).toContain('message: smtp is away')
    expect((await run('register', 'show', 'a', '--json')).json()).toMatchObject([{ id: 'a', state: 'parked' }])
    expect((await run('register', 'show', 'none')).code).toBe(1)
  })

  test('people are shown no bodies, and none are read for them', async () => {
    const { base, run, park } = await world()
    await park('a')
    const { register } = base.store
    const list = register.list.bind(register)
    const bodies: (boolean | undefined)[] = []
    register.list = (filter, limit, after, reading) => {
      bodies.push(reading?.bodies)
      return list(filter, limit, after, reading)
    }
    await run('inbox')
    await run('dlq')
    expect(bodies).toEqual([false, false, false])
    const { entries } = (await run('inbox', '--json')).json() as { entries: { message: { body: string } }[] }
    expect(entries[0]!.message.body).toBe(Buffer.from('{"reason":"done"}').toString('base64'))
  })

  test('for programs a body is text in base64, whatever the driver gives for bytes', () => {
    let out = ''
    const io = { cwd: directory, out: (text: string) => void (out += text), err() {} }
    const bodies = { driver: Buffer.from('{}'), memory: new TextEncoder().encode('{}') }
    tell({ flags: { json: true }, io } as unknown as Invocation, bodies, () => '')
    expect(JSON.parse(out)).toEqual({ driver: 'e30=', memory: 'e30=' })
  })

  test('what comes from messages cannot move the cursor', () => {
    expect(table([{ a: 'x\u001b[2Jy\nz' }], { a: ({ a }) => a })).toBe('a\nx [2Jy z\n')
  })

  test('ages and outlines are short', () => {
    expect([0, 59_999, 60_000, 7_200_000, 200_000_000].map(age)).toEqual(['0s', '59s', '1m', '2h', '2d'])
    expect(outline({ a: 1, b: { c: ['x', 'y'] }, d: [{ e: null }] })).toBe('a: 1\nb:\n  c: x, y\nd:\n  -\n    e: -\n')
  })
})

describe('changing', () => {
  test('dlq redrive first says what it would do, and then does it', async () => {
    const { run, park, base } = await world()
    await park('a', { reason: 7 })
    const dry = await run('dlq', 'redrive', '--dry-run', '--fingerprint', 'Smtp-1')
    expect(dry.out).toContain('would fail again at once: a: ')
    expect(dry.out).toContain('1 would be retried')
    expect(await base.states()).toEqual({ a: 'parked' })
    const wet = run('dlq', 'redrive', '--rate', '1000/s')
    await waiting(base, wet)
    expect((await wet).out).toContain('1 of 1 were retried')
    expect(await base.states()).toEqual({ a: 'waiting' })
  })

  test('register retry and cancel take ids or a filter, and not both', async () => {
    const { run, park, base } = await world()
    await park('a')
    await park('b')
    expect(await run('register', 'retry', 'a')).toMatchObject({ code: 0 })
    expect(await run('register', 'cancel', '--contract', 'ticket.*', '--state', 'parked')).toMatchObject({ code: 0 })
    expect(await base.states()).toEqual({ a: 'waiting', b: 'cancelled' })
    expect(await run('register', 'retry', 'a', '--state', 'parked')).toMatchObject({ code: 2 })
    expect(await run('register', 'retry', 'none')).toMatchObject({ code: 1, out: 'nothing matched\n' })
    expect(await run('register', 'cancel')).toMatchObject({ code: 1, err: expect.stringContaining('everything') })
  })

  test('register edit puts better data in the place of a parked message', async () => {
    const { run, park, base } = await world()
    await park('a', { reason: 7 })
    expect(await run('register', 'edit', 'a', '--data', 'oops')).toMatchObject({ code: 2 })
    expect(await run('register', 'edit', 'a', '--data', '{"reason":8}')).toMatchObject({ code: 1 })
    const { id } = (await run('register', 'edit', 'a', '--data', '{"reason":"x"}', '--json')).json() as { id: string }
    expect(await base.states()).toEqual({ a: 'cancelled', [id]: 'waiting' })
  })

  test('register purge needs a state and an age, and refuses what is not over', async () => {
    const { run, park, base } = await world()
    await park('a')
    await base.clock.advance(10_000)
    expect(await run('register', 'purge', '--state', 'parked')).toMatchObject({ code: 2 })
    expect(await run('register', 'purge', '--state', 'pending', '--older-than', '1s')).toMatchObject({ code: 1 })
    const ages = ['--state', 'parked', '--older-than', '1s'] as const
    expect((await run('register', 'purge', ...ages, '--dry-run')).out).toBe('would delete 1\n')
    expect(await run('register', 'purge', ...ages, '--contract', 'ticket.*', '--dry-run')).toMatchObject({ code: 1 })
    expect((await run('register', 'purge', ...ages)).out).toBe('deleted 1\n')
    expect(await base.states()).toEqual({})
  })

  test('a filter that a command does not look at is refused, and not left out', async () => {
    const { run, park, base } = await world()
    await park('a')
    await base.clock.advance(10_000)
    const purge = ['register', 'purge', '--state', 'parked', '--older-than', '1s'] as const
    expect(await run(...purge, '--consumer', 'another')).toMatchObject({
      code: 2,
      err: expect.stringContaining('does not look at --consumer; it takes --state, --older-than'),
    })
    expect(await run('register', 'cancel', '--state', 'parked', '--limit', '1')).toMatchObject({ code: 2 })
    expect(await run('dlq', '--dry-run')).toMatchObject({ code: 2 })
    expect(await run('migrate', '--dry-run')).toMatchObject({ code: 2 })
    expect(await base.states()).toEqual({ a: 'parked' })
  })
})

describe('the service itself', () => {
  test('is migrated, also when its tables are missing; everything else says how to make them', async () => {
    const missing = new SdkError('not_migrated', 'the tables are missing')
    const base = new OutboxWorld()
    const store = { ...base.store, check: async () => Promise.reject(missing), close: async () => {} }
    const { run, migrations } = await world({ store })
    expect(await run('outbox')).toMatchObject({ code: 1, err: expect.stringContaining('stathmos app migrate') })
    expect(await run('migrate')).toMatchObject({ code: 0, out: 'the tables of helpdesk in memory are up to date\n' })
    expect(migrations()).toBe(1)
  })

  test('is described by itself where it can', async () => {
    expect((await (await world()).run('describe')).out).toContain('name: ticket.close')
    const described = await (await world({ describe: () => ({ service: 'x', handlers: ['a'] }) })).run('describe')
    expect(described.out).toBe('service: x\nhandlers: a\n')
    const handlers = [{ line: 'x.a: on b' }, { line: 'x.c: on d' }]
    const short = await (await world({ describe: () => ({ service: 'x', handlers }) })).run('describe', '--short')
    expect(short.out).toBe('x.a: on b\nx.c: on d\n')
  })

  test('has its contracts compared with those that were checked in', async () => {
    const { out } = await (await world()).run('schema', 'print')
    await writeFile(join(directory, 'contracts.json'), out)
    const against = ['schema', 'check', '--against', 'contracts.json'] as const
    expect(await (await world()).run(...against)).toMatchObject({ code: 0, out: 'all contracts get along\n' })
    const narrower = command('ticket.close', z.object({ reason: z.string(), by: z.string() }))
    const { code, out: told } = await (await world({}, [narrower, Closed])).run(...against)
    expect(code).toBe(1)
    expect(told).toContain('by')
    expect(await (await world()).run('schema', 'check')).toMatchObject({ code: 2 })
    expect(await (await world()).run('schema', 'check', '--against', 'gone.json')).toMatchObject({ code: 2 })
  })

  test('has what it owns compared with what other services own', async () => {
    const owned = (name: string) => ({
      name,
      manifest: () => manifestOf([Close, Closed], { service: name, owns: ['ticket.close'] }),
    })
    const { out } = await (await world(owned('desk'))).run('schema', 'print')
    expect(JSON.parse(out)).toMatchObject({ service: 'desk', owns: ['ticket.close'] })
    await writeFile(join(directory, 'desk.json'), out)
    const against = ['schema', 'check', '--against', 'desk.json'] as const
    expect(await (await world()).run(...against)).toMatchObject({ code: 0 })
    expect(await (await world(owned('experts'))).run(...against)).toMatchObject({
      code: 1,
      out: expect.stringContaining('"ticket.close" is owned by desk and by experts'),
    })
  })

  test('has its contracts compared with what lies in its store', async () => {
    const { run, park } = await world()
    await park('a')
    expect(await run('schema', 'check', '--stored')).toMatchObject({ code: 0 })
    await park('b', { reason: 7 })
    expect(await run('schema', 'check', '--stored')).toMatchObject({
      code: 1,
      out: expect.stringContaining('message b'),
    })
  })

  test('has its contracts compared with what it has to send itself, now or later', async () => {
    const { run, base } = await world()
    const body = new TextEncoder().encode('{"reason":7}')
    const close = { kind: 'command', type: 'ticket.close', body } as const
    await base.commit({ id: 'now', ...close }, { id: 'of others', type: 'order.placed' })
    const draft = { ...base.draft({ id: 'later', ...close }), keySeq: null }
    await base.store.transaction((tx) => base.store.timers.set(tx, [{ draft, dueAt: 9e12, cancelKey: null }]))
    const { code, out } = await run('schema', 'check', '--stored')
    expect([code, out]).toEqual([1, expect.stringContaining('2 stored messages, of which 2 cannot be read')])
    expect(out).toContain('message later')
  })
})

describe('a command line that cannot be used is code 2, and says what to write', () => {
  test.each([
    [['outbox', '--colour'], "Unknown option '--colour'"],
    [['bananas'], 'there are outbox'],
    [['dlq', 'empty'], 'dlq redrive'],
    [['outbox', 'now'], 'filters are options'],
    [['inbox', '--state', 'lost'], 'there are scheduled'],
    [['inbox', '--limit', '0'], '1 to 1000'],
    [['inbox', '--older-than', 'long'], 'write 30s'],
    [['inbox', '--direction', 'up'], 'in or out'],
    [['register', 'show'], 'one message'],
  ])('%j', async (argv, message) => {
    const { code, err, out } = await (await world()).run(...argv)
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain(message)
  })

  test('no module, a missing one, a TypeScript one, one without a service', async () => {
    const run = async (...argv: string[]) => {
      let err = ''
      const code = await runAppCommand(argv, { cwd: directory, out() {}, err: (text) => void (err += text) })
      return { code, err }
    }
    expect(await run('outbox')).toMatchObject({ code: 2, err: expect.stringContaining('--app ./dist/app.js') })
    expect(await run('outbox', '--app', 'gone.js')).toMatchObject({
      code: 2,
      err: expect.stringContaining('cannot be loaded'),
    })
    await writeFile(join(directory, 'other.mjs'), 'export const server = 1')
    expect(await run('outbox', '--app', 'other.mjs')).toMatchObject({
      code: 2,
      err: expect.stringContaining('only server'),
    })
  })

  test('a service is what commands work on', () => {
    expectTypeOf<Service<{ sql: string }>>().toExtend<AppOperations>()
  })

  test('help lists every command', async () => {
    let out = ''
    const code = await runAppCommand(['--help'], { cwd: directory, out: (text) => void (out += text), err() {} })
    expect(code).toBe(0)
    for (const name of ['outbox', 'inbox', 'dlq', 'register purge', 'declare', 'migrate', 'schema check', 'describe'])
      expect(out).toContain(`  ${name} `)
  })
})

/** Lets the clock go on until a command that paces itself is over. */
async function waiting(base: OutboxWorld, running: Promise<unknown>): Promise<void> {
  let over = false
  void running.then(() => (over = true))
  while (!over) {
    await new Promise((resolve) => setImmediate(resolve))
    await base.clock.advance(10)
  }
}
