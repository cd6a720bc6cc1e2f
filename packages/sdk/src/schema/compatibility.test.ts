import avsc from 'avsc'
import { describe, expect, test } from 'vitest'
import * as v from 'valibot'
import { z } from 'zod'
import { avro } from '../contract/avro-body.ts'
import { command } from '../contract/command.ts'
import { event } from '../contract/event.ts'
import { request } from '../contract/request.ts'
import { checkCompatibility, type CompatibilityMode } from './compatibility.ts'
import { manifestOf, parseManifest, type Declared, type Manifest } from './manifest.ts'

/** As it lies in a file. */
const manifest = (...contracts: Declared[]): Manifest => parseManifest(JSON.stringify(manifestOf(contracts)))

function messages(mode: CompatibilityMode, old: Declared, now: Declared): string[] {
  return checkCompatibility([manifest(old)], manifest(now), mode).map(({ message }) => message)
}

const first = event('ticket.submitted', z.object({ id: z.string(), skill: z.string() })).key((d) => d.id)
const second = first.next(
  z.object({ id: z.string(), skills: z.array(z.string()) }),
  (old) => ({
    ...old,
    skills: [old.skill],
  }),
  { down: ({ id, skills }) => ({ id, skill: skills[0] ?? 'any' }) },
)

describe('backward', () => {
  test('a version that was added with an upcaster breaks nothing', () => {
    expect(messages('backward', first, second)).toEqual([])
    expect(messages('backward', first, first)).toEqual([])
  })

  test('a version that was changed in place is told by field, with the remedy', () => {
    const changed = event('ticket.submitted', z.object({ id: z.number(), skill: z.string(), title: z.string() })).key(
      (d) => String(d.id),
    )
    expect(messages('backward', first, changed)).toEqual([
      '"ticket.submitted" version 1: field "title" is not written by senders, but receivers require it; make it optional or give it a default, or leave version 1 as it was and add version 2 with .next()',
      '"ticket.submitted" version 1: field "id" may be string, but receivers take only number; let receivers take both, or leave version 1 as it was and add version 2 with .next()',
    ])
  })

  test('a contract, a version or a key that is gone is told', () => {
    expect(checkCompatibility([manifest(first)], manifest(), 'backward')[0]!.message).toContain(
      'is gone; keep it until',
    )
    expect(messages('backward', second, first)).toEqual([expect.stringContaining('version 2 is gone')])
    const keyless = event('ticket.submitted', z.object({ id: z.string(), skill: z.string() }))
    expect(messages('backward', first, keyless)).toEqual([expect.stringContaining('put .key() back')])
    const other = command('ticket.submitted', z.object({ id: z.string() }))
    expect(messages('backward', first, other)).toEqual([expect.stringContaining('was an event and is a command')])
  })

  test('what was ever deployed can be given, not only the last', () => {
    const middle = event('a', z.object({ n: z.union([z.string(), z.number()]) }))
    const last = event('a', z.object({ n: z.number() }))
    const oldest = event('a', z.object({ n: z.string() }))
    expect(messages('backward', oldest, middle)).toEqual([])
    const found = checkCompatibility([manifest(oldest), manifest(middle)], manifest(last), 'backward')
    expect(found).toHaveLength(1)
    expect(found[0]).toMatchObject({ field: 'n', version: 1, direction: 'backward', certain: true })
  })

  test('another format of the same version is told', () => {
    const type = avsc.Type.forSchema({ type: 'record', name: 'A', fields: [{ name: 'n', type: 'int' }] })
    const wider = avsc.Type.forSchema({ type: 'record', name: 'A', fields: [{ name: 'n', type: 'long' }] })
    const json = event('a', z.object({ n: z.number() }))
    expect(messages('backward', json, json.body(avro(type)))[0]).toContain('sent as json and read as avro')
    expect(messages('backward', json.body(avro(type)), json.body(avro(wider)))[0]).toContain(
      'the Avro schema is another',
    )
    const documented = avsc.Type.forSchema({
      type: 'record',
      name: 'A',
      doc: 'x',
      fields: [{ name: 'n', type: 'int' }],
    })
    expect(messages('backward', json.body(avro(type)), json.body(avro(documented)))).toEqual([])
  })

  test('what a validator cannot tell is not passed over in silence', () => {
    const valued = event('a', v.object({ n: v.number() }))
    const [found] = checkCompatibility([manifest(valued)], manifest(valued), 'backward')
    expect(found).toMatchObject({ certain: false })
    expect(found!.message).toContain('valibot gives no JSON Schema')
    const dated = event('a', z.object({ at: z.date() }))
    expect(checkCompatibility([manifest(dated)], manifest(dated), 'full')[0]!.message).toContain('Date')
  })
})

describe('forward', () => {
  test('a new version is not known before, unless it is sent as the old one or was declared forward', () => {
    expect(messages('forward', first, second)).toEqual([
      '"ticket.submitted" version 2 is not known to earlier programs, which know up to 1; deploy what receives it first and send it with .sendAs(1) until then',
    ])
    expect(messages('forward', first, second.sendAs(1))).toEqual([])
    const open = event('a', z.object({ id: z.string() }), { forward: true })
    expect(
      messages(
        'forward',
        open,
        open.next(z.object({ id: z.string(), more: z.string() }), (o) => ({ ...o, more: '' })),
      ),
    ).toEqual([])
    expect(
      messages(
        'forward',
        open,
        open.next(z.object({ more: z.string() }), () => ({ more: '' })),
      )[0],
    ).toContain('field "id"')
  })

  test('a value or a longer text that earlier programs refuse is told', () => {
    const old = event('a', z.object({ state: z.enum(['open', 'closed']), title: z.string().max(10) }))
    const now = event('a', z.object({ state: z.enum(['open', 'closed', 'lost']), title: z.string().max(20) }))
    expect(messages('backward', old, now)).toEqual([])
    expect(messages('forward', old, now)).toEqual([
      expect.stringContaining('field "state" may be "lost", but receivers know only "open", "closed"'),
      expect.stringContaining('field "title" has maxLength 10 at receivers, but 20 at senders'),
    ])
    expect(messages('full', old, now)).toHaveLength(2)
  })
})

describe('a request', () => {
  const input = z.object({ skill: z.string() })
  const old = request('find', { input, output: z.object({ id: z.string() }), errors: { nobody: z.object({}) } })

  test('is compared in both directions: what is asked, and what is answered', () => {
    const now = request('find', {
      input,
      output: z.object({ id: z.string(), since: z.string() }),
      errors: { nobody: z.object({}), busy: z.object({}) },
    })
    expect(messages('backward', old, now)).toEqual([expect.stringContaining('the answer of "find": field "since"')])
    expect(messages('forward', old, now)).toEqual([expect.stringContaining('the error "busy" of "find" is not known')])
    expect(messages('full', old, old)).toEqual([])
  })
})

test('a manifest is the same in any order of declarations, and refuses two of one name', () => {
  const other = command('a', z.string())
  expect(manifestOf([first, other])).toEqual(manifestOf([other, first]))
  expect(() => manifestOf([first, second])).toThrow(/declared twice/)
})

test.each(['', 'null', '[]', '{}', '{"manifest":2,"contracts":[]}'])('%j is no manifest', (json) => {
  expect(() => parseManifest(json)).toThrow(expect.objectContaining({ code: 'malformed_message' }))
})

describe('of another service', () => {
  const Close = command('ticket.close', z.object({ id: z.string() }))
  const Find = request('experts.find', { input: z.object({}), output: z.object({}) })
  const of = (service: string, owns: readonly string[], ...contracts: Declared[]): Manifest =>
    parseManifest(JSON.stringify(manifestOf(contracts, { service, owns })))

  test('only what both know is compared', () => {
    const changed = command('ticket.close', z.object({ id: z.string(), by: z.string() }))
    const found = checkCompatibility([of('desk', [], Close, first)], of('experts', [], changed), 'backward')
    expect(found.map(({ contract }) => contract)).toEqual(['ticket.close'])
  })

  test('what has one owner and would have two is told', () => {
    const desk = of('desk', ['ticket.close', 'experts.find'], Close, Find)
    const experts = of('experts', ['experts.find'], Close, Find)
    expect(checkCompatibility([desk], experts, 'full').map(({ message }) => message)).toEqual([
      '"experts.find" is owned by desk and by experts, and both would do it each time; leave it to one of them, or make it an event',
    ])
    expect(checkCompatibility([desk], of('desk', ['experts.find'], Close, Find), 'full')).toEqual([])
  })
})
