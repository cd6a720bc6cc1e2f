// The attributes of CloudEvents 1.0 that carry a message. Of those that are not in its core, `correlationid`,
// `causationid`, `traceparent`, `tracestate` and `expirytime` are from its documented extensions; the others are ours.
import { KEY_CHARS_MAX, NAME_CHARS_MAX, type Message, type MessageKind, type Metadata } from '../message/message.ts'
import { charsMaxOf, count, instant, instantText, malformed, required, text, version as versionIn } from './field.ts'
import { isObject } from './json-message.ts'

/** Fields of the metadata that are texts, and their attributes. */
const TEXTS = {
  causationId: 'causationid',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  replyTo: 'replyto',
  requestId: 'requestid',
  error: 'error',
  externalId: 'externalid',
  dedupeKey: 'dedupekey',
  tenant: 'tenant',
} as const satisfies Partial<Record<keyof Metadata, string>>

/** Names that mean something here or in CloudEvents' core; an application's own do not get in their way. */
const RESERVED: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'type',
  'source',
  'time',
  'subject',
  'datacontenttype',
  'dataschema',
  'data',
  'database64',
  'kind',
  'dataversion',
  'keyseq',
  'correlationid',
  'expirytime',
  'custom',
  ...Object.values(TEXTS),
])

/** What CloudEvents allows as a name (§ Naming Conventions). */
const NAME = /^[a-z0-9]{1,20}$/

/** Identifies the schema of the data: `urn:stathmos:contract:ticket.submitted:2`. */
const SCHEMA = /^urn:stathmos:contract:.*:(\d+)$/

const KINDS: ReadonlySet<string> = new Set<MessageKind>(['event', 'command', 'request', 'reply'])

/**
 * The message's attributes but its content type. An event is told by the absence of `kind`. What applications add are
 * attributes of their own where CloudEvents allows the name, and otherwise together in `custom`, as JSON.
 */
export function attributesOf(message: Message): Record<string, string> {
  const { metadata } = message
  const attributes: Record<string, string> = {
    specversion: '1.0',
    id: message.id,
    type: message.type,
    source: message.source,
    time: instantText(message.time),
    dataversion: String(message.version),
    dataschema: `urn:stathmos:contract:${encodeURIComponent(message.type)}:${message.version}`,
    correlationid: metadata.correlationId,
  }
  if (message.kind !== 'event') attributes['kind'] = message.kind
  if (message.key !== null) attributes['subject'] = message.key
  if (message.keySeq !== null) attributes['keyseq'] = String(message.keySeq)
  if (metadata.deadline !== undefined) attributes['expirytime'] = instantText(metadata.deadline)
  for (const [field, attribute] of Object.entries(TEXTS)) {
    const value = metadata[field as keyof typeof TEXTS]
    if (value !== undefined) attributes[attribute] = value
  }
  const packed: [string, string][] = []
  for (const [name, value] of Object.entries(metadata.custom ?? {})) {
    if (NAME.test(name) && !RESERVED.has(name)) attributes[name] = value
    else packed.push([name, value])
  }
  if (packed.length > 0) attributes['custom'] = JSON.stringify(Object.fromEntries(packed))
  return attributes
}

/**
 * The message of attributes. What the sender need not know has a default: kind `event`, version 1, the message's own id
 * for its conversation.
 *
 * @throws {SdkError} `malformed_message` naming the attribute
 */
export function messageOf(attributes: ReadonlyMap<string, string>, contentType: string, body: Uint8Array): Message {
  const specversion = required('specversion', attributes.get('specversion'))
  if (!/^1\.\d+$/.test(specversion))
    throw malformed('specversion', `is ${JSON.stringify(specversion.slice(0, 20))}; only CloudEvents 1.0 is read`)
  const id = required('id', attributes.get('id'), NAME_CHARS_MAX)
  const kind = attributes.get('kind') ?? 'event'
  if (!isKind(kind)) throw malformed('kind', 'is none of event, command, request and reply')
  const keySeq = attributes.get('keyseq')
  return {
    id,
    kind,
    type: required('type', attributes.get('type'), NAME_CHARS_MAX),
    version: versionOf(attributes),
    source: required('source', attributes.get('source'), NAME_CHARS_MAX),
    time: instant('time', required('time', attributes.get('time'))),
    key: optional(attributes, 'subject', KEY_CHARS_MAX) ?? null,
    keySeq: keySeq === undefined ? null : count('keyseq', keySeq),
    contentType: text('datacontenttype', contentType === '' ? 'application/json' : contentType),
    body,
    metadata: metadataOf(attributes, id),
  }
}

function metadataOf(attributes: ReadonlyMap<string, string>, id: string): Metadata {
  const deadline = attributes.get('expirytime')
  const custom = customOf(attributes)
  const texts = Object.entries(TEXTS).flatMap(([field, attribute]) => {
    const value = optional(attributes, attribute, charsMaxOf(field))
    return value === undefined ? [] : [[field, value] as const]
  })
  return {
    correlationId: optional(attributes, 'correlationid') ?? id,
    ...(Object.fromEntries(texts) as { [Field in keyof typeof TEXTS]?: string }),
    ...(deadline === undefined ? {} : { deadline: instant('expirytime', deadline) }),
    ...(custom === null ? {} : { custom }),
  }
}

function customOf(attributes: ReadonlyMap<string, string>): Readonly<Record<string, string>> | null {
  const packed = attributes.get('custom')
  const entries = packed === undefined ? [] : packedEntries(packed)
  for (const [name, value] of attributes)
    if (!RESERVED.has(name)) entries.push([text('custom', name), text(name, value)])
  return entries.length === 0 ? null : Object.fromEntries(entries)
}

function packedEntries(packed: string): [string, string][] {
  let value: unknown
  try {
    value = JSON.parse(packed)
  } catch (cause) {
    throw malformed('custom', 'is no JSON; it must be an object of texts', cause)
  }
  if (!isObject(value)) throw malformed('custom', 'is no JSON object; it must be an object of texts')
  return Object.entries(value).map(([name, item]) => {
    if (typeof item !== 'string') throw malformed('custom', `has ${JSON.stringify(name)}, which is no text`)
    return [text('custom', name), text('custom', item)]
  })
}

function optional(attributes: ReadonlyMap<string, string>, name: string, charsMax?: number): string | undefined {
  const value = attributes.get(name)
  return value === undefined || value === '' ? undefined : text(name, value, charsMax)
}

function versionOf(attributes: ReadonlyMap<string, string>): number {
  const version = attributes.get('dataversion')
  if (version !== undefined) return versionIn('dataversion', version)
  const ours = SCHEMA.exec(attributes.get('dataschema') ?? '')
  return ours === null ? 1 : versionIn('dataschema', ours[1]!)
}

function isKind(kind: string): kind is MessageKind {
  return KINDS.has(kind)
}
