/** What a message wants: to be known by whoever asks, to be done by its one owner, to be answered, or to answer. */
export type MessageKind = 'event' | 'command' | 'request' | 'reply'

/** What travels with a message besides its body. All of it survives every hop, retry and redrive. */
export interface Metadata {
  /** The conversation: the id of its first message. */
  readonly correlationId: string
  /** The message that this one was sent because of. */
  readonly causationId?: string
  /** W3C Trace Context of the sender. */
  readonly traceparent?: string
  readonly tracestate?: string
  /** Time in ms since 1970 after which nobody needs the message any more. */
  readonly deadline?: number
  /** Where the reply to a request is to go: an address that the transport gave. */
  readonly replyTo?: string
  /** The request that a reply answers. */
  readonly requestId?: string
  /** Of a reply: the name of the error that it tells; its body is what comes with that error. */
  readonly error?: string
  /** The name that another system has for it. */
  readonly externalId?: string
  /** Business key: of two messages with the same one, a consumer handles the first. */
  readonly dedupeKey?: string
  readonly tenant?: string
  /** What applications add themselves. */
  readonly custom?: Readonly<Record<string, string>>
}

/** Characters of an id, a type or a source: stores index them, and MySQL's indexes have 3072 bytes at most. */
export const NAME_CHARS_MAX = 200

/** Characters of a key, for the same reason. */
export const KEY_CHARS_MAX = 200

/**
 * A message as stores keep it and transports carry it: everything is known but what the body means. Immutable; the id
 * is set by the sender and is the same after every retry, crash and redrive.
 */
export interface Message {
  /** UUIDv7, unless the application chose its own; at most {@link NAME_CHARS_MAX} characters, as type and source. */
  readonly id: string
  readonly kind: MessageKind
  /** The contract's name: `ticket.submitted`. */
  readonly type: string
  /** The contract's version that the body is in. */
  readonly version: number
  /** The service that sent it. */
  readonly source: string
  /** When it was published, in ms since 1970. */
  readonly time: number
  /** What it is about: messages of one key are handled in the order in which their transactions committed. */
  readonly key: string | null
  /**
   * The place among the messages of the same type and key: 1, 2, 3 … without a gap, given when the transaction commits.
   * Null without a key, and for messages that went round the outbox.
   */
  readonly keySeq: number | null
  /** Media type of the body: `application/json`, `avro/binary`, `application/x-protobuf`. */
  readonly contentType: string
  readonly body: Uint8Array
  readonly metadata: Metadata
}
