import { SdkError } from '../../errors.ts'
import { BUCKETS } from '../../message/bucket.ts'
import { list, raw, sql, type Fragment } from './fragment.ts'
import { attemptsIn, MESSAGE_COLUMNS, messageIn, numberIn, textIn, textOrNullIn } from './row.ts'
import { bodiesWithin } from './bodies-within.ts'
import type { Database } from './database.ts'
import type { OutboxEntry } from '../port.ts'
import type { SqlRow, SqlSession } from './driver.ts'

/** Share of a batch that may be held back before it is put aside: fewer are passed by at every look. */
const PASSED_BY = 0.2

/** Batches that one look passes by at most: what takes longer is gone on with by the next one. */
const BATCHES_MAX = 100

/** Messages that are let go at once when what held their key back is gone. */
const RELEASED_MAX = 1000

/** Type and key of messages. */
export interface Line {
  readonly type: string
  readonly key: string
}

/** What was read of a message, and whether later ones of its key may have been put aside because of it. */
export type BacklogEntry = OutboxEntry & { readonly leads: boolean }

/**
 * What is still to be sent.
 *
 * A row with `holds = 1` leads its key: it failed, or is parked, and what comes behind it is held back. Looking at that
 * again and again would take longer and longer, so it is put aside as `waiting`, out of the index of what is pending. This
 * always holds: before a row that is waiting there is one of its key that leads it. Rows are put aside with the leading one
 * locked; whoever takes away a row that leads has to {@link release} its key in the same transaction. Not all are let go
 * at once: behind the first thousand one row is made to lead the others.
 */
export class Backlog<Tx> {
  readonly #db: Database<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
  }

  /** See the port. Of a message that leads its key it is said that it does. */
  async due(buckets: readonly number[], limit: number, bytesMax: number): Promise<readonly BacklogEntry[]> {
    const ours =
      buckets.length >= BUCKETS ? raw('1 = 1') : sql`o.bucket in (${raw(buckets.map(Math.trunc).join(', '))})`
    let after = 0
    for (let batch = 0; batch < BATCHES_MAX; batch++) {
      const rows = await this.#pending(ours, after, limit, Math.floor(bytesMax / limit))
      const held = rows.filter((row) => numberIn(row, 'held') === 1)
      if (held.length > limit * PASSED_BY) await this.#putAside(held)
      const free = held.length === 0 ? rows : rows.filter((row) => numberIn(row, 'held') === 0)
      if (free.length > 0) return (await this.#withBodies(free, bytesMax)).map(entryOf)
      if (rows.length < limit) break
      after = numberIn(rows.at(-1)!, 'seq')
    }
    return []
  }

  /** Lets go what waited for a row that led the key and is gone. The transaction is that in which it went. */
  async release(session: SqlSession, { type, key }: Line): Promise<void> {
    const { dialect, names } = this.#db
    const outbox = raw(names.outbox)
    const line = sql`holds = 1 and type = ${type} and msg_key = ${key}`
    // Locked before anybody looks whether another row leads: of two who take away two of them, the second sees both gone.
    const waiting = await this.#db.run(
      session,
      sql`select seq from ${outbox} where ${line} and state = 'waiting' order by seq limit ${RELEASED_MAX + 1}
        ${raw(dialect.forUpdate)}`,
    )
    if (waiting.length === 0) return
    const seqs = waiting.map((row) => numberIn(row, 'seq'))
    const [leader] = await this.#db.run(
      session,
      sql`select seq from ${outbox} where ${line} and state in ('pending', 'parked') and seq < ${seqs.at(-1)!}
        order by seq limit 1`,
    )
    const led = leader === undefined ? Number.POSITIVE_INFINITY : numberIn(leader, 'seq')
    const free = seqs.slice(0, RELEASED_MAX).filter((seq) => seq < led)
    const next = seqs[RELEASED_MAX]
    if (free.length === 0) return
    await this.#db.run(
      session,
      sql`update ${outbox} set state = 'pending', holds = 0 where ${line} and state = 'waiting' and seq <= ${free.at(-1)!}`,
    )
    if (next === undefined || next > led) return
    await this.#db.run(
      session,
      sql`update ${outbox} set state = 'pending' where ${line} and state = 'waiting' and seq = ${next}`,
    )
  }

  /** Releases the keys of messages that were taken out of the way, or given free, in this transaction. */
  async releaseKeysOf(session: SqlSession, which: Fragment): Promise<void> {
    const { outbox } = this.#db.names
    const lines = await this.#db.run(
      session,
      sql`select distinct o.type, o.msg_key from ${raw(outbox)} o where ${which} and o.msg_key is not null
        and (select 1 from ${raw(outbox)} w where w.holds = 1 and w.type = o.type and w.msg_key = o.msg_key
          and w.state = 'waiting' limit 1) is not null`,
    )
    for (const line of lines) await this.release(session, lineIn(line))
  }

  /** Releases keys whose messages wait for nothing: none should, and this mends it when one does. */
  async mend(): Promise<void> {
    const outbox = raw(this.#db.names.outbox)
    const lines = await this.#db.run(
      null,
      sql`select w.type, w.msg_key from (select type, msg_key, min(seq) as first from ${outbox}
          where holds = 1 and state = 'waiting' group by type, msg_key) w
        where (select 1 from ${outbox} h where h.holds = 1 and h.type = w.type and h.msg_key = w.msg_key
          and h.seq < w.first limit 1) is null`,
    )
    for (const line of lines) await this.#db.together((session) => this.release(session, lineIn(line)))
  }

  /** The first rows that are pending and due, held back or not, with their bodies as far as these are small. */
  #pending(ours: Fragment, after: number, limit: number, bodyBytes: number): Promise<readonly SqlRow[]> {
    const { dialect, names, now } = this.#db
    const outbox = raw(names.outbox)
    const columns = MESSAGE_COLUMNS.filter((column) => column !== 'body').map((column) => `o.${column}`)
    const small = sql`length(o.body) <= ${bodyBytes}`
    const [body, join] = dialect.joinsBodies
      ? [raw('b.body'), sql`left join ${outbox} b on b.seq = o.seq and ${small}`]
      : [sql`case when ${small} then o.body end as body`, raw('')]
    // Whether a row is held is selected and not asked for: PostgreSQL would take the rest for rare, so for rare that the
    // limit seems out of reach, and would read and sort all that is pending for every batch, instead of ending at the limit.
    return this.#db.run(
      null,
      sql`select o.seq, o.bucket, o.attempts, o.holds, o.errors, ${raw(columns.join(', '))},
          case when (select 1 from ${outbox} h where h.holds = 1 and h.type = o.type and h.msg_key = o.msg_key
            and h.seq < o.seq and (h.state in ('parked', 'waiting') or h.due_at > ${now}) limit 1) is null
            then 0 else 1 end as held,
          length(o.body) as body_bytes, ${body}
        from ${outbox} o ${join} where o.state = 'pending' and o.due_at <= ${now} and o.seq > ${after} and ${ours}
        order by o.seq ${this.#db.firstOf(limit)}`,
    )
  }

  /** As many of the rows as fit, with all of their bodies. */
  #withBodies(rows: readonly SqlRow[], bytesMax: number): Promise<readonly SqlRow[]> {
    return bodiesWithin(rows, bytesMax, (ids) =>
      this.#db.run(null, sql`select id, body from ${raw(this.#db.names.outbox)} where id in ${list(ids)}`),
    )
  }

  /** Has rows that are held back wait. It is for speed only: those in whose way somebody else is are left as they are. */
  async #putAside(held: readonly SqlRow[]): Promise<void> {
    try {
      await this.#db.together((session) => this.#putBehind(session, held))
    } catch (error) {
      if (!(error instanceof SdkError) || error.code !== 'conflict') throw error
    }
  }

  async #putBehind(session: SqlSession, held: readonly SqlRow[]): Promise<void> {
    const { dialect, names } = this.#db
    const outbox = raw(names.outbox)
    const lines = new Map<string, SqlRow>()
    for (const row of held) lines.set(JSON.stringify([row['type'], row['msg_key']]), row)
    const json = JSON.stringify([...lines.values()].map((row) => ({ type: row['type'], msg_key: row['msg_key'] })))
    const first = await this.#db.run(
      session,
      sql`select (select h.id from ${outbox} h where h.holds = 1 and h.type = r.type and h.msg_key = r.msg_key
          order by h.seq limit 1) as id
        from ${dialect.rows(json, 'r', { type: 'text', msg_key: 'text' })}`,
    )
    const ids = first.map((row) => textOrNullIn(row, 'id')).filter((id) => id !== null)
    const leaders = await this.#db.run(
      session,
      sql`select type, msg_key, seq from ${outbox} where id in ${list(ids)} and holds = 1
        and state in ('pending', 'parked') order by id${raw(dialect.forUpdate)}`,
    )
    const leads = new Map(leaders.map((row) => [JSON.stringify([row['type'], row['msg_key']]), numberIn(row, 'seq')]))
    const behind = held
      .filter((row) => numberIn(row, 'holds') === 0)
      .map((row) => ({ line: JSON.stringify([row['type'], row['msg_key']]), seq: numberIn(row, 'seq') }))
      .filter(({ line, seq }) => seq > (leads.get(line) ?? Number.POSITIVE_INFINITY))
      .map(({ seq }) => seq)
    if (behind.length === 0) return
    const pending = this.#db.pending(behind)
    await this.#db.run(session, sql`update ${outbox} set state = 'waiting', holds = 1 where ${pending} and holds = 0`)
  }
}

function lineIn(row: SqlRow): Line {
  return { type: textIn(row, 'type'), key: textIn(row, 'msg_key') }
}

function entryOf(row: SqlRow): BacklogEntry {
  return {
    message: messageIn(row),
    seq: numberIn(row, 'seq'),
    bucket: numberIn(row, 'bucket'),
    attempts: numberIn(row, 'attempts'),
    errors: attemptsIn(row),
    leads: numberIn(row, 'holds') === 1,
  }
}
