import { KEY_CHARS_MAX, NAME_CHARS_MAX, type Message, type MessageKind, type Metadata } from '../message/message.ts'
import { charsMaxOf, count, instant, instantText, malformed, required, text, version as versionIn } from './field.ts'
import { bodyOf, dataOf, isObject, jsonBytes, objectOf } from './json-message.ts'
import type { WireForm } from './wire-form.ts'

/** Fields of the metadata that are texts, and their names in the envelope. */
const TEXTS = {
  causationId: 'causation_id',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  replyTo: 'reply_to',
  requestId: 'request_id',
  error: 'error',
  externalId: 'external_id',
  dedupeKey: 'dedupe_key',
  tenant: 'tenant',
} as const satisfies Partial<Record<keyof Metadata, string>>

const RESERVED: ReadonlySet<string> = new Set([
  'correlation_id',
  'deadline',
  'kind',
  'version',
  'key',
  'key_seq',
  'content_type',
  'custom',
  ...Object.values(TEXTS),
])

const KINDS: ReadonlySet<unknown> = new Set<MessageKind>(['event', 'command', 'request', 'reply'])

/** Where a trace's id is in a traceparent (W3C Trace Context §3.2). */
const TRACE_ID = /^[0-9a-f]{2}-([0-9a-f]{32})-/

/**
 * One JSON object, `{id, type, timestamp, source, data, metadata}`, with `correlation_id`, `causation_id`, `trace_id` and
 * the rest in `metadata`: the form that many systems have agreed on by hand. What has its default value is left out, so
 * that an event of version 1 without a key has nothing in it but these fields. JSON data is a part of the object; other
 * data is in `data_base64`, with its `content_type` in the metadata.
 */
export const envelope: WireForm = {
  name: 'envelope',
  encode(message: Message) {
    const { id, type, source, time, contentType, body } = message
    const object = {
      id,
      type,
      timestamp: instantText(time),
      source,
      ...dataOf(contentType, body),
      metadata: metadataFieldsOf(message),
    }
    return { headers: {}, contentType: 'application/json', body: jsonBytes(object) }
  },
  decode({ body }) {
    const object = objectOf(body)
    const metadata = object['metadata'] ?? {}
    if (!isObject(metadata)) throw malformed('metadata', 'is no object')
    const id = required('id', scalar('id', object['id']), NAME_CHARS_MAX)
    const contentType = optional(metadata, 'content_type') ?? 'application/json'
    const data = bodyOf(object, contentType)
    if (data === null) throw malformed('data', 'is missing; the sender has to set it, to null at least')
    const kind = metadata['kind'] ?? 'event'
    if (!isKind(kind)) throw malformed('metadata.kind', 'is none of event, command, request and reply')
    const version = optional(metadata, 'version')
    const keySeq = optional(metadata, 'key_seq')
    return {
      id,
      kind,
      type: required('type', scalar('type', object['type']), NAME_CHARS_MAX),
      version: version === undefined ? 1 : versionIn('metadata.version', version),
      source: required('source', scalar('source', object['source']), NAME_CHARS_MAX),
      time: instant('timestamp', required('timestamp', scalar('timestamp', object['timestamp']))),
      key: optional(metadata, 'key', KEY_CHARS_MAX) ?? null,
      keySeq: keySeq === undefined ? null : count('metadata.key_seq', keySeq),
      contentType,
      body: data,
      metadata: metadataOf(metadata, id),
    }
  },
}

function metadataFieldsOf(message: Message): Record<string, unknown> {
  const { kind, version, key, keySeq, contentType, metadata } = message
  const traceId = traceIdOf(metadata.traceparent)
  const fields: [string, unknown][] = [['correlation_id', metadata.correlationId]]
  for (const [field, name] of Object.entries(TEXTS)) fields.push([name, metadata[field as keyof typeof TEXTS]])
  if (metadata.deadline !== undefined) fields.push(['deadline', instantText(metadata.deadline)])
  if (traceId !== undefined) fields.push(['trace_id', traceId])
  if (kind !== 'event') fields.push(['kind', kind])
  if (version !== 1) fields.push(['version', version])
  if (key !== null) fields.push(['key', key])
  if (keySeq !== null) fields.push(['key_seq', keySeq])
  if (contentType !== 'application/json') fields.push(['content_type', contentType])
  const hidden: [string, string][] = []
  // An application's own trace_id comes later, and so stays.
  for (const entry of Object.entries(metadata.custom ?? {})) (RESERVED.has(entry[0]) ? hidden : fields).push(entry)
  if (hidden.length > 0) fields.push(['custom', Object.fromEntries(hidden)])
  return Object.fromEntries(fields)
}

function metadataOf(fields: Readonly<Record<string, unknown>>, id: string): Metadata {
  const deadline = optional(fields, 'deadline')
  const texts = Object.entries(TEXTS).flatMap(([field, name]) => {
    const value = optional(fields, name, charsMaxOf(field))
    return value === undefined ? [] : [[field, value] as const]
  })
  const known = Object.fromEntries(texts) as { [Field in keyof typeof TEXTS]?: string }
  const custom = customOf(fields, traceIdOf(known.traceparent))
  return {
    correlationId: optional(fields, 'correlation_id') ?? id,
    ...known,
    ...(deadline === undefined ? {} : { deadline: instant('metadata.deadline', deadline) }),
    ...(custom.length === 0 ? {} : { custom: Object.fromEntries(custom) }),
  }
}

/** What is not ours, and a trace's id that no traceparent tells: whatever it is, it is kept as text. */
function customOf(fields: Readonly<Record<string, unknown>>, traceId: string | undefined): [string, string][] {
  const hidden = fields['custom'] ?? {}
  if (!isObject(hidden)) throw malformed('metadata.custom', 'is no object')
  return [...Object.entries(hidden), ...Object.entries(fields).filter(([name]) => !RESERVED.has(name))]
    .filter(([name, value]) => value !== null && !(name === 'trace_id' && value === traceId))
    .map(([name, value]) => {
      const kept = typeof value === 'string' ? value : JSON.stringify(value)
      return [text('metadata.custom', name), text(`metadata.${name}`, kept)]
    })
}

function optional(fields: Readonly<Record<string, unknown>>, name: string, charsMax?: number): string | undefined {
  const value = scalar(`metadata.${name}`, fields[name])
  return value === undefined || value === '' ? undefined : text(`metadata.${name}`, value, charsMax)
}

/** A text, or a number that others write where we have a text. */
function scalar(field: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  throw malformed(field, 'is neither a text nor a number')
}

function traceIdOf(traceparent: string | undefined): string | undefined {
  return TRACE_ID.exec(traceparent ?? '')?.[1]
}

function isKind(kind: unknown): kind is MessageKind {
  return KINDS.has(kind)
}
