import type { EngineError, EngineErrorCode } from '@stathmos/engine'
import { REPLY, type ReplyCode } from '@stathmos/wire/amqp'

/** What clients match on: the name before the dash of a reply text. */
const REPLY_NAME: Readonly<Record<ReplyCode, string>> = {
  200: 'OK',
  311: 'CONTENT_TOO_LARGE',
  312: 'NO_ROUTE',
  313: 'NO_CONSUMERS',
  320: 'CONNECTION_FORCED',
  402: 'INVALID_PATH',
  403: 'ACCESS_REFUSED',
  404: 'NOT_FOUND',
  405: 'RESOURCE_LOCKED',
  406: 'PRECONDITION_FAILED',
  501: 'FRAME_ERROR',
  502: 'SYNTAX_ERROR',
  503: 'COMMAND_INVALID',
  504: 'CHANNEL_ERROR',
  505: 'UNEXPECTED_FRAME',
  506: 'RESOURCE_ERROR',
  530: 'NOT_ALLOWED',
  540: 'NOT_IMPLEMENTED',
  541: 'INTERNAL_ERROR',
}

/** The codes that cost the client its channel only; all others cost the connection (AMQP 0-9-1 §1.2, as RabbitMQ has it). */
const CHANNEL_CODES: ReadonlySet<ReplyCode> = new Set<ReplyCode>([311, 312, 313, 403, 404, 405, 406])

/** A request that cannot be granted: thrown by whoever handles it, answered with channel.close or connection.close. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: ReplyCode
  /** Whether the channel or the connection ends with it. */
  readonly scope: 'channel' | 'connection'

  /** @param text what follows the code's name */
  constructor(code: ReplyCode, text: string, scope?: 'channel' | 'connection') {
    super(replyText(code, text))
    this.code = code
    this.scope = scope ?? (CHANNEL_CODES.has(code) ? 'channel' : 'connection')
  }
}

export function replyText(code: ReplyCode, text: string): string {
  return `${REPLY_NAME[code]} - ${text}`
}

/** The form RabbitMQ gives to the things that an error is about: `queue 'orders' in vhost '/'`. */
export function resource(kind: 'queue' | 'exchange', name: string, vhost: string): string {
  return `${kind} '${name}' in vhost '${vhost}'`
}

export function queueNotFound(name: string, vhost: string): Refusal {
  return new Refusal(REPLY.notFound, `no ${resource('queue', name, vhost)}`)
}

export function exchangeNotFound(name: string, vhost: string): Refusal {
  return new Refusal(REPLY.notFound, `no ${resource('exchange', name, vhost)}`)
}

export function queueLocked(name: string, vhost: string): Refusal {
  return new Refusal(
    REPLY.resourceLocked,
    `cannot obtain exclusive access to locked ${resource('queue', name, vhost)}. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`,
  )
}

/** What was asked for and what there is differ in one respect. Both are given as text. */
export function inequivalent(field: string, thing: string, received: string, current: string): Refusal {
  return new Refusal(
    REPLY.preconditionFailed,
    `inequivalent arg '${field}' for ${thing}: received ${received} but current is ${current}`,
  )
}

/** Total: an engine error without a row does not compile. Handlers say it better where they know more. */
const ROWS: Readonly<Record<EngineErrorCode, ReplyCode>> = {
  vhost_not_found: REPLY.notAllowed,
  queue_not_found: REPLY.notFound,
  exchange_not_found: REPLY.notFound,
  user_not_found: REPLY.accessRefused,
  not_equivalent: REPLY.preconditionFailed,
  owned_elsewhere: REPLY.resourceLocked,
  exclusive_consumer: REPLY.accessRefused,
  queue_not_empty: REPLY.preconditionFailed,
  in_use: REPLY.preconditionFailed,
  reserved: REPLY.accessRefused,
  access_refused: REPLY.accessRefused,
  invalid_argument: REPLY.preconditionFailed,
  limit_reached: REPLY.preconditionFailed,
  unavailable: REPLY.internalError,
}

/** A fact of the domain in this protocol's words. */
export function refusalOf(error: EngineError): Refusal {
  return new Refusal(ROWS[error.code], error.message)
}
