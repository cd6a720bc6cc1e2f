import type { BucketLease, Draft, OutboxDepth, OutboxEntry, OutboxFailure, OutboxStore } from '../port.ts'
import { Buckets } from './buckets.ts'
import type { MemoryDatabase } from './database.ts'
import { keyName, outRow, outRows, sendable, withAttempt, type OutRow } from './out-row.ts'
import { Rows } from './rows.ts'
import type { MemoryTransaction, OpenTransaction } from './transaction.ts'

/** Names of the locks that adding messages takes: of their ids, and of the counters of their keys. */
export function draftLocks(drafts: readonly Draft[]): string[] {
  const names = drafts.map(({ id }) => JSON.stringify(['out', id]))
  for (const draft of drafts) {
    const key = keyName(draft)
    if (key !== null) names.push(`key ${key}`)
  }
  return names
}

/** Messages to send, in memory. */
export class MemoryOutbox implements OutboxStore<MemoryTransaction> {
  readonly rows: Rows<OutRow> = outRows()
  readonly #counters = new Rows<number>()
  readonly #buckets = new Buckets()
  readonly #database: MemoryDatabase

  constructor(database: MemoryDatabase) {
    this.#database = database
  }

  async add(tx: MemoryTransaction, drafts: readonly Draft[]): Promise<void> {
    const own = this.#database.own(tx)
    await own.lock(draftLocks(drafts))
    this.insert(own, drafts)
  }

  /** What `add` does once its locks are taken. */
  insert(tx: OpenTransaction, drafts: readonly Draft[]): void {
    const now = this.#database.now()
    for (const draft of drafts) {
      if (this.rows.get(tx, draft.id) !== undefined) continue
      const message = { ...draft, keySeq: draft.keySeq ?? this.#nextNumber(tx, draft) }
      this.rows.put(tx, draft.id, outRow(message, this.#database.serial(), now))
    }
  }

  async lease(owner: string, leaseMs: number): Promise<readonly BucketLease[]> {
    return this.#buckets.lease(owner, leaseMs, this.#database.now())
  }

  async owners(): Promise<readonly string[]> {
    return this.#buckets.owners(this.#database.now())
  }

  async unlease(owner: string): Promise<void> {
    this.#buckets.unlease(owner)
  }

  async due(buckets: readonly number[], limit: number, bytesMax = Infinity): Promise<readonly OutboxEntry[]> {
    let bytes = 0
    return sendable(this.#of(buckets), this.#database.now())
      .slice(0, limit)
      .filter(({ message }, index) => (bytes += message.body.byteLength) <= bytesMax || index === 0)
      .map(({ message, seq, bucket, attempts, errors }) => ({ message, seq, bucket, attempts, errors }))
  }

  sent(leases: readonly BucketLease[], entries: readonly OutboxEntry[], keep: boolean): Promise<number> {
    return this.#database.change([], (tx) => {
      const own = this.#own(leases, entries)
      for (const row of own) {
        if (!keep) this.rows.delete(tx, row.message.id)
        else this.rows.put(tx, row.message.id, { ...row, state: 'sent' })
      }
      return own.length
    })
  }

  failed(leases: readonly BucketLease[], failures: readonly OutboxFailure[]): Promise<void> {
    return this.#database.change([], (tx) => {
      for (const { entry, attempt, next } of failures) {
        const [row] = this.#own(leases, [entry])
        if (row === undefined) continue
        const { id } = row.message
        const tried = { ...row, attempts: row.attempts + 1, errors: withAttempt(row.errors, attempt) }
        if (next === 'drop') this.rows.delete(tx, id)
        else if (typeof next === 'object') this.rows.put(tx, id, { ...tried, retryAt: next.retryAt })
        else this.rows.put(tx, id, { ...tried, state: 'parked', holdsKey: next === 'park-key' })
      }
    })
  }

  async nextDue(buckets: readonly number[]): Promise<number | null> {
    const now = this.#database.now()
    const times: number[] = []
    const free = sendable(this.#of(buckets), now, ({ state, retryAt }) => {
      if (state === 'pending' && retryAt !== null) times.push(retryAt)
    })
    for (const { retryAt } of free) if (retryAt !== null) times.push(retryAt)
    return times.length === 0 ? null : Math.min(...times)
  }

  async depth(): Promise<OutboxDepth> {
    const rows = this.rows.live(null)
    const pending = rows.filter(({ state }) => state === 'pending')
    const holding = rows.filter(({ state, holdsKey }) => state === 'parked' && holdsKey)
    const keys = new Set(holding.map(({ message }) => keyName(message)).filter((key) => key !== null))
    let oldestAt: number | null = null
    for (const { createdAt } of pending) oldestAt = Math.min(oldestAt ?? createdAt, createdAt)
    return { pending: pending.length, parked: rows.length - pending.length, parkedKeys: keys.size, oldestAt }
  }

  #of(buckets: readonly number[]): OutRow[] {
    const wanted = new Set(buckets)
    return this.rows.live(null).filter(({ bucket }) => wanted.has(bucket))
  }

  /** The rows of entries that are pending yet, in buckets that are ours. */
  #own(leases: readonly BucketLease[], entries: readonly OutboxEntry[]): OutRow[] {
    const current = this.#buckets.current(leases)
    const rows = entries
      .filter(({ bucket }) => current.has(bucket))
      .map(({ message }) => this.rows.get(null, message.id))
    return rows.filter((row) => row?.state === 'pending') as OutRow[]
  }

  #nextNumber(tx: OpenTransaction, draft: Draft): number | null {
    const key = keyName(draft)
    if (key === null) return null
    const number = (this.#counters.get(tx, key) ?? 0) + 1
    this.#counters.put(tx, key, number)
    return number
  }
}
