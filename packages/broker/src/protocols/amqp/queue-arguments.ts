import type { QueueDefinition, QueueSettings } from '@stathmos/engine'
import { type Field, REPLY, type Table } from '@stathmos/wire/amqp'

import { Refusal, inequivalent } from './errors.ts'
import { noInteger, typeName, wrongType } from './field-type.ts'
import { TTL_MS_MAX } from './message.ts'

/** What RabbitMQ calls the kinds of queues; the second name is the one in its error texts. */
const QUEUE_TYPES = { classic: 'rabbit_classic_queue', quorum: 'rabbit_quorum_queue' } as const
export type QueueType = keyof typeof QUEUE_TYPES

/** Failed attempts of a message in a quorum queue before it is given up (RabbitMQ 4). */
const QUORUM_DELIVERY_LIMIT = 20

/** The highest priority that a queue may have, x-max-priority. */
const PRIORITY_MAX = 255

/** An argument's value as it is kept and shown: what JSON can say. */
export type ArgumentValue =
  | null
  | boolean
  | number
  | string
  | readonly ArgumentValue[]
  | { [name: string]: ArgumentValue }

/** The arguments of a queue as AMQP clients know them. */
export interface QueueArguments {
  readonly type: QueueType
  readonly values: ReadonlyMap<string, ArgumentValue>
}

/** What is said of a value that cannot be, or null. The words are RabbitMQ's. */
type Check = (field: Field) => string | null

interface Rule {
  readonly types: readonly QueueType[]
  readonly check: Check
}

const BOTH: readonly QueueType[] = ['classic', 'quorum']
const CLASSIC: readonly QueueType[] = ['classic']
const QUORUM: readonly QueueType[] = ['quorum']

const between =
  (smallest: number, largest: number): Check =>
  (field) => {
    const value = integerOf(field)
    if (value === null) return noInteger(field)
    if (value < smallest) return value === 0 ? '{value_zero,0}' : `{value_negative,${value}}`
    // As it came: a number may have lost its last digits.
    const exact = typeof field.value === 'bigint' ? field.value : value
    return value > largest ? `{value_too_large,${exact}}` : null
  }
const atLeast = (smallest: number): Check => between(smallest, Number.MAX_SAFE_INTEGER)
const words: Check = (field) => (isText(field) ? null : `{unacceptable_type,${typeName(field)}}`)
const flag: Check = (field) => (field.type === 't' ? null : `{unacceptable_type,${typeName(field)}}`)
const anything: Check = () => null
const oneOf =
  (allowed: readonly string[], wrong: (value: string) => string): Check =>
  (field) => {
    if (!isText(field)) return `{unacceptable_type,${typeName(field)}}`
    return allowed.includes(field.value) ? null : wrong(field.value)
  }

/**
 * The arguments that mean something, and to which types of queues. Those that nobody knows are kept
 * and shown, but neither checked nor compared.
 */
const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['x-queue-type', { types: BOTH, check: words }],
  ['x-message-ttl', { types: BOTH, check: between(0, TTL_MS_MAX) }],
  ['x-expires', { types: BOTH, check: between(1, TTL_MS_MAX) }],
  ['x-max-length', { types: BOTH, check: atLeast(0) }],
  ['x-max-length-bytes', { types: BOTH, check: atLeast(0) }],
  ['x-dead-letter-exchange', { types: BOTH, check: words }],
  ['x-dead-letter-routing-key', { types: BOTH, check: words }],
  ['x-single-active-consumer', { types: BOTH, check: flag }],
  ['x-queue-leader-locator', { types: BOTH, check: words }],
  ['x-consumer-timeout', { types: BOTH, check: atLeast(1) }],
  [
    'x-overflow',
    { types: BOTH, check: oneOf(['drop-head', 'reject-publish', 'reject-publish-dlx'], () => 'invalid_overflow') },
  ],
  ['x-max-priority', { types: CLASSIC, check: priority }],
  [
    'x-queue-mode',
    { types: CLASSIC, check: oneOf(['default', 'lazy'], (mode) => `"unsupported queue mode '${mode}'"`) },
  ],
  ['x-queue-version', { types: CLASSIC, check: version }],
  ['x-queue-master-locator', { types: CLASSIC, check: words }],
  ['x-delivery-limit', { types: QUORUM, check: atLeast(-1) }],
  [
    'x-dead-letter-strategy',
    { types: QUORUM, check: oneOf(['at-most-once', 'at-least-once'], () => 'invalid_dlx_strategy') },
  ],
  ['x-quorum-initial-group-size', { types: QUORUM, check: atLeast(1) }],
  ['x-quorum-target-group-size', { types: QUORUM, check: atLeast(1) }],
  ['x-max-in-memory-length', { types: QUORUM, check: atLeast(0) }],
  ['x-max-in-memory-bytes', { types: QUORUM, check: atLeast(0) }],
  ['x-initial-cluster-size', { types: BOTH, check: anything }],
])

/** Arguments of streams only. */
const STREAM_ARGUMENTS: ReadonlySet<string> = new Set([
  'x-max-age',
  'x-stream-max-segment-size-bytes',
  'x-stream-filter-size-bytes',
])

function version(field: Field): string | null {
  const value = integerOf(field)
  if (value === null) return noInteger(field)
  return value === 1 || value === 2 ? null : `"unsupported queue version '${value}'"`
}

function priority(field: Field): string | null {
  const wrong = atLeast(0)(field)
  if (wrong !== null) return wrong
  return integerOf(field)! > PRIORITY_MAX ? `{max_value_exceeded,${integerOf(field)}}` : null
}

/** What a client asked for, checked: the type, the engine's settings, and the arguments to keep. */
export interface DeclaredQueue {
  readonly type: QueueType
  readonly settings: QueueSettings
  readonly opaque: string
}

/**
 * Translates the arguments of queue.declare.
 *
 * @param thing how error texts name the queue
 * @throws {Refusal} 406 for an argument that is wrong or of another queue type, 540 for streams
 */
export function readQueueArguments(args: Table, thing: string): DeclaredQueue {
  const type = queueType(args, thing)
  for (const [name, field] of args) {
    const rule = RULES.get(name)
    if (name === 'x-dead-letter-exchange' && !isText(field)) throw wrongType(name, field, thing)
    if (rule === undefined ? STREAM_ARGUMENTS.has(name) : !rule.types.includes(type)) {
      const text = `invalid arg '${name}' for ${thing} of queue type ${QUEUE_TYPES[type]}`
      throw new Refusal(REPLY.preconditionFailed, text)
    }
    const wrong = rule === undefined ? null : rule.check(field)
    if (wrong !== null) throw new Refusal(REPLY.preconditionFailed, `invalid arg '${name}' for ${thing}: ${wrong}`)
  }
  if (args.has('x-dead-letter-routing-key') && !args.has('x-dead-letter-exchange')) {
    const text = `invalid arg 'x-dead-letter-routing-key' for ${thing}: routing_key_but_no_dlx_defined`
    throw new Refusal(REPLY.preconditionFailed, text)
  }
  const opaque = args.size === 0 ? '' : JSON.stringify(Object.fromEntries(plainEntries(args)))
  return { type, settings: settingsOf(args, type), opaque }
}

/** The arguments that a queue was declared with, by whatever protocol: others give none. */
export function argumentsOf(definition: QueueDefinition): QueueArguments {
  let known = parsed.get(definition)
  if (known === undefined) parsed.set(definition, (known = parse(definition.opaque)))
  return known
}

/**
 * Compares what is asked for with what there is, argument by argument of the queue's own type.
 *
 * @throws {Refusal} 406 that names the first difference
 */
export function requireEquivalent(existing: QueueDefinition, args: Table, thing: string): void {
  const current = argumentsOf(existing)
  for (const [name, rule] of RULES) {
    if (!rule.types.includes(current.type)) continue
    const field = args.get(name)
    const received = field === undefined ? undefined : plain(field)
    const was = current.values.get(name)
    if (received === was) continue
    // No type is the type classic.
    if (name === 'x-queue-type' && (received ?? 'classic') === (was ?? 'classic')) continue
    // Two values are told as they are; where one is missing, the other is told with its type (RabbitMQ's texts).
    if (received !== undefined && was !== undefined) throw inequivalent(name, thing, quoted(received), quoted(was))
    throw inequivalent(name, thing, described(received, field), described(was))
  }
}

const parsed = new WeakMap<QueueDefinition, QueueArguments>()

function parse(opaque: string): QueueArguments {
  const values = new Map<string, ArgumentValue>()
  if (opaque.startsWith('{')) {
    for (const [name, value] of Object.entries(JSON.parse(opaque) as { [name: string]: ArgumentValue })) {
      values.set(name, value)
    }
  }
  return { type: values.get('x-queue-type') === 'quorum' ? 'quorum' : 'classic', values }
}

function queueType(args: Table, thing: string): QueueType {
  const field = args.get('x-queue-type')
  if (field === undefined) return 'classic'
  if (!isText(field)) {
    const text = `invalid arg 'x-queue-type' for ${thing}: {unacceptable_type,${typeName(field)}}`
    throw new Refusal(REPLY.preconditionFailed, text)
  }
  const type: string = field.value
  if (type === 'classic' || type === 'quorum') return type
  if (type === 'stream') throw new Refusal(REPLY.notImplemented, `streams are not implemented yet, declaring ${thing}`)
  const text = `invalid arg 'x-queue-type' for ${thing}: "unsupported queue type '${type}'"`
  throw new Refusal(REPLY.preconditionFailed, text)
}

function settingsOf(args: Table, type: QueueType): QueueSettings {
  const number = (name: string): number | undefined => {
    const field = args.get(name)
    return field === undefined ? undefined : integerOf(field)!
  }
  const string = (name: string): string | undefined => {
    const field = args.get(name)
    return isText(field) ? field.value : undefined
  }
  const limit = type === 'quorum' ? (number('x-delivery-limit') ?? QUORUM_DELIVERY_LIMIT) : -1
  const single = args.get('x-single-active-consumer')
  const overflow = string('x-overflow') ?? 'drop-head'
  return defined({
    messageTtlMs: number('x-message-ttl'),
    expiresMs: number('x-expires'),
    lengthMax: number('x-max-length'),
    bytesMax: number('x-max-length-bytes'),
    overflow:
      overflow === 'reject-publish' ? 'reject' : overflow === 'reject-publish-dlx' ? 'reject-dead-letter' : 'drop-head',
    deadLetterExchange: string('x-dead-letter-exchange'),
    deadLetterKey: string('x-dead-letter-routing-key'),
    priorityMax: number('x-max-priority'),
    singleActive: single?.type === 't' && single.value ? true : undefined,
    // -1: no limit.
    deliveryLimit: limit < 0 ? undefined : limit,
    leaseMs: number('x-consumer-timeout'),
  })
}

type Maybe<T> = { [K in keyof T]: T[K] | undefined }

/** Leaves out what is undefined. */
function defined(settings: Maybe<QueueSettings>): QueueSettings {
  return Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined),
  ) as unknown as QueueSettings
}

function plainEntries(args: Table): [string, ArgumentValue][] {
  return Array.from(args, ([name, field]): [string, ArgumentValue] => [name, plain(field)])
}

function plain(field: Field): ArgumentValue {
  switch (field.type) {
    case 'l':
    case 'T':
      return Number(field.value)
    case 'D':
      return field.value / 10 ** field.scale
    case 'A':
      return field.value.map(plain)
    case 'F':
      return Object.fromEntries(plainEntries(field.value))
    case 'S':
    case 'x':
      return typeof field.value === 'string' ? field.value : Buffer.from(field.value).toString('base64')
    default:
      return field.value
  }
}

/** An integer of whatever width, or null. */
function integerOf(field: Field): number | null {
  switch (field.type) {
    case 'b':
    case 'B':
    case 's':
    case 'u':
    case 'I':
    case 'i':
      return field.value
    case 'l':
      return Number(field.value)
    default:
      return null
  }
}

function isText(field: Field | undefined): field is Field & { readonly value: string } {
  return field?.type === 'S' && typeof field.value === 'string'
}

const INT32_MAX = 0x7fff_ffff

function described(value: ArgumentValue | undefined, field?: Field): string {
  if (value === undefined) return 'none'
  return `the value ${quoted(value)} of type '${field === undefined ? typeNameOf(value) : typeName(field)}'`
}

function quoted(value: ArgumentValue): string {
  return `'${typeof value === 'object' ? JSON.stringify(value) : String(value)}'`
}

function typeNameOf(value: ArgumentValue): string {
  if (value === null) return 'void'
  if (typeof value === 'string') return 'longstr'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value !== 'number') return Array.isArray(value) ? 'array' : 'table'
  if (!Number.isInteger(value)) return 'double'
  return Math.abs(value) <= INT32_MAX ? 'signedint' : 'long'
}
