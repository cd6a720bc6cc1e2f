import { bucketOf } from '../../message/bucket.ts'
import type { Message } from '../../message/message.ts'
import type { Attempt } from '../port.ts'
import { Rows } from './rows.ts'

/** A message that goes out. */
export interface OutRow {
  readonly message: Message
  readonly seq: number
  readonly bucket: number
  readonly state: 'pending' | 'sent' | 'parked' | 'cancelled'
  /** Of a parked one: whether its key waits for an operator. */
  readonly holdsKey: boolean
  readonly attempts: number
  readonly errors: readonly Attempt[]
  /** When to try again; null when nothing failed. */
  readonly retryAt: number | null
  readonly createdAt: number
}

/** The newest attempts, as many as are kept of a message. */
export function withAttempt(errors: readonly Attempt[], attempt: Attempt | undefined): readonly Attempt[] {
  return attempt === undefined ? errors : [...errors, attempt].slice(-20)
}

export function outRows(): Rows<OutRow> {
  return new Rows<OutRow>(({ state }) => state === 'pending' || state === 'parked')
}

/** A new row. Messages without a key are spread by their ids. */
export function outRow(message: Message, seq: number, now: number): OutRow {
  return {
    message,
    seq,
    bucket: bucketOf(message.key ?? message.id),
    state: 'pending',
    holdsKey: false,
    attempts: 0,
    errors: [],
    retryAt: null,
    createdAt: now,
  }
}

/**
 * What may be sent, in its order: of each key the messages before the first one that is held back. Which that one is, or a
 * message without a key that is to be tried again later, is told to `held`.
 */
export function sendable(rows: readonly OutRow[], now: number, held: (row: OutRow) => void = () => {}): OutRow[] {
  const heldKeys = new Set<string>()
  return rows
    .toSorted((a, b) => a.seq - b.seq)
    .filter((row) => {
      const key = keyName(row.message)
      if (key !== null && heldKeys.has(key)) return false
      if (row.state === 'parked' && !row.holdsKey) return false
      const free = row.state === 'pending' && (row.retryAt === null || row.retryAt <= now)
      if (!free) held(row)
      if (!free && key !== null) heldKeys.add(key)
      return free
    })
}

/** Names the key of a message's type. */
export function keyName({ type, key }: { readonly type: string; readonly key: string | null }): string | null {
  return key === null ? null : JSON.stringify([type, key])
}
