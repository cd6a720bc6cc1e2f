import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import { command } from './command.ts'
import type { Contract, DataOf, Encoded, ReceivedOf } from './contract.ts'
import { event } from './event.ts'

const TicketSubmitted = event(
  'ticket.submitted',
  z.object({ ticketId: z.string(), title: z.string(), skill: z.string() }),
)
  .key((d) => d.ticketId)
  .next(
    z.object({ ticketId: z.string(), title: z.string(), skills: z.array(z.string()) }),
    (old) => ({ ...old, skills: [old.skill] }),
    { down: ({ skills, ...rest }) => ({ ...rest, skill: skills[0] ?? 'any' }) },
  )
const CloseTicket = command('ticket.close', z.object({ ticketId: z.string() })).key((d) => d.ticketId)

const text = (body: Uint8Array): string => new TextDecoder().decode(body)

function message(of: { kind: 'event' | 'command'; name: string }, encoded: Omit<Encoded, 'key'>): Message {
  const { version, contentType, body } = encoded
  return {
    id: '1',
    kind: of.kind,
    type: of.name,
    version,
    source: 'helpdesk',
    time: 0,
    key: null,
    keySeq: null,
    contentType,
    body,
    metadata: { correlationId: '1' },
  }
}

function written(name: string, version: number, data: unknown): Message {
  const body = new TextEncoder().encode(JSON.stringify(data))
  return message({ kind: 'event', name }, { version, contentType: 'application/json', body })
}

async function failure(work: Promise<unknown>): Promise<SdkError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(SdkError)
  return error as SdkError
}

describe.each([
  ['zod', z.object({ ticketId: z.string(), urgent: z.boolean() })],
  ['valibot', v.object({ ticketId: v.string(), urgent: v.boolean() })],
  ['arktype', type({ ticketId: 'string', urgent: 'boolean' })],
])('a contract whose validator is %s', (_, schema) => {
  const Raised = event('ticket.raised', schema).key((d) => d.ticketId)

  test('writes JSON and its key, and reads it again', async () => {
    const encoded = await Raised.encode({ ticketId: 't1', urgent: true })
    expect({ ...encoded, body: text(encoded.body) }).toEqual({
      version: 1,
      contentType: 'application/json',
      key: 't1',
      body: '{"ticketId":"t1","urgent":true}',
    })
    expect(await Raised.decode(message(Raised, encoded))).toEqual({ ticketId: 't1', urgent: true })
  })

  test('refuses data on both sides, and names the field', async () => {
    const sent = await failure(Raised.encode({ ticketId: 't1', urgent: 'very' } as never))
    expect(sent.code).toBe('invalid_data')
    expect(sent.message).toContain('"ticket.raised" version 1')
    expect(sent.data['issues']).toMatchObject([{ path: 'urgent' }])
    const received = await failure(Raised.decode(written('ticket.raised', 1, { ticketId: 't1' })))
    expect(received).toMatchObject({ code: 'invalid_data', retryable: false })
  })
})

test('a message of an earlier version reaches the handler in the newest', async () => {
  const old = written('ticket.submitted', 1, { ticketId: 't1', title: 'no picture', skill: 'tv' })
  expect(await TicketSubmitted.decode(old)).toEqual({ ticketId: 't1', title: 'no picture', skills: ['tv'] })
})

test('upcasters are a chain: each version is validated before the next', async () => {
  const Counted = event('counted', z.object({ n: z.coerce.number() }))
    .next(z.object({ n: z.number(), twice: z.number() }), ({ n }) => ({ n, twice: n * 2 }))
    .next(z.object({ sum: z.number() }), ({ n, twice }) => ({ sum: n + twice }))
  expect(Counted.version).toBe(3)
  expect(await Counted.decode(written('counted', 1, { n: '2' }))).toEqual({ sum: 6 })
  expect(await Counted.decode(written('counted', 2, { n: 2, twice: 4 }))).toEqual({ sum: 6 })
  const error = await failure(Counted.decode(written('counted', 2, { n: 2 })))
  expect(error.message).toContain('"counted" version 2')
})

test('an upcaster that throws says that the data does not fit', async () => {
  const Broken = event('broken', z.object({})).next(z.object({}), () => {
    throw new Error('no skill')
  })
  const error = await failure(Broken.decode(written('broken', 1, {})))
  expect(error.code).toBe('invalid_data')
  expect(error.message).toContain('"broken" version 1 to 2: no skill')
})

test('a contract that is sent as an earlier version brings the data down to it', async () => {
  const encoded = await TicketSubmitted.sendAs(1).encode({ ticketId: 't1', title: 'x', skills: ['tv', 'radio'] })
  expect(encoded).toMatchObject({ version: 1, key: 't1' })
  expect(JSON.parse(text(encoded.body))).toEqual({ ticketId: 't1', title: 'x', skill: 'tv' })
  const Three = TicketSubmitted.next(z.object({ ticketId: z.string() }), ({ ticketId }) => ({ ticketId }), {
    down: ({ ticketId }) => ({ ticketId, title: 'y', skills: [] }),
  })
  const first = await Three.sendAs(1).encode({ ticketId: 't1' })
  expect(JSON.parse(text(first.body))).toEqual({ ticketId: 't1', title: 'y', skill: 'any' })
})

test('a contract cannot be sent as a version that it has no way to', () => {
  const Next = CloseTicket.next(z.object({ ticketId: z.string() }), (old) => old)
  expect(() => Next.sendAs(1)).toThrow(/version 2 has no way back; give its .next\(\) a `down` function/)
  expect(() => Next.sendAs(3)).toThrow(/no version 3/)
})

test('a version that is not known is refused, and so are other contracts', async () => {
  const newer = await failure(TicketSubmitted.decode(written('ticket.submitted', 3, {})))
  expect(newer).toMatchObject({ code: 'unknown_contract', data: { version: 3, known: 2 } })
  for (const version of [0, -1, 1.5, NaN])
    expect(await failure(TicketSubmitted.decode(written('ticket.submitted', version, {})))).toMatchObject({
      code: 'unknown_contract',
    })
  expect(await failure(TicketSubmitted.decode(written('ticket.closed', 1, {})))).toMatchObject({
    code: 'unknown_contract',
  })
})

test('a contract that is declared forward reads what it knows of a newer version', async () => {
  const Forward = event('ticket.closed', z.object({ ticketId: z.string() }), { forward: true })
  expect(await Forward.decode(written('ticket.closed', 7, { ticketId: 't1', by: 'me' }))).toEqual({ ticketId: 't1' })
  const error = await failure(Forward.decode(written('ticket.closed', 7, { id: 't1' })))
  expect(error.code).toBe('unknown_contract')
  expect(error.cause).toMatchObject({ code: 'invalid_data' })
})

test('a receiver gets what the validator fills in and converts; a body has what the sender gave', async () => {
  const Planned = event('visit.planned', z.object({ at: z.coerce.date<Date | string>(), hours: z.number().default(1) }))
  const encoded = await Planned.encode({ at: new Date(0) })
  expect(text(encoded.body)).toBe('{"at":"1970-01-01T00:00:00.000Z"}')
  expect(await Planned.decode(message(Planned, encoded))).toEqual({ at: new Date(0), hours: 1 })
})

test('data that no receiver could read is refused when it is sent', async () => {
  const Planned = event('visit.planned', z.object({ at: z.date() }))
  const refused = await failure(Planned.encode({ at: new Date(0) }))
  expect(refused).toMatchObject({ code: 'invalid_data', data: { issues: [{ path: 'at' }] } })
  // Not as if the sender had given something else than it did.
  expect(refused.message).toContain('as JSON gives it back, and that is not: at: ')
  expect(refused.message).toContain('z.coerce.date()')
  const wrong = await failure(Planned.encode({ at: 'tomorrow' as never }))
  expect(wrong.message).not.toContain('JSON')
  const Big = event('big', z.object({ n: z.bigint() }))
  expect((await failure(Big.encode({ n: 1n }))).message).toContain('no form as application/json')
  const circle: { self?: unknown } = {}
  circle.self = circle
  expect(await failure(event('circle', z.looseObject({})).encode(circle))).toMatchObject({ code: 'invalid_data' })
  expect(await failure(event('nothing', z.any()).encode(undefined))).toMatchObject({ code: 'invalid_data' })
})

test('a body that is no JSON, or of another format, is malformed', async () => {
  const good = written('ticket.submitted', 2, {})
  const cut = await failure(TicketSubmitted.decode({ ...good, body: good.body.slice(1) }))
  expect(cut).toMatchObject({ code: 'malformed_message', data: { field: 'body' } })
  const latin1 = await failure(TicketSubmitted.decode({ ...good, body: Uint8Array.of(0x22, 0xe4, 0x22) }))
  expect(latin1).toMatchObject({ code: 'malformed_message', data: { field: 'body' } })
  const xml = await failure(TicketSubmitted.decode({ ...good, contentType: 'application/xml' }))
  expect(xml).toMatchObject({ code: 'malformed_message', data: { field: 'contentType' } })
  const parameters = { ...good, contentType: 'Application/JSON; charset=utf-8' }
  expect(await failure(TicketSubmitted.decode(parameters))).toMatchObject({ code: 'invalid_data' })
})

test('a trusting contract hands bodies on as they came, and still raises earlier versions', async () => {
  const Trusting = TicketSubmitted.trusting()
  expect(await Trusting.decode(written('ticket.submitted', 2, { extra: 1 }))).toEqual({ extra: 1 })
  const old = written('ticket.submitted', 1, { ticketId: 't1', title: 'x', skill: 'tv' })
  expect(await Trusting.decode(old)).toMatchObject({ skills: ['tv'] })
  expect(await failure(Trusting.encode({} as never))).toMatchObject({ code: 'invalid_data' })
})

test('a validator that throws, or answers later, is asked all the same', async () => {
  const Later = event('later', z.object({ n: z.number().refine(async (n) => n > 0) }))
  expect(await Later.encode({ n: 1 })).toMatchObject({ version: 1 })
  const Thrower = event(
    'thrower',
    z.unknown().refine(() => {
      throw new Error('oops')
    }),
  )
  expect((await failure(Thrower.encode(1))).message).toContain('oops')
})

describe('a key', () => {
  test('that was declared for an earlier version and fits the newest is kept', async () => {
    expect(await TicketSubmitted.encode({ ticketId: 't9', title: 'x', skills: [] })).toMatchObject({ key: 't9' })
  })

  test('that reads a field which the newest version does not have is refused, not guessed', async () => {
    const Moved = event('moved', z.object({ a: z.string(), b: z.string() }))
      .key((d) => `${d.a}/${d.b}`)
      .next(z.object({ a: z.string() }), ({ a }) => ({ a }))
    const error = await failure(Moved.encode({ a: 'x' }))
    expect(error.code).toBe('invalid_declaration')
    expect(error.message).toContain('reads "b"')
    expect(error.message).toContain('repeat .key() after .next()')
    expect(await Moved.key((d) => d.a).encode({ a: 'x' })).toMatchObject({ key: 'x' })
  })

  test('that is empty, too long or no text is refused', async () => {
    const Keyed = event('keyed', z.object({ k: z.any() })).key((d) => d.k as string)
    for (const k of ['', 'x'.repeat(201), 7, null, 'a\0b', '\ud800'])
      expect(await failure(Keyed.encode({ k }))).toMatchObject({ code: 'invalid_data' })
    expect(await Keyed.encode({ k: 'x'.repeat(200) })).toMatchObject({ key: 'x'.repeat(200) })
  })
})

test.each(['', 'Ticket', 'ticket_submitted', '.a', 'a.', 'a..b', 'a b', '1a', 'a'.repeat(101), 'täg'])(
  '%j is no name of a contract',
  (name) => {
    expect(() => event(name, z.any())).toThrow(SdkError)
  },
)

test('names are lower-case words with dots and hyphens', () => {
  for (const name of ['a', 'ticket.submitted', 'visit-2.re-planned', 'a'.repeat(100)])
    expect(event(name, z.any()).name).toBe(name)
})

test('what is no Standard Schema is refused at the declaration', () => {
  expect(() => event('a', {} as never)).toThrow(/no Standard Schema/)
  expect(() => event('a', null as never)).toThrow(/no Standard Schema/)
})

describe('types', () => {
  // As the verbs of a service are declared.
  const publish = <C extends Contract<'event'>>(contract: C, data: DataOf<C>): unknown => [contract, data]
  const on = <C extends Contract<'event' | 'command'>>(
    contract: C,
    handler: (data: ReceivedOf<C>) => void,
  ): unknown => [contract, handler]

  test('what is sent and what is received are inferred exactly', () => {
    const Planned = event('visit.planned', z.object({ at: z.coerce.date<string>(), hours: z.number().default(1) }))
    expectTypeOf<DataOf<typeof Planned>>().toEqualTypeOf<{ at: string; hours?: number | undefined }>()
    expectTypeOf<ReceivedOf<typeof Planned>>().toEqualTypeOf<{ at: Date; hours: number }>()
    expectTypeOf<DataOf<typeof TicketSubmitted>>().toEqualTypeOf<{
      ticketId: string
      title: string
      skills: string[]
    }>()
    expectTypeOf(TicketSubmitted.name).toEqualTypeOf<'ticket.submitted'>()
    expectTypeOf(TicketSubmitted.kind).toEqualTypeOf<'event'>()
    const Arked = event('arked', type({ 'n?': 'string.numeric.parse' }))
    expectTypeOf<ReceivedOf<typeof Arked>>().toEqualTypeOf<{ n?: number }>()
    const Valued = event('valued', v.object({ n: v.optional(v.number(), 1) }))
    expectTypeOf<DataOf<typeof Valued>>().toEqualTypeOf<{ n?: number | undefined }>()
    expectTypeOf<ReceivedOf<typeof Valued>>().toEqualTypeOf<{ n: number }>()
    const { type: name, data } = CloseTicket.of({ ticketId: 't1' })
    expectTypeOf(name).toEqualTypeOf<'ticket.close'>()
    expectTypeOf(data).toEqualTypeOf<{ ticketId: string }>()
  })

  test('misuses do not compile', () => {
    publish(TicketSubmitted, { ticketId: 't1', title: 'x', skills: [] })
    on(CloseTicket, ({ ticketId }) => void ticketId.length)
    // @ts-expect-error a payload without its fields
    publish(TicketSubmitted, {})
    // @ts-expect-error a payload of the earlier version
    publish(TicketSubmitted, { ticketId: 't1', title: 'x', skill: 'tv' })
    // @ts-expect-error a command is not published
    publish(CloseTicket, { ticketId: 't1' })
    // @ts-expect-error a handler that wants what does not come
    on(CloseTicket, (data: { ticketId: number }) => void data)
    // @ts-expect-error an upcaster that leaves a field out
    event('a', z.object({ a: z.string() })).next(z.object({ b: z.string() }), () => ({}))
    // @ts-expect-error a key that is no text
    event('a', z.object({ a: z.number() })).key((d) => d.a)
    expect(publish).toBeTypeOf('function')
  })
})
