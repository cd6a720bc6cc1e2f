/** Reply codes that RabbitMQ's clients match on (AMQP 0-9-1 §1.2). */
export const REPLY = {
  success: 200,
  contentTooLarge: 311,
  noRoute: 312,
  noConsumers: 313,
  connectionForced: 320,
  invalidPath: 402,
  accessRefused: 403,
  notFound: 404,
  resourceLocked: 405,
  preconditionFailed: 406,
  frameError: 501,
  syntaxError: 502,
  commandInvalid: 503,
  channelError: 504,
  unexpectedFrame: 505,
  resourceError: 506,
  notAllowed: 530,
  notImplemented: 540,
  internalError: 541,
} as const

export type ReplyCode = (typeof REPLY)[keyof typeof REPLY]

/**
 * Bytes that are not the protocol. It closes the connection with {@link code}, never the broker.
 * The message names what was expected, what came, and where; it holds no bytes of the peer beyond single numbers.
 */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly code: ReplyCode
  readonly expected: string
  readonly received: string
  /** Position in the array handed to the decoder. */
  readonly offset: number

  constructor(code: ReplyCode, expected: string, received: string, offset: number) {
    super(`expected ${expected}, received ${received} at offset ${offset}`)
    this.code = code
    this.expected = expected
    this.received = received
    this.offset = offset
  }
}
