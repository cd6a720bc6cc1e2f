import type { Message } from '../message/message.ts'

/** What messages take over from the one that they are sent because of. */
export interface Cause {
  readonly correlationId: string
  readonly causationId: string
  readonly traceparent?: string
  readonly tracestate?: string
  readonly tenant?: string
}

/**
 * The cause that a handled message is. Its deadline is not taken over: what a handler decided stays decided, however
 * urgent the question was.
 */
export function causeOf(message: Message): Cause {
  const { correlationId, traceparent, tracestate, tenant } = message.metadata
  return {
    correlationId,
    causationId: message.id,
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(tracestate === undefined ? {} : { tracestate }),
    ...(tenant === undefined ? {} : { tenant }),
  }
}
