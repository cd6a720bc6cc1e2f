import type { Message } from '../../message/message.ts'
import type { Random } from '../../random.ts'
import type { Wired } from '../../wire/wire-form.ts'
import { bucketFor } from '../outgoing.ts'
import type { AmqpMessage, AmqpPublishOptions } from './client.ts'

/** A message on its way out. */
export interface Outgoing {
  readonly message: Message
  readonly exchange: string
  readonly routingKey: string
  readonly body: Buffer
  readonly options: AmqpPublishOptions
}

const TRANSIENT = 1
const PERSISTENT = 2

export function outgoing(message: Message, wired: Wired, random: Random): Outgoing {
  const { kind, type, metadata } = message
  const isReply = kind === 'reply'
  const { body } = wired
  return {
    message,
    exchange: isReply ? '' : type,
    routingKey: isReply ? (metadata.replyTo ?? '') : String(bucketFor(message, random)),
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    options: {
      mandatory: kind !== 'event',
      // Nobody waits for a reply any longer than for the broker's restart.
      deliveryMode: isReply ? TRANSIENT : PERSISTENT,
      messageId: message.id,
      type,
      timestamp: Math.floor(message.time / 1000),
      correlationId: isReply ? (metadata.requestId ?? metadata.correlationId) : metadata.correlationId,
      contentType: wired.contentType,
      appId: message.source,
      ...(kind === 'request' && metadata.replyTo !== undefined && { replyTo: metadata.replyTo }),
      headers: wired.headers,
    },
  }
}

/** What came, as wire forms read it. Headers that are no text, numbers or booleans are strangers' and left out. */
export function wiredOf({ content, properties }: AmqpMessage): Wired {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(properties.headers ?? {})) {
    if (typeof value === 'string') headers[name] = value
    else if (typeof value === 'number' || typeof value === 'boolean') headers[name] = String(value)
  }
  const { contentType } = properties
  return { headers, contentType: typeof contentType === 'string' ? contentType : '', body: content }
}

/** Quorum queues count attempts besides the flag. */
export function isRedelivered({ fields, properties }: AmqpMessage): boolean {
  return fields.redelivered || Number(properties.headers?.['x-delivery-count'] ?? 0) > 0
}
