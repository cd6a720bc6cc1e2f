import type { Encoded } from '../contract/contract.ts'
import type { Message, Metadata } from '../message/message.ts'

/** What a request is sent because of: it inherits the conversation, the tenant and the time that is left. */
export interface Cause {
  readonly id: string
  readonly metadata: Metadata
}

/** The sender's span, for whoever handles the message. */
export interface Trace {
  readonly traceparent?: string | undefined
  readonly tracestate?: string | undefined
}

export interface RequestParts {
  readonly id: string
  readonly type: string
  readonly source: string
  readonly time: number
  readonly encoded: Encoded
  readonly deadline: number
  readonly because: Cause | null
  readonly trace: Trace
}

/** A request, without the place for its reply: that is known when it is sent. */
export function requestMessage(parts: RequestParts): Message {
  const { id, type, source, time, encoded, deadline, because, trace } = parts
  const tenant = because?.metadata.tenant
  return {
    id,
    kind: 'request',
    type,
    version: encoded.version,
    source,
    time,
    key: encoded.key,
    keySeq: null,
    contentType: encoded.contentType,
    body: encoded.body,
    metadata: {
      correlationId: because?.metadata.correlationId ?? id,
      ...(because === null ? {} : { causationId: because.id }),
      ...traced(trace),
      deadline,
      requestId: id,
      ...(tenant === undefined ? {} : { tenant }),
    },
  }
}

export interface ReplyParts {
  readonly id: string
  readonly source: string
  readonly time: number
  /** The address that the request named. */
  readonly replyTo: string
  readonly written: Omit<Encoded, 'key'>
  /** The name of the error that it tells. */
  readonly error: string | undefined
  readonly trace: Trace
}

/** The reply to a request, on its way to the address that the request names. */
export function replyMessage(request: Message, parts: ReplyParts): Message {
  const { id, source, time, replyTo, written, error, trace } = parts
  const { correlationId, deadline, requestId, tenant } = request.metadata
  return {
    id,
    kind: 'reply',
    type: request.type,
    version: written.version,
    source,
    time,
    key: request.key,
    keySeq: null,
    contentType: written.contentType,
    body: written.body,
    metadata: {
      correlationId,
      causationId: request.id,
      ...traced(trace),
      ...(deadline === undefined ? {} : { deadline }),
      replyTo,
      requestId: requestId ?? request.id,
      ...(error === undefined ? {} : { error }),
      ...(tenant === undefined ? {} : { tenant }),
    },
  }
}

function traced({ traceparent, tracestate }: Trace): Pick<Metadata, 'traceparent' | 'tracestate'> {
  return {
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(tracestate === undefined ? {} : { tracestate }),
  }
}
