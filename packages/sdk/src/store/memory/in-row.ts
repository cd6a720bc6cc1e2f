import type { Message } from '../../message/message.ts'
import type { Attempt, InboxEntry, InboxState } from '../port.ts'
import { Rows } from './rows.ts'

/** A message that one consumer received. */
export interface InRow {
  readonly consumer: string
  readonly message: Message
  readonly state: InboxState
  readonly attempts: number
  readonly errors: readonly Attempt[]
  readonly dueAt: number
  /** End of the lease of a running one. */
  readonly leaseUntil: number
  readonly epoch: number
  readonly reason: string | null
  /** Of a parked or uncertain one: whether its key waits for an operator. */
  readonly holdsKey: boolean
  /** The order of recording. */
  readonly place: number
  readonly createdAt: number
  /** When it came to its state. */
  readonly stateAt: number
}

const OVER: ReadonlySet<InboxState> = new Set(['done', 'cancelled', 'expired'])
const CLAIMABLE: ReadonlySet<InboxState> = new Set(['waiting', 'retrying', 'running'])

export const inName = (consumer: string, id: string): string => JSON.stringify(['in', consumer, id])

export function inRows(): Rows<InRow> {
  return new Rows<InRow>(({ state }) => !OVER.has(state))
}

/** Names what a message holds or waits for. */
export function laneOf(consumer: string, { type, key }: Message): string | null {
  return key === null ? null : JSON.stringify(['lane', consumer, type, key])
}

/** Whether later messages of its key have to wait for it. */
export function holds({ state, holdsKey, message }: InRow): boolean {
  if (message.key === null || OVER.has(state)) return false
  return CLAIMABLE.has(state) || holdsKey
}

/** When it can be claimed. Null when never. */
export function claimableAt({ state, dueAt, leaseUntil }: InRow): number | null {
  if (!CLAIMABLE.has(state)) return null
  return state === 'running' ? leaseUntil : dueAt
}

/** A consumer's messages that can be claimed now or later, in their order; of each key only the earliest, when `ordered`. */
export function candidates(rows: readonly InRow[], consumer: string, ordered: boolean): InRow[] {
  const held = new Set<string>()
  return rows
    .filter((row) => row.consumer === consumer)
    .toSorted((a, b) => a.place - b.place)
    .filter((row) => {
      const lane = laneOf(consumer, row.message)
      if (ordered && lane !== null && held.has(lane)) return false
      if (lane !== null && holds(row)) held.add(lane)
      return CLAIMABLE.has(row.state)
    })
}

/** The first of their keys with those that wait right behind them, as many as the limit leaves room for. */
export function withRuns(
  rows: readonly InRow[],
  first: readonly InRow[],
  limit: number,
  isFree: (row: InRow) => boolean,
): InRow[] {
  let room = limit - first.length
  const behind = new Map<string, InRow[]>()
  for (const { consumer, message } of first) behind.set(laneOf(consumer, message) ?? '', [])
  for (const row of rows) if (holds(row)) behind.get(laneOf(row.consumer, row.message) ?? '')?.push(row)
  return first.flatMap((head) => {
    const lane = laneOf(head.consumer, head.message)
    if (lane === null || head.state !== 'waiting') return [head]
    const run = [head]
    for (const row of (behind.get(lane) ?? []).toSorted((a, b) => a.place - b.place)) {
      if (row.place <= head.place) continue
      if (room === 0 || row.state !== 'waiting' || !isFree(row)) break
      run.push(row)
      room--
    }
    return run
  })
}

export function entryOf({ consumer, message, state, attempts, errors, dueAt, epoch, reason }: InRow): InboxEntry {
  return { consumer, message, state, attempts, errors, dueAt, epoch, reason }
}
