import type { Contract } from '../contract/contract.ts'
import type { Metadata } from '../message/message.ts'
import type { Surroundings } from '../surroundings.ts'
import type { Span } from '../telemetry/telemetry.ts'
import type { Draft } from '../store/port.ts'
import type { Cause } from './cause.ts'
import type { StoreTime } from './store-time.ts'
import { SdkError } from '../errors.ts'
import { ATTRIBUTE, OPERATION, operationTypeOf, spanName, systemOf } from '../telemetry/conventions.ts'
import { isStorable } from '../message/storable-text.ts'
import { milliseconds, type Duration } from '../time/duration.ts'

/** Characters of an id, a key, or another name that a message has: what an index of every database takes. */
const NAME_CHARS_MAX = 200
/** Characters of all that an application adds to a message's metadata itself, names included: headers have to hold it. */
const CUSTOM_CHARS_MAX = 8_000
/** How far ahead a message can be sent: ten years. What is later is rather a wrong unit. */
const AHEAD_MS_MAX = 3_653 * 86_400_000

/** How a message is published or sent, apart from what it says. */
export interface SendOptions {
  /** Its id. A message whose id is in the outbox already is not added again. Default: a new UUIDv7. */
  readonly id?: string
  /** What it is about, instead of what the contract's `.key()` says. */
  readonly key?: string
  /** Its number in its key, for applications that version their aggregates themselves. Default: the store counts. */
  readonly seq?: number
  /** Sends it so much later, by the store's clock. */
  readonly delay?: Duration
  /** Sends it then, by the store's clock. */
  readonly at?: Date
  /** Name to {@link Scope.cancel} a delayed one by; a second one with the same name replaces the first. */
  readonly cancelKey?: string
  /** After this time, counted from when it is sent, nobody needs it any more: it `expires` instead of being handled. */
  readonly ttl?: Duration
  /** Of two messages with the same one, a consumer handles the first. */
  readonly dedupeKey?: string
  /** The name that another system has for it, to find it by in the register. */
  readonly externalId?: string
  /** Default: that of the handled message. */
  readonly tenant?: string
  /** The conversation that it belongs to. Default: that of the handled message; outside of handlers, its own id. */
  readonly correlationId?: string
  /** What the application wants to travel with it. */
  readonly custom?: Readonly<Record<string, string>>
}

/** A contract whose messages go through the outbox, whatever its data. */
export type Sendable<In> = Contract<'event', string, In> | Contract<'command', string, In>

/** A message that is to go into the outbox, or among the timers. */
export interface Outgoing {
  readonly draft: Draft
  /** ms since 1970; null for at once. */
  readonly dueAt: number | null
  readonly cancelKey: string | null
}

/** Makes messages of what applications publish and send. */
export class OutgoingFactory {
  readonly #surroundings: Surroundings<never>
  readonly #time: StoreTime

  constructor(surroundings: Surroundings<never>, time: StoreTime) {
    this.#surroundings = surroundings
    this.#time = time
  }

  /**
   * Validates and writes the data, and traces it: the message carries the span under which it was made.
   *
   * @throws {SdkError} `invalid_data`, `too_large`, and `invalid_declaration` for options that make no sense
   */
  async make<In>(
    contract: Sendable<In>,
    data: In,
    options: SendOptions = {},
    cause: Cause | null = null,
  ): Promise<Outgoing> {
    const { newId, telemetry, transport } = this.#surroundings
    const now = this.#time.now()
    const dueAt = dueAtOf(options, now)
    const id = named('id', options.id) ?? newId()
    const correlationId = named('correlationId', options.correlationId) ?? cause?.correlationId ?? id
    const span = telemetry.span(
      spanName(OPERATION.publish, contract.name),
      'producer',
      {
        [ATTRIBUTE.system]: systemOf(transport.name),
        [ATTRIBUTE.operationName]: OPERATION.publish,
        [ATTRIBUTE.operationType]: operationTypeOf(OPERATION.publish),
        [ATTRIBUTE.destination]: contract.name,
        [ATTRIBUTE.messageId]: id,
        [ATTRIBUTE.conversationId]: correlationId,
      },
      [],
    )
    try {
      // What the other kind of contract has in common with this one is all that is needed of either.
      const encoded = await (contract as Contract<'event' | 'command', string, In>).encode(data, id)
      const key = named('key', options.key) ?? named('key', encoded.key ?? undefined) ?? null
      const { bodyBytesMax } = transport.capabilities
      if (encoded.body.byteLength > bodyBytesMax)
        throw new SdkError(
          'too_large',
          `a ${contract.name} of ${encoded.body.byteLength} bytes is too large for ${transport.name}, which takes ${bodyBytesMax}; store the data elsewhere and send where it is`,
          { data: { bytes: encoded.body.byteLength, max: bodyBytesMax } },
        )
      const draft: Draft = {
        id,
        kind: contract.kind,
        type: contract.name,
        version: encoded.version,
        source: this.#surroundings.service,
        time: now,
        key,
        keySeq: seqOf(options.seq, key, contract.name),
        contentType: encoded.contentType,
        body: encoded.body,
        metadata: metadataOf(options, cause, correlationId, dueAt ?? now, this.#trace(span, cause)),
      }
      span.end()
      return { draft, dueAt, cancelKey: named('cancelKey', options.cancelKey) ?? null }
    } catch (error) {
      span.end(error)
      throw error
    }
  }

  /** Without anybody who traces, the trace of the handled message goes on through this service. */
  #trace(span: Span, cause: Cause | null): Pick<Metadata, 'traceparent' | 'tracestate'> {
    const current = this.#surroundings.telemetry.current()
    const own = span.traceparent !== undefined
    const traceparent = own ? span.traceparent : (current.traceparent ?? cause?.traceparent)
    const tracestate = own
      ? span.tracestate
      : current.traceparent === undefined
        ? cause?.tracestate
        : current.tracestate
    return {
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(tracestate === undefined ? {} : { tracestate }),
    }
  }
}

function metadataOf(
  options: SendOptions,
  cause: Cause | null,
  correlationId: string,
  sentAt: number,
  trace: Pick<Metadata, 'traceparent' | 'tracestate'>,
): Metadata {
  const { ttl, dedupeKey, externalId, custom } = options
  const tenant = named('tenant', options.tenant) ?? cause?.tenant
  named('dedupeKey', dedupeKey)
  named('externalId', externalId)
  if (custom !== undefined) checkCustom(custom)
  return {
    correlationId,
    ...(cause === null ? {} : { causationId: cause.causationId }),
    ...trace,
    ...(ttl === undefined ? {} : { deadline: sentAt + milliseconds(ttl) }),
    ...(externalId === undefined ? {} : { externalId }),
    ...(dedupeKey === undefined ? {} : { dedupeKey }),
    ...(tenant === undefined ? {} : { tenant }),
    ...(custom === undefined ? {} : { custom }),
  }
}

function dueAtOf({ delay, at, cancelKey }: SendOptions, now: number): number | null {
  if (delay !== undefined && at !== undefined)
    throw new SdkError('invalid_declaration', 'a message is sent with a delay or at a time; give one of the two')
  const dueAt = delay === undefined ? (at?.getTime() ?? null) : now + milliseconds(delay)
  if (dueAt === null) {
    if (cancelKey === undefined) return null
    throw new SdkError(
      'invalid_declaration',
      `only a message that is sent later can be cancelled; give a delay or a time beside the cancelKey ${JSON.stringify(cancelKey)}`,
    )
  }
  if (!(dueAt <= now + AHEAD_MS_MAX))
    throw new SdkError(
      'invalid_declaration',
      `a message cannot be sent more than ${AHEAD_MS_MAX / 86_400_000} days ahead; is the unit right?`,
    )
  // What is due already has nothing to wait for, unless somebody may still want to cancel it.
  return dueAt <= now && cancelKey === undefined ? null : dueAt
}

function seqOf(seq: number | undefined, key: string | null, type: string): number | null {
  if (seq === undefined) return null
  if (key === null)
    throw new SdkError('invalid_declaration', `seq numbers the messages of one key, and this ${type} has no key`)
  if (!Number.isSafeInteger(seq) || seq < 1)
    throw new SdkError('invalid_declaration', `the seq of a ${type} is ${seq}; it must be a whole number from 1`)
  return seq
}

/** The name as it was given, when it can be one. */
export function named(what: string, name: string | undefined): string | undefined {
  if (name === undefined) return name
  checkText(what, name)
  if (name.length > 0 && name.length <= NAME_CHARS_MAX) return name
  if (name.length === 0) throw new SdkError('invalid_data', `the ${what} is empty; leave it out or give it a name`)
  throw new SdkError(
    'too_large',
    `the ${what} "${name.slice(0, 40)}…" has ${name.length} characters, at most ${NAME_CHARS_MAX} fit; shorten or hash it`,
    { data: { chars: name.length, max: NAME_CHARS_MAX } },
  )
}

function checkText(what: string, text: string): void {
  if (isStorable(text)) return
  const shown = JSON.stringify(text.slice(0, 40))
  throw new SdkError(
    'invalid_data',
    `the ${what} ${shown} has a NUL or half a surrogate pair in it, which no database keeps`,
  )
}

function checkCustom(custom: Readonly<Record<string, string>>): void {
  let chars = 0
  for (const [name, value] of Object.entries(custom)) {
    checkText('custom metadata', name)
    checkText(`custom metadata ${name}`, value)
    chars += name.length + value.length
  }
  if (chars > CUSTOM_CHARS_MAX)
    throw new SdkError(
      'too_large',
      `the custom metadata has ${chars} characters, at most ${CUSTOM_CHARS_MAX} fit; put it into the data`,
      { data: { chars, max: CUSTOM_CHARS_MAX } },
    )
}
