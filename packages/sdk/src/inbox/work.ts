import { createHash } from 'node:crypto'
import type { Message } from '../message/message.ts'
import type { InboxEntry } from '../store/port.ts'
import type { Delivery } from '../transport/port.ts'

/** A message that this process has in hand: delivered by the transport, or claimed from the store. */
export interface Work {
  readonly message: Message
  /** The lane that it waits in; null for none. */
  readonly key: string | null
  /** To be settled when the store knows of the message; null when it did before. */
  readonly delivery: Delivery | null
  readonly entry: InboxEntry | null
  /** Claims of one key that were made together; null for deliveries, and for claims that are alone. */
  readonly run: KeyRun | null
  /** This attempt: 1 for the first. */
  readonly attempt: number
  /** Why it cannot be handled, found out when it came. */
  readonly refusal: 'malformed' | null
  /** It is larger than what the store keeps: it can be handled, but nothing of it can be put aside. */
  readonly unstorable: boolean
  /** How often the store has not kept it. */
  readonly unkeptCount: number
}

/** Claims of one key, handled in their order: once one of them is not done, those behind it are given back. */
export interface KeyRun {
  broken: boolean
}

/** Work whose data was read. */
export interface ReadWork extends Work {
  readonly data: unknown
}

/** Type of what is no message. */
const UNKNOWN_TYPE = 'unknown'

export function delivered(delivery: Delivery, ordered: boolean, now: number): Work {
  const message = delivery.message ?? unreadable(delivery, now)
  return {
    message,
    key: ordered ? message.key : null,
    delivery,
    entry: null,
    run: null,
    attempt: 1,
    refusal: delivery.message === null ? 'malformed' : null,
    unstorable: false,
    unkeptCount: 0,
  }
}

/** Claims as work, each key's together and in their order. */
export function claimed(entries: readonly InboxEntry[], ordered: boolean): readonly (readonly Work[])[] {
  const groups = new Map<string, InboxEntry[]>()
  entries.forEach((entry, index) => {
    const { type, key } = entry.message
    const name = ordered && key !== null ? JSON.stringify([type, key]) : String(index)
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [entry])
    else group.push(entry)
  })
  return [...groups.values()].map((group) => {
    const run = group.length === 1 ? null : { broken: false }
    return group.map((entry) => workOf(entry, run))
  })
}

/** A claim as work. */
export function workOf(entry: InboxEntry, run: KeyRun | null = null): Work {
  return {
    message: entry.message,
    key: null,
    delivery: null,
    entry,
    run,
    attempt: entry.attempts,
    refusal: null,
    unstorable: false,
    unkeptCount: 0,
  }
}

/**
 * What bytes are kept as that no wire form knows: body and headers as they came. The id is made of them, so that a
 * second delivery of the same is the same message.
 */
function unreadable({ raw }: Delivery, now: number): Message {
  const hash = createHash('sha256').update(raw.body)
  for (const [name, value] of Object.entries(raw.headers).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`\n${name}:${value}`)
  const id = `malformed-${hash.digest('hex').slice(0, 40)}`
  return {
    id,
    kind: 'event',
    type: UNKNOWN_TYPE,
    version: 0,
    source: UNKNOWN_TYPE,
    time: now,
    key: null,
    keySeq: null,
    contentType: raw.contentType,
    body: raw.body,
    metadata: { correlationId: id, custom: boundedHeaders(raw.headers) },
  }
}

/** Characters of a stranger's headers that are kept for the operator to look at. */
const HEADER_CHARS_MAX = 8000

function boundedHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept: Record<string, string> = {}
  let chars = 0
  for (const [name, value] of Object.entries(headers)) {
    chars += name.length + value.length
    if (chars > HEADER_CHARS_MAX) break
    kept[name] = value
  }
  return kept
}
