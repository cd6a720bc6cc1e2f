import { Backlog, type BacklogEntry, type Line } from './backlog.ts'
import { Buckets } from './buckets.ts'
import { Intake } from './intake.ts'
import { OutboxInsertion } from './outbox-insertion.ts'
import { join, raw, sql, type Fragment } from './fragment.ts'
import { attemptsIn, numberIn, numberOrNullIn, withAttempt } from './row.ts'
import type { BucketLease, Draft, OutboxDepth, OutboxEntry, OutboxFailure, OutboxStore } from '../port.ts'
import type { Database } from './database.ts'
import type { Random } from '../../random.ts'
import type { SqlSession } from './driver.ts'

/** Adds, reads and marks the messages to send. */
export class SqlOutbox<Tx> implements OutboxStore<Tx> {
  readonly #db: Database<Tx>
  readonly #insertion: OutboxInsertion<Tx>
  readonly #buckets: Buckets<Tx>
  /** What was added is there first; null when it is in the outbox at once. */
  readonly intake: Intake<Tx> | null
  /** For whoever takes messages out of it. */
  readonly backlog: Backlog<Tx>

  constructor(db: Database<Tx>, random: Random) {
    this.#db = db
    this.intake = db.dialect.oneWriter === true ? new Intake(db) : null
    this.#insertion = new OutboxInsertion(db, random, this.intake)
    this.#buckets = new Buckets(db)
    this.backlog = new Backlog(db)
  }

  add(tx: Tx, drafts: readonly Draft[]): Promise<void> {
    return this.addIn(this.#db.within(tx), drafts)
  }

  /** As {@link add}, in a transaction of the store's own. */
  addIn(session: SqlSession, drafts: readonly Draft[]): Promise<void> {
    return this.#insertion.add(session, drafts)
  }

  async lease(owner: string, leaseMs: number): Promise<readonly BucketLease[]> {
    await this.backlog.mend()
    return this.#buckets.lease(owner, leaseMs)
  }

  owners(): Promise<readonly string[]> {
    return this.#buckets.owners()
  }

  unlease(owner: string): Promise<void> {
    return this.#buckets.unlease(owner)
  }

  async due(
    buckets: readonly number[],
    limit: number,
    bytesMax = Number.MAX_SAFE_INTEGER,
  ): Promise<readonly OutboxEntry[]> {
    if (buckets.length === 0) return []
    for (;;) {
      const moved = (await this.intake?.move()) ?? false
      const due = await this.backlog.due(buckets, limit, bytesMax)
      // What was moved may have been for others.
      if (due.length > 0 || !moved) return due
    }
  }

  async sent(leases: readonly BucketLease[], entries: readonly OutboxEntry[], keep: boolean): Promise<number> {
    if (entries.length === 0) return 0
    const { outbox } = this.#db.names
    const where = sql`${this.#db.pending(entries.map(({ seq }) => seq))} and ${this.#fenced(leases)}`
    const change = (session: SqlSession | null): Promise<number> =>
      keep
        ? this.#db.update(session, outbox, raw("state = 'sent', holds = 0"), where)
        : this.#db.delete(session, outbox, where)
    const led = linesLedBy(entries)
    if (led.length === 0) return change(null)
    return this.#db.together(async (session) => {
      const count = await change(session)
      for (const line of led) await this.backlog.release(session, line)
      return count
    })
  }

  async failed(leases: readonly BucketLease[], failures: readonly OutboxFailure[]): Promise<void> {
    if (failures.length === 0) return
    await this.#db.together(async (session) => {
      for (const failure of failures) await this.#fail(session, leases, failure)
    })
  }

  async nextDue(buckets: readonly number[]): Promise<number | null> {
    if (buckets.length === 0) return null
    const [row] = await this.#db.run(
      null,
      sql`select min(due_at) as due_at from ${raw(this.#db.names.outbox)}
        where state = 'pending' and bucket in ${numberList(buckets)} and due_at > ${this.#db.now}`,
    )
    return numberOrNullIn(row!, 'due_at')
  }

  async depth(): Promise<OutboxDepth> {
    const { names } = this.#db
    // Each by an index in which there is nothing that is done with: the first by `seq` is the oldest, too.
    const count = (state: string): Fragment => raw(`(select count(*) from ${names.outbox} where state = '${state}')`)
    const oldest = (state: string): Fragment =>
      raw(`(select created_at from ${names.outbox} where state = '${state}' order by seq limit 1)`)
    await this.intake?.drain()
    const [row] = await this.#db.run(
      null,
      sql`select ${count('pending')} as pending, ${count('waiting')} as waiting, ${count('parked')} as parked,
        (select count(*) from (select distinct type, msg_key from ${raw(names.outbox)}
          where state = 'parked' and holds = 1) k) as parked_keys,
        ${oldest('pending')} as pending_at, ${oldest('waiting')} as waiting_at`,
    )
    const ages = ['pending_at', 'waiting_at'].map((column) => numberOrNullIn(row!, column) ?? Number.POSITIVE_INFINITY)
    const oldestAt = Math.min(...ages)
    return {
      pending: numberIn(row!, 'pending') + numberIn(row!, 'waiting'),
      parked: numberIn(row!, 'parked'),
      parkedKeys: numberIn(row!, 'parked_keys'),
      oldestAt: Number.isFinite(oldestAt) ? oldestAt : null,
    }
  }

  async #fail(session: SqlSession, leases: readonly BucketLease[], failure: OutboxFailure): Promise<void> {
    const { outbox } = this.#db.names
    const { entry, attempt, next } = failure
    const where = sql`seq = ${entry.seq} and id = ${entry.message.id} and state = 'pending' and ${this.#fenced(leases)}`
    const lock = raw(this.#db.dialect.forUpdate)
    const [row] = await this.#db.run(session, sql`select errors, holds from ${raw(outbox)} where ${where}${lock}`)
    if (row === undefined) return
    const { type, key } = entry.message
    const led = key !== null && numberIn(row, 'holds') === 1 ? { type, key } : null
    if (next === 'drop') {
      await this.#db.run(session, sql`delete from ${raw(outbox)} where seq = ${entry.seq} and id = ${entry.message.id}`)
      if (led !== null) await this.backlog.release(session, led)
      return
    }
    const retryAt = typeof next === 'object' ? next.retryAt : null
    const change: Fragment =
      retryAt === null
        ? sql`state = 'parked', holds = ${next === 'park-key' && entry.message.key !== null ? 1 : 0}`
        : // Without a key it holds nobody, but is found by its time all the same.
          sql`holds = 1, due_at = ${Math.ceil(retryAt)}`
    await this.#db.run(
      session,
      sql`update ${raw(outbox)} set ${change}, attempts = attempts + 1, fingerprint = ${attempt.fingerprint},
        errors = ${withAttempt(attemptsIn(row), attempt)} where seq = ${entry.seq} and id = ${entry.message.id}`,
    )
    if (led !== null && next === 'park-message') await this.backlog.release(session, led)
  }

  /** Whether the bucket of a row of the outbox still has the epoch of the lease. */
  #fenced(leases: readonly BucketLease[]): Fragment {
    const json = JSON.stringify(leases.map(({ bucket, epoch }) => ({ bucket, epoch })))
    const { dialect, names } = this.#db
    const current = sql`(select l.bucket from ${dialect.rows(json, 'l', { bucket: 'small', epoch: 'integer' })}
      where (select b.epoch from ${raw(names.bucket)} b where b.bucket = l.bucket) = l.epoch)`
    return dialect.found?.('bucket', current) ?? sql`bucket in ${current}`
  }
}

/** Buckets are few and small numbers: as text they leave the statement the same for an owner. */
function numberList(buckets: readonly number[]): Fragment {
  return sql`(${join(
    buckets.map((bucket) => raw(String(Math.trunc(bucket)))),
    ', ',
  )})`
}

/** The keys that entries lead, as far as it was known when they were read: nobody but their relay puts rows behind them. */
function linesLedBy(entries: readonly OutboxEntry[]): readonly Line[] {
  const lines = new Map<string, Line>()
  for (const { message, leads } of entries as readonly Partial<BacklogEntry>[]) {
    if (leads !== true || message === undefined || message.key === null) continue
    lines.set(JSON.stringify([message.type, message.key]), { type: message.type, key: message.key })
  }
  return [...lines.values()]
}
