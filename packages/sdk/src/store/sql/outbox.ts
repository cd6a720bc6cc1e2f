import { bucketOf, BUCKETS } from '../../message/bucket.ts'
import { Buckets } from './buckets.ts'
import { join, list, raw, sql, type Fragment } from './fragment.ts'
import {
  attemptsIn,
  MESSAGE_CELLS,
  MESSAGE_COLUMNS,
  messageIn,
  messageRows,
  numberIn,
  numberOrNullIn,
  textIn,
  withAttempt,
} from './row.ts'
import type { BucketLease, Draft, OutboxDepth, OutboxEntry, OutboxFailure, OutboxStore } from '../port.ts'
import type { Database } from './database.ts'
import type { Message } from '../../message/message.ts'
import type { Random } from '../../random.ts'
import type { SqlSession } from './driver.ts'

/** Times that `add` begins again because another transaction has just added the same id. */
const RACES_MAX = 10

/** Adds, reads and marks the messages to send. */
export class SqlOutbox<Tx> implements OutboxStore<Tx> {
  readonly #db: Database<Tx>
  readonly #random: Random
  readonly #buckets: Buckets<Tx>

  constructor(db: Database<Tx>, random: Random) {
    this.#db = db
    this.#random = random
    this.#buckets = new Buckets(db)
  }

  add(tx: Tx, drafts: readonly Draft[]): Promise<readonly Message[]> {
    return this.addIn(this.#db.within(tx), drafts)
  }

  /** As {@link add}, in a transaction of the store's own. */
  async addIn(session: SqlSession, drafts: readonly Draft[]): Promise<readonly Message[]> {
    const fresh = [...new Map(drafts.toReversed().map((draft) => [draft.id, draft])).values()].toReversed()
    if (fresh.length === 0) return []
    const numbers = await (this.#db.dialect.oneTrip === undefined
      ? this.#addInSteps(session, fresh)
      : this.#addInOneTrip(session, fresh))
    const others = fresh.filter((draft) => !numbers.has(draft.id))
    const there = new Map((await this.#named(session, others)).map((message) => [message.id, message]))
    return drafts.map((draft) => there.get(draft.id) ?? { ...draft, keySeq: numbers.get(draft.id) ?? null })
  }

  lease(owner: string, leaseMs: number): Promise<readonly BucketLease[]> {
    return this.#buckets.lease(owner, leaseMs)
  }

  unlease(owner: string): Promise<void> {
    return this.#buckets.unlease(owner)
  }

  async due(buckets: readonly number[], limit: number): Promise<readonly OutboxEntry[]> {
    if (buckets.length === 0) return []
    const { outbox } = this.#db.names
    const ours = buckets.length >= BUCKETS ? raw('1 = 1') : sql`o.bucket in ${numberList(buckets)}`
    // Not `… is null` alone: PostgreSQL takes that for rare, so for rare that the limit seems out of reach, and then reads
    // and sorts all that is pending for every batch, instead of ending at the limit.
    const rows = await this.#db.run(
      null,
      sql`select seq, bucket, attempts, errors, ${raw(MESSAGE_COLUMNS.join(', '))} from ${raw(outbox)} o
        where o.state = 'pending' and o.due_at <= ${this.#db.now} and ${ours}
        and case when (select 1 from ${raw(outbox)} h where h.holds = 1 and h.type = o.type and h.msg_key = o.msg_key
          and h.seq < o.seq and (h.state = 'parked' or h.due_at > ${this.#db.now}) limit 1) is null
          then 1 = 1 else 1 = 0 end
        order by o.seq limit ${limit}`,
    )
    return rows.map((row) => ({
      message: messageIn(row),
      seq: numberIn(row, 'seq'),
      bucket: numberIn(row, 'bucket'),
      attempts: numberIn(row, 'attempts'),
      errors: attemptsIn(row),
    }))
  }

  async sent(leases: readonly BucketLease[], entries: readonly OutboxEntry[], keep: boolean): Promise<number> {
    if (entries.length === 0) return 0
    const { outbox } = this.#db.names
    const which = this.#db.among(
      'seq',
      entries.map(({ seq }) => seq),
    )
    const where = sql`state = 'pending' and ${which} and ${this.#fenced(leases)}`
    return keep
      ? this.#db.update(null, outbox, raw("state = 'sent', holds = 0"), where)
      : this.#db.delete(null, outbox, where)
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
        where state = 'pending' and holds = 1 and bucket in ${numberList(buckets)} and due_at > ${this.#db.now}`,
    )
    return numberOrNullIn(row!, 'due_at')
  }

  async depth(): Promise<OutboxDepth> {
    const outbox = raw(this.#db.names.outbox)
    const [row] = await this.#db.run(
      null,
      sql`select (select count(*) from ${outbox} where state = 'pending') as pending,
        (select count(*) from ${outbox} where state = 'parked') as parked,
        (select count(*) from (select distinct type, msg_key from ${outbox} where state = 'parked' and holds = 1) k)
          as parked_keys,
        (select min(created_at) from ${outbox} where state = 'pending') as oldest_at`,
    )
    return {
      pending: numberIn(row!, 'pending'),
      parked: numberIn(row!, 'parked'),
      parkedKeys: numberIn(row!, 'parked_keys'),
      oldestAt: numberOrNullIn(row!, 'oldest_at'),
    }
  }

  /** Supposes that no id is there yet, and takes everything back when one is. */
  async #addInOneTrip(session: SqlSession, drafts: readonly Draft[]): Promise<Map<string, number | null>> {
    const { names, dialect, now } = this.#db
    let fresh = drafts
    for (let race = 0; fresh.length > 0 && race < RACES_MAX; race++) {
      const streams = streamsOf(fresh)
      const { rows, bodies } = this.#rows(fresh, streams)
      const found = await this.#db.run(session, dialect.oneTrip!.addToOutbox(names, now, rows, sorted(streams), bodies))
      const added = new Map(found.map((row) => [textIn(row, 'id'), numberOrNullIn(row, 'key_seq')]))
      if (added.size === fresh.length) return added
      // The numbers that were taken for what is there already would be missing. Nobody can have seen them.
      await this.#takeBack(session, [...added.keys()], sorted(streams))
      const known = new Set((await this.#ids(session, fresh)).map((row) => textIn(row, 'id')))
      fresh = fresh.filter(({ id }) => !known.has(id))
    }
    return new Map()
  }

  async #takeBack(session: SqlSession, added: readonly string[], streams: readonly Stream[]): Promise<void> {
    const { names } = this.#db
    if (added.length > 0) await this.#db.run(session, sql`delete from ${raw(names.outbox)} where id in ${list(added)}`)
    for (const { type, msg_key, many } of streams)
      await this.#db.run(
        session,
        sql`update ${raw(names.stream)} set version = version - ${many} where type = ${type} and msg_key = ${msg_key}`,
      )
  }

  /** The ids first, then the keys in their order, then the messages. */
  async #addInSteps(session: SqlSession, drafts: readonly Draft[]): Promise<Map<string, number | null>> {
    const known = new Set((await this.#ids(session, drafts)).map((row) => textIn(row, 'id')))
    const fresh = drafts.filter((draft) => !known.has(draft.id))
    if (fresh.length === 0) return new Map()
    const last = await this.#count(session, fresh)
    const numbered = fresh.map((draft) => {
      const stream = last.get(streamOf(draft))
      return draft.keySeq === null && stream !== undefined ? { ...draft, keySeq: ++stream.last } : draft
    })
    const { dialect, names } = this.#db
    const { rows, bodies } = this.#rows(numbered)
    const columns = ['bucket', 'state', 'holds', 'due_at', 'attempts', 'created_at', ...MESSAGE_COLUMNS]
    const message = MESSAGE_COLUMNS.filter((column) => column !== 'body').map((column) => `r.${column}`)
    await this.#db.run(
      session,
      sql`insert into ${raw(`${names.outbox} (${columns.join(', ')})`)}
        select r.bucket, 'pending', 0, ${this.#db.now}, 0, ${this.#db.now}, ${raw(message.join(', '))},
          substr(${bodies}, r.body_at, r.body_bytes)
        from ${dialect.rows(JSON.stringify(rows), 'r', { ...MESSAGE_CELLS, bucket: 'small' })} order by r.ord`,
    )
    return new Map(numbered.map((draft) => [draft.id, draft.keySeq]))
  }

  /** Takes as many numbers of each key as there are messages. @returns by key the last number before them */
  async #count(session: SqlSession, drafts: readonly Draft[]): Promise<Map<string, { last: number }>> {
    const { dialect, names } = this.#db
    const counts = streamsOf(drafts)
    if (counts.size === 0) return new Map()
    const json = JSON.stringify(sorted(counts))
    const rows = dialect.rows(json, 'r', { type: 'text', msg_key: 'text', many: 'integer' })
    await this.#db.run(
      session,
      dialect.upsert(
        names.stream,
        ['type', 'msg_key', 'version'],
        sql`select r.type, r.msg_key, r.many from ${rows} order by r.type, r.msg_key`,
        ['type', 'msg_key'],
        (row) => ({ version: `${row.old('version')} + ${row.new('version')}` }),
      ),
    )
    const versions = await this.#db.run(
      session,
      sql`select r.type, r.msg_key, (select s.version from ${raw(names.stream)} s
          where s.type = r.type and s.msg_key = r.msg_key) - r.many as last from ${rows}`,
    )
    return new Map(
      versions.map((row) => [
        streamOf({ type: textIn(row, 'type'), key: textIn(row, 'msg_key') }),
        { last: numberIn(row, 'last') },
      ]),
    )
  }

  /** @param streams what the messages count in, when they are numbered by the statement */
  #rows(
    drafts: readonly Draft[],
    streams?: ReadonlyMap<string, Stream>,
  ): ReturnType<typeof messageRows<Draft, { bucket: number; back: number }>> {
    const left = new Map<string, number>()
    const back = (draft: Draft): number => {
      const stream = draft.keySeq === null && draft.key !== null ? streamOf(draft) : null
      if (streams === undefined || stream === null) return 0
      const after = (left.get(stream) ?? streams.get(stream)!.many) - 1
      left.set(stream, after)
      return after
    }
    return messageRows(
      drafts,
      (draft) => draft,
      (draft) => ({
        bucket: draft.key === null ? this.#random.uint32() % BUCKETS : bucketOf(draft.key),
        back: back(draft),
      }),
    )
  }

  #ids(session: SqlSession, drafts: readonly Draft[]): ReturnType<Database<Tx>['run']> {
    const json = JSON.stringify(drafts.map(({ id }) => ({ id })))
    return this.#db.run(
      session,
      sql`select r.id from ${this.#db.dialect.rows(json, 'r', { id: 'text' })}
        where (select 1 from ${raw(this.#db.names.outbox)} o where o.id = r.id) is not null`,
    )
  }

  async #named(session: SqlSession, drafts: readonly Draft[]): Promise<readonly Message[]> {
    if (drafts.length === 0) return []
    const rows = await this.#db.run(
      session,
      sql`select ${raw(MESSAGE_COLUMNS.join(', '))} from ${raw(this.#db.names.outbox)}
        where id in ${list(drafts.map(({ id }) => id))}`,
    )
    return rows.map((row) => messageIn(row))
  }

  async #fail(session: SqlSession, leases: readonly BucketLease[], failure: OutboxFailure): Promise<void> {
    const { outbox } = this.#db.names
    const { entry, attempt, next } = failure
    const where = sql`seq = ${entry.seq} and id = ${entry.message.id} and state = 'pending' and ${this.#fenced(leases)}`
    if (next === 'drop') {
      await this.#db.run(session, sql`delete from ${raw(outbox)} where ${where}`)
      return
    }
    const lock = raw(this.#db.dialect.forUpdate)
    const [row] = await this.#db.run(session, sql`select errors from ${raw(outbox)} where ${where}${lock}`)
    if (row === undefined) return
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
  }

  /** Whether the bucket of a row of the outbox still has the epoch of the lease. */
  #fenced(leases: readonly BucketLease[]): Fragment {
    const json = JSON.stringify(leases.map(({ bucket, epoch }) => ({ bucket, epoch })))
    const { dialect, names } = this.#db
    return sql`bucket in (select l.bucket from ${dialect.rows(json, 'l', { bucket: 'small', epoch: 'integer' })}
      where (select b.epoch from ${raw(names.bucket)} b where b.bucket = l.bucket) = l.epoch)`
  }
}

/** Buckets are few and small numbers: as text they leave the statement the same for an owner. */
function numberList(buckets: readonly number[]): Fragment {
  return sql`(${join(
    buckets.map((bucket) => raw(String(Math.trunc(bucket)))),
    ', ',
  )})`
}

/** How many numbers of a type and key are taken together. */
type Stream = { readonly type: string; readonly msg_key: string; many: number }

/** What the store has to number, by type and key. */
function streamsOf(drafts: readonly Draft[]): ReadonlyMap<string, Stream> {
  const streams = new Map<string, Stream>()
  for (const draft of drafts) {
    if (draft.key === null || draft.keySeq !== null) continue
    const stream = streams.get(streamOf(draft))
    if (stream === undefined) streams.set(streamOf(draft), { type: draft.type, msg_key: draft.key, many: 1 })
    else stream.many++
  }
  return streams
}

/** In the order in which everybody locks them. */
function sorted(streams: ReadonlyMap<string, Stream>): readonly Stream[] {
  const names = [...streams.keys()].toSorted((a, b) => (a < b ? -1 : 1))
  return names.map((name) => streams.get(name)!)
}

function streamOf({ type, key }: { type: string; key: string | null }): string {
  return JSON.stringify([type, key])
}
