import type { ExchangeDefinition, ExchangeType } from '@stathmos/engine'
import { REPLY } from '@stathmos/wire/amqp'
import type { Random } from '@stathmos/std'

import { Refusal } from './errors.ts'

/** The default exchange: every queue is bound to it by its own name. */
export const DEFAULT_EXCHANGE = ''

/** Names that clients may use but not make. */
const RESERVED_PREFIX = 'amq.'

/** The queue that is none: consuming from it asks for direct replies. */
export const REPLY_QUEUE = 'amq.rabbitmq.reply-to'

/** What a direct reply's routing key begins with; a token follows. */
export const REPLY_KEY_PREFIX = `${REPLY_QUEUE}.`

/** Names come from files and terminals: RabbitMQ drops line ends, and clients rely on it. */
export function cleanName(name: string): string {
  return /[\r\n]/.test(name) ? name.replace(/[\r\n]/g, '') : name
}

/** @throws {Refusal} 403 for a name that only the broker gives */
export function requireOwnName(kind: 'queue' | 'exchange', name: string): void {
  if (!name.startsWith(RESERVED_PREFIX)) return
  throw new Refusal(REPLY.accessRefused, `${kind} name '${name}' contains reserved prefix '${RESERVED_PREFIX}*'`)
}

export function isReserved(name: string): boolean {
  return name.startsWith(RESERVED_PREFIX)
}

/** A name for a queue that the client did not want to name. */
export function serverQueueName(random: Random): string {
  return `amq.gen-${token(random)}`
}

export function serverConsumerTag(random: Random): string {
  return `amq.ctag-${token(random)}`
}

/** 128 bits that nobody guesses, as 22 letters, digits, `-` and `_`. */
export function token(random: Random): string {
  return Buffer.from(random.bytes(16)).toString('base64url')
}

const standard = (name: string, type: ExchangeType, internal = false): ExchangeDefinition => ({
  name,
  type,
  internal,
  durable: true,
  autoDelete: false,
  delayed: false,
  opaque: '',
})

/** What every vhost has beside the default exchange, which the engine makes. */
export const STANDARD_EXCHANGES: readonly ExchangeDefinition[] = [
  standard('amq.direct', 'direct'),
  standard('amq.fanout', 'fanout'),
  standard('amq.topic', 'topic'),
  standard('amq.headers', 'headers'),
  standard('amq.match', 'headers'),
  standard('amq.rabbitmq.trace', 'topic', true),
]
