import { SdkError } from '../../errors.ts'
import { join, raw, sql } from './fragment.ts'
import { MESSAGE_CELLS, MESSAGE_COLUMNS, messageRows, numberOrNullIn } from './row.ts'
import type { Draft } from '../port.ts'
import type { Database, PreparedStatement } from './database.ts'
import type { SqlSession } from './driver.ts'

/** Messages, and bytes of their bodies, that are moved in one transaction: others wait for it. */
const MOVED_MAX = 1000
const MOVED_BYTES_MAX = 16 * 1024 * 1024

/** A value of each type, where the statement has its placeholders. */
const [TEXT, NUMBER, BYTES] = ['', 0, new Uint8Array(1)] as const

/**
 * Where messages are written by the transactions that send them, for databases with one writer at a time: at the end of a
 * table without any index. Whoever reads the outbox moves them there first, many in one transaction, and only then their
 * ids are compared and their keys counted. What a transaction of one message writes is one page and not five.
 *
 * The order in which rows are added is that of the commits, because the next writer begins when the last one has ended.
 */
export class Intake<Tx> {
  readonly #db: Database<Tx>
  readonly #insert: PreparedStatement

  constructor(db: Database<Tx>) {
    this.#db = db
    // SQLite's clients take a body of no bytes for null.
    this.#insert = db.prepared(
      sql`insert into ${raw(db.names.intake)} (created_at, bucket, ${raw(MESSAGE_COLUMNS.join(', '))})
        values (${db.now}, ${NUMBER}, ${TEXT}, ${TEXT}, ${TEXT}, ${NUMBER}, ${TEXT}, ${NUMBER}, ${TEXT}, ${NUMBER},
          ${TEXT}, ${TEXT}, ${TEXT}, coalesce(${BYTES}, x''))`,
    )
  }

  async add(session: SqlSession, drafts: readonly Draft[], bucketOf: (draft: Draft) => number): Promise<void> {
    const [only] = drafts
    if (drafts.length === 1) {
      await this.#insert(session, [
        bucketOf(only!),
        only!.id,
        only!.kind,
        only!.type,
        only!.version,
        only!.source,
        only!.time,
        only!.key,
        only!.keySeq,
        only!.metadata.externalId ?? null,
        only!.contentType,
        JSON.stringify(only!.metadata),
        only!.body,
      ])
      return
    }
    const { names, dialect, now } = this.#db
    const { rows, bodies } = messageRows(
      drafts,
      (draft) => draft,
      (draft) => ({ bucket: bucketOf(draft) }),
    )
    const message = MESSAGE_COLUMNS.filter((column) => column !== 'body').map((column) => `r.${column}`)
    await this.#db.run(
      session,
      sql`insert into ${raw(names.intake)} (created_at, bucket, ${raw(MESSAGE_COLUMNS.join(', '))})
        select ${now}, r.bucket, ${raw(message.join(', '))}, substr(${bodies}, r.body_at, r.body_bytes)
        from ${dialect.rows(JSON.stringify(rows), 'r', { ...MESSAGE_CELLS, bucket: 'small' })} order by r.ord`,
    )
  }

  /** Moves everything into the outbox. */
  async drain(): Promise<void> {
    while (await this.move());
  }

  /**
   * Moves the first messages into the outbox, in a transaction of its own.
   *
   * @returns whether there were any, and nobody was in the way
   */
  async move(): Promise<boolean> {
    const last = await this.#lastOfBatch()
    if (last === null) return false
    try {
      await this.#db.together((session) => this.#moveUpTo(session, last))
      return true
    } catch (error) {
      if (error instanceof SdkError && error.code === 'conflict') return false
      throw error
    }
  }

  /** @returns the place of the last message that belongs to the next batch; null when there is none */
  async #lastOfBatch(): Promise<number | null> {
    const [row] = await this.#db.run(
      null,
      sql`select max(seq) as last from (
          select seq, sum(length(body)) over (order by seq) as bytes, row_number() over (order by seq) as nth
          from (select seq, body from ${raw(this.#db.names.intake)} order by seq limit ${MOVED_MAX})
        ) where bytes <= ${MOVED_BYTES_MAX} or nth = 1`,
    )
    return numberOrNullIn(row!, 'last')
  }

  /** Of messages with the same id the first counts, and what is in the outbox already counts before all of them. */
  async #moveUpTo(session: SqlSession, last: number): Promise<void> {
    const { names, dialect } = this.#db
    const [intake, outbox, stream] = [raw(names.intake), raw(names.outbox), raw(names.stream)]
    // Without bodies: these are only looked at where they are copied.
    const fresh = sql`(select seq, type, msg_key, msg_key is not null and key_seq is null as counts
      from (select seq, id, type, msg_key, key_seq, row_number() over (partition by id order by seq) as nth
        from ${intake} where seq <= ${last}) i
      where nth = 1 and (select 1 from ${outbox} o where o.id = i.id) is null)`
    await this.#db.run(
      session,
      dialect.upsert(
        names.stream,
        ['type', 'msg_key', 'version'],
        sql`select type, msg_key, count(*) from ${fresh} where counts group by type, msg_key`,
        ['type', 'msg_key'],
        (row) => ({ version: `${row.old('version')} + ${row.new('version')}` }),
      ),
    )
    const columns = ['bucket', 'state', 'holds', 'due_at', 'attempts', 'created_at', ...MESSAGE_COLUMNS]
    const number = sql`case when f.counts then f.back + (select s.version from ${stream} s
      where s.type = i.type and s.msg_key = i.msg_key) else i.key_seq end`
    const message = MESSAGE_COLUMNS.map((column) => (column === 'key_seq' ? number : raw(`i.${column}`)))
    await this.#db.run(
      session,
      sql`insert into ${raw(`${names.outbox} (${columns.join(', ')})`)}
        select i.bucket, 'pending', 0, i.created_at, 0, i.created_at, ${join(message, ', ')}
        from (select seq, counts, 1 - row_number() over (partition by type, msg_key, counts order by seq desc) as back
          from ${fresh}) f join ${intake} i on i.seq = f.seq order by i.seq`,
    )
    await this.#db.run(session, sql`delete from ${intake} where seq <= ${last}`)
  }
}
