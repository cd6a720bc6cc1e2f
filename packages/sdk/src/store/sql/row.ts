import { Buffer } from 'node:buffer'
import { SdkError } from '../../errors.ts'
import { sql, type Fragment } from './fragment.ts'
import type { Attempt, Draft } from '../port.ts'
import type { Cell } from './dialect.ts'
import type { Message, MessageKind, Metadata } from '../../message/message.ts'
import type { SqlRow } from './driver.ts'

/** Failed attempts of a message that are kept. */
const ATTEMPTS_MAX = 20

/** The columns of a message, the same in every table that has messages. */
export const MESSAGE_COLUMNS = [
  'id',
  'kind',
  'type',
  'version',
  'source',
  'time',
  'msg_key',
  'key_seq',
  'external_id',
  'content_type',
  'metadata',
  'body',
] as const

/** How {@link messageRows} are read. */
export const MESSAGE_CELLS = {
  ord: 'small',
  id: 'text',
  kind: 'text',
  type: 'text',
  version: 'small',
  source: 'text',
  time: 'integer',
  msg_key: 'text',
  key_seq: 'integer',
  external_id: 'text',
  content_type: 'text',
  metadata: 'text',
  body_at: 'small',
  body_bytes: 'small',
} as const satisfies Readonly<Record<string, Cell>>

/** How messages are read that are about to be handled. */
export const BEGIN_CELLS = {
  ord: 'small',
  id: 'text',
  type: 'text',
  version: 'small',
  source: 'text',
  msg_key: 'text',
  key_seq: 'integer',
  external_id: 'text',
  dedupe_key: 'text',
} as const satisfies Readonly<Record<string, Cell>>

/** Messages as rows for a statement. */
export interface MessageRows<Row> {
  /** By the names of {@link MESSAGE_CELLS}. `body_at` counts from 1, as `substr` does. */
  readonly rows: readonly (Row & Readonly<Record<keyof typeof MESSAGE_CELLS, string | number | null>>)[]
  /** All bodies, one after the other: JSON has no bytes, and one binary value is cheaper than many. */
  readonly bodies: Uint8Array
}

/** Stands before all bodies: SQLite's clients take a binary value without bytes for null. */
const BEFORE = new Uint8Array(1)

/** A body alone, as SQL. */
export function bodyAlone(body: Uint8Array): Fragment {
  return sql`substr(${Buffer.concat([BEFORE, body])}, 2)`
}

/** @param more columns to add to each row */
export function messageRows<Item, Row>(
  items: readonly Item[],
  draftOf: (item: Item) => Draft,
  more: (item: Item, index: number) => Row,
): MessageRows<Row> {
  const bodies: Uint8Array[] = [BEFORE]
  let at = 1 + BEFORE.byteLength
  const rows = items.map((item, ord) => {
    const draft = draftOf(item)
    const bytes = draft.body.byteLength
    bodies.push(draft.body)
    const row = {
      ord,
      id: draft.id,
      kind: draft.kind,
      type: draft.type,
      version: draft.version,
      source: draft.source,
      time: draft.time,
      msg_key: draft.key,
      key_seq: draft.keySeq,
      external_id: draft.metadata.externalId ?? null,
      content_type: draft.contentType,
      metadata: JSON.stringify(draft.metadata),
      body_at: at,
      body_bytes: bytes,
      ...more(item, ord),
    }
    at += bytes
    return row
  })
  return { rows, bodies: Buffer.concat(bodies) }
}

/** @param row with the columns {@link MESSAGE_COLUMNS} */
export function messageIn(row: SqlRow): Message {
  const body = row['body']
  return {
    id: textIn(row, 'id'),
    kind: textIn(row, 'kind') as MessageKind,
    type: textIn(row, 'type'),
    version: numberIn(row, 'version'),
    source: textIn(row, 'source'),
    time: numberIn(row, 'time'),
    key: textOrNullIn(row, 'msg_key'),
    keySeq: numberOrNullIn(row, 'key_seq'),
    contentType: textIn(row, 'content_type'),
    body: body instanceof Uint8Array ? body : new Uint8Array(0),
    metadata: JSON.parse(textIn(row, 'metadata')) as Metadata,
  }
}

export function attemptsIn(row: SqlRow): readonly Attempt[] {
  const errors = textOrNullIn(row, 'errors')
  return errors === null ? [] : (JSON.parse(errors) as readonly Attempt[])
}

/** The history with one more attempt, the oldest forgotten when it gets too long, as it is stored. */
export function withAttempt(errors: readonly Attempt[], attempt: Attempt | undefined): string | null {
  const all = attempt === undefined ? errors : [...errors, attempt]
  return all.length === 0 ? null : JSON.stringify(all.slice(-ATTEMPTS_MAX))
}

export function numberIn(row: SqlRow, column: string): number {
  const value = numberOrNullIn(row, column)
  if (value === null) throw unreadable(column)
  return value
}

/** Clients give large whole numbers as number, text or bigint. */
export function numberOrNullIn(row: SqlRow, column: string): number | null {
  const value = row[column]
  if (value === null) return null
  if (typeof value === 'number') return value
  if (typeof value === 'string' || typeof value === 'bigint') return Number(value)
  throw unreadable(column)
}

export function textIn(row: SqlRow, column: string): string {
  const value = textOrNullIn(row, column)
  if (value === null) throw unreadable(column)
  return value
}

export function textOrNullIn(row: SqlRow, column: string): string | null {
  const value = row[column]
  if (value === null || typeof value === 'string') return value
  throw unreadable(column)
}

function unreadable(column: string): SdkError {
  return new SdkError('not_migrated', `the column ${column} is not what this version wrote: run migrate()`)
}
