import {
  assert,
  constantFrom,
  dictionary,
  integer,
  json,
  jsonValue,
  oneof,
  option,
  property,
  record,
  string,
  tuple,
  uint8Array,
  type Arbitrary,
} from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SdkError } from '../errors.ts'
import type { Message, Metadata } from '../message/message.ts'
import { cloudEventsStructured } from './cloud-events-structured.ts'
import { cloudEvents } from './cloud-events.ts'
import { envelope } from './envelope.ts'
import type { Wired } from './wire-form.ts'

const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)
const textOf = (body: Uint8Array): string => new TextDecoder().decode(body)
const forms = [cloudEvents, cloudEventsStructured, envelope]

const submitted: Message = {
  id: 'm1',
  kind: 'event',
  type: 'ticket.submitted',
  version: 2,
  source: 'helpdesk',
  time: Date.UTC(2026, 0, 31, 12),
  key: 't1',
  keySeq: 3,
  contentType: 'application/json',
  body: bytes('{"ticketId":"t1"}'),
  metadata: {
    correlationId: 'c1',
    causationId: 'm0',
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    deadline: Date.UTC(2026, 1, 1),
    custom: { region: 'north', 'X-User': 'ä' },
  },
}

const letters = string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((s) => !/[\0\p{Cs}]/u.test(s))
const time = integer({ min: Date.UTC(1970, 0), max: Date.UTC(2200, 0) })
const names = oneof(
  letters,
  constantFrom('id', 'custom', 'trace_id', 'version', 'data', 'region', '__proto__', 'correlationid', 'key_seq'),
)
const optional = <T>(arbitrary: Arbitrary<T>): Arbitrary<T | undefined> => option(arbitrary, { nil: undefined })
const traceparent = oneof(letters, constantFrom('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'))

const metadata: Arbitrary<Metadata> = record({
  correlationId: letters,
  causationId: optional(letters),
  traceparent: optional(traceparent),
  tracestate: optional(letters),
  deadline: optional(time),
  replyTo: optional(letters),
  requestId: optional(letters),
  error: optional(letters),
  externalId: optional(letters),
  dedupeKey: optional(letters),
  tenant: optional(letters),
  custom: optional(dictionary(names, letters, { minKeys: 1, maxKeys: 5 })),
}).map((fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never)

const bodies = oneof(
  record({
    contentType: constantFrom('application/json', 'application/json; charset=utf-8', 'application/vnd.a+json'),
    body: oneof(
      jsonValue().map((value) => bytes(JSON.stringify(value))),
      json().map((s) => bytes(` ${s}`)),
    ),
  }),
  record({ contentType: constantFrom('avro/binary', 'text/plain', 'application/json'), body: uint8Array() }),
)

const messages: Arbitrary<Message> = record({
  id: letters,
  kind: constantFrom('event' as const, 'command' as const, 'request' as const, 'reply' as const),
  type: letters,
  version: integer({ min: 1, max: 1000 }),
  source: letters,
  time,
  key: option(letters),
  keySeq: option(integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
  metadata,
  content: bodies,
}).map(({ content, ...rest }) => ({ ...rest, ...content }))

describe.each(forms.map((form) => [form.name, form] as const))('the form %s', (_, form) => {
  test('gives back every message as it was, body byte for byte', () => {
    assert(
      property(messages, (message) => {
        expect(form.decode(form.encode(message))).toEqual(message)
      }),
    )
  })

  test('random bytes and headers throw nothing but SdkError', () => {
    const attribute = constantFrom(
      'id',
      'type',
      'source',
      'time',
      'specversion',
      'dataversion',
      'custom',
      'kind',
      'keyseq',
    )
    const header = oneof(
      string(),
      attribute.map((name) => `ce-${name}`),
    )
    const wired: Arbitrary<Wired> = record({
      headers: dictionary(header, oneof(string(), constantFrom('1.0', '2026-01-31T12:00:00Z', '{}', '7'))),
      contentType: oneof(string(), constantFrom('application/cloudevents+json', 'application/json')),
      body: oneof(uint8Array(), json().map(bytes)),
    })
    assert(property(wired, (value) => onlySdkError(() => form.decode(value))))
  })

  test('a field that is changed to anything throws nothing but SdkError', () => {
    const { contentType, body, headers } = form.encode(submitted)
    const fields = oneof(names, constantFrom('timestamp', 'time', 'type', 'source', 'kind', 'metadata', 'data_base64'))
    const changed = oneof(
      record({ name: constantFrom(...Object.keys(headers), 'ce-kind', 'ce-custom'), value: string() }).map(
        ({ name, value }): Wired => ({ contentType, body, headers: { ...headers, [name]: value } }),
      ),
      record({ path: oneof(tuple(fields), tuple(constantFrom('metadata'), names)), value: jsonValue() }).map(
        ({ path, value }): Wired => {
          const object = JSON.parse(textOf(body)) as Record<string, unknown>
          const [field, inner] = path as [string, string?]
          const nested = inner === undefined ? value : { ...(object[field] as object), [inner]: value }
          return { contentType, headers, body: bytes(JSON.stringify({ ...object, [field]: nested })) }
        },
      ),
    )
    assert(property(changed, (value) => onlySdkError(() => form.decode(value))))
  })

  test('truncated messages throw nothing but SdkError', () => {
    const { contentType, body, headers } = form.encode(submitted)
    for (let length = 0; length < body.length; length++)
      onlySdkError(() => form.decode({ contentType, headers, body: body.subarray(0, length) }))
  })
})

function onlySdkError(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(SdkError)
    expect((error as SdkError).code).toBe('malformed_message')
    expect((error as SdkError).data['field']).toBeTypeOf('string')
  }
}

function fieldOf(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return (error as SdkError).data['field']
  }
  return null
}

describe('CloudEvents in binary mode', () => {
  test('the body is the data, and every attribute a header [CloudEvents HTTP binding §3.1]', () => {
    const { headers, contentType, body } = cloudEvents.encode(submitted)
    expect(body).toBe(submitted.body)
    expect(contentType).toBe('application/json')
    expect(headers).toEqual({
      'ce-specversion': '1.0',
      'ce-id': 'm1',
      'ce-type': 'ticket.submitted',
      'ce-source': 'helpdesk',
      'ce-time': '2026-01-31T12:00:00.000Z',
      'ce-subject': 't1',
      'ce-dataversion': '2',
      'ce-dataschema': 'urn:stathmos:contract:ticket.submitted:2',
      'ce-keyseq': '3',
      'ce-correlationid': 'c1',
      'ce-causationid': 'm0',
      'ce-traceparent': '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      'ce-expirytime': '2026-02-01T00:00:00.000Z',
      'ce-region': 'north',
      'ce-custom': '{"X-User":"ä"}',
    })
  })

  const least = {
    'ce-specversion': '1.0',
    'ce-id': '1',
    'ce-type': 'a',
    'ce-source': '/b',
    'ce-time': '2026-01-31T12:00:00Z',
  }

  test('a sender needs to know nothing of ours', () => {
    expect(cloudEvents.decode({ headers: least, contentType: '', body: bytes('{}') })).toEqual({
      id: '1',
      kind: 'event',
      type: 'a',
      version: 1,
      source: '/b',
      time: Date.UTC(2026, 0, 31, 12),
      key: null,
      keySeq: null,
      contentType: 'application/json',
      body: bytes('{}'),
      metadata: { correlationId: '1' },
    })
  })

  test.each(['ce_', 'cloudEvents:', 'cloudEvents_', 'CE-'])('names with the prefix %s are read', (prefix) => {
    const headers = Object.fromEntries(
      Object.entries(least).map(([name, value]) => [name.replace('ce-', prefix), value]),
    )
    expect(cloudEvents.decode({ headers, contentType: '', body: bytes('{}') }).id).toBe('1')
  })

  test('a message in structured mode is read, too', () => {
    expect(cloudEvents.decode(cloudEventsStructured.encode(submitted))).toEqual(submitted)
  })

  test.each([
    ['ce-specversion', '0.3', 'specversion'],
    ['ce-id', '', 'id'],
    ['ce-id', 'x'.repeat(201), 'id'],
    ['ce-id', 'a\0', 'id'],
    ['ce-time', 'yesterday', 'time'],
    ['ce-time', '2026-01-31', 'time'],
    ['ce-time', '2026-01-31T25:00:00Z', 'time'],
    ['ce-dataversion', '0', 'dataversion'],
    ['ce-dataversion', '1.5', 'dataversion'],
    ['ce-dataversion', '2147483648', 'dataversion'],
    ['ce-dedupekey', 'x'.repeat(201), 'dedupekey'],
    ['ce-externalid', 'x'.repeat(201), 'externalid'],
    ['ce-keyseq', '99999999999999999999', 'keyseq'],
    ['ce-kind', 'rumour', 'kind'],
    ['ce-expirytime', 'soon', 'expirytime'],
    ['ce-custom', '{"a":1}', 'custom'],
    ['ce-custom', '[', 'custom'],
  ])('%s: %j is malformed, and the error names it', (header, value, field) => {
    const headers = { ...least, [header]: value }
    expect(fieldOf(() => cloudEvents.decode({ headers, contentType: '', body: bytes('{}') }))).toBe(field)
  })

  test.each(['specversion', 'id', 'type', 'source', 'time'])('without %s it is malformed', (field) => {
    const headers = Object.fromEntries(Object.entries(least).filter(([name]) => name !== `ce-${field}`))
    expect(fieldOf(() => cloudEvents.decode({ headers, contentType: '', body: bytes('{}') }))).toBe(field)
  })
})

describe('CloudEvents in structured mode', () => {
  test('JSON data is a part of the object [CloudEvents JSON format §3.1]', () => {
    const { body, contentType } = cloudEventsStructured.encode(submitted)
    expect(contentType).toBe('application/cloudevents+json; charset=utf-8')
    expect(JSON.parse(textOf(body))).toMatchObject({
      specversion: '1.0',
      dataversion: 2,
      keyseq: 3,
      datacontenttype: 'application/json',
      data: { ticketId: 't1' },
    })
  })

  test('other data is in Base64, text of others is read as text', () => {
    const { body } = cloudEventsStructured.encode({ ...submitted, contentType: 'avro/binary', body: Uint8Array.of(1) })
    expect(JSON.parse(textOf(body))).toMatchObject({ data_base64: 'AQ==' })
    const foreign = {
      ...(JSON.parse(textOf(body)) as object),
      datacontenttype: 'text/xml',
      data: '<a/>',
      data_base64: null,
    }
    const read = cloudEventsStructured.decode({ headers: {}, contentType: '', body: bytes(JSON.stringify(foreign)) })
    expect(textOf(read.body)).toBe('<a/>')
  })
})

describe('the envelope', () => {
  const plain = `{"id":"m1","type":"ticket.submitted","timestamp":"2026-01-31T12:00:00.000Z","source":"helpdesk","data":{"ticketId":"t1"},"metadata":{"correlation_id":"c1","causation_id":"m0","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}}`

  test('is read and written verbatim', () => {
    const message = envelope.decode({ headers: {}, contentType: 'application/json', body: bytes(plain) })
    expect(message).toMatchObject({
      kind: 'event',
      version: 1,
      key: null,
      metadata: { correlationId: 'c1', causationId: 'm0', custom: { trace_id: '4bf92f3577b34da6a3ce929d0e0e4736' } },
    })
    expect(textOf(envelope.encode(message).body)).toBe(plain)
  })

  test('what this SDK knows besides is in its metadata', () => {
    expect(JSON.parse(textOf(envelope.encode(submitted).body))).toMatchObject({
      data: { ticketId: 't1' },
      metadata: {
        trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        version: 2,
        key: 't1',
        key_seq: 3,
        region: 'north',
      },
    })
  })

  test('what others put into metadata is kept as text', () => {
    const body = plain.replace('"c1"', '"c1","retries":3,"user":{"id":7},"none":null')
    const { metadata: read } = envelope.decode({ headers: {}, contentType: '', body: bytes(body) })
    expect(read.custom).toMatchObject({ retries: '3', user: '{"id":7}' })
  })

  test.each([
    ['"id":"m1",', '', 'id'],
    ['"type":"ticket.submitted",', '', 'type'],
    ['"2026-01-31T12:00:00.000Z"', '17', 'timestamp'],
    ['"source":"helpdesk",', '"source":[],', 'source'],
    ['"data":{"ticketId":"t1"},', '', 'data'],
    ['"data":{"ticketId":"t1"}', '"data_base64":"x"', 'data_base64'],
    ['"correlation_id":"c1"', '"version":0', 'metadata.version'],
    ['"correlation_id":"c1"', '"version":2147483648', 'metadata.version'],
    ['"correlation_id":"c1"', `"dedupe_key":"${'x'.repeat(201)}"`, 'metadata.dedupe_key'],
    ['"correlation_id":"c1"', '"correlation_id":{}', 'metadata.correlation_id'],
    ['{"id"', '[{"id"', 'body'],
  ])('with %s changed to %j it is malformed, and the error names the field', (part, change, field) => {
    const body = bytes(plain.replace(part, change))
    expect(fieldOf(() => envelope.decode({ headers: {}, contentType: '', body }))).toBe(field)
  })
})
