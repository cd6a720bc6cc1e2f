import { raw, sql, type Fragment } from './fragment.ts'
import type { Draft } from '../port.ts'
import type { Database, PreparedStatement } from './database.ts'
import type { SqlSession, SqlValue } from './driver.ts'

/** A value of each type, where the statements have their placeholders. */
const [TEXT, NUMBER, BYTES] = ['', 0, new Uint8Array(1)] as const

/**
 * Adds a message alone, which is what most transactions have. Its statements are texts that are made once and take the
 * message's parts as they are: neither the text nor JSON of it is made for each message. For databases in which statements
 * can be nested.
 */
export class SingleInsertion<Tx> {
  readonly #inserting: PreparedStatement
  readonly #countingAndInserting: PreparedStatement
  readonly #uncounting: PreparedStatement

  constructor(db: Database<Tx>) {
    const { names, now } = db
    const stream = raw(names.stream)
    const insert = (rows: (keySeq: Fragment) => Fragment, keySeq: Fragment): Fragment =>
      sql`insert into ${raw(names.outbox)} (state, holds, due_at, attempts, created_at, bucket, id, kind, type, version,
          source, time, msg_key, external_id, content_type, metadata, body, key_seq)
        ${rows(sql`'pending', 0, ${now}, 0, ${now}, ${NUMBER}, ${TEXT}, ${TEXT}, ${TEXT}, ${NUMBER},
          ${TEXT}, ${NUMBER}, ${TEXT}, ${TEXT}, ${TEXT}, ${TEXT}, ${BYTES}, ${keySeq}`)}
        on conflict (id) do nothing`
    this.#inserting = db.prepared(insert((row) => sql`values (${row})`, sql`${NUMBER}`))
    this.#countingAndInserting = db.prepared(
      sql`with number as (
          insert into ${stream} as s (type, msg_key, version) values (${TEXT}, ${TEXT}, 1)
          on conflict (type, msg_key) do update set version = s.version + 1 returning version
        ) ${insert((row) => sql`select ${row} from number`, raw('number.version'))} returning 1 as one`,
    )
    this.#uncounting = db.prepared(
      sql`update ${stream} set version = version - 1 where type = ${TEXT} and msg_key = ${TEXT}`,
    )
  }

  /** When its id is there already, nothing changes. */
  async insert(session: SqlSession, draft: Draft, bucket: number): Promise<void> {
    const { type, key, keySeq } = draft
    const values = valuesOf(draft, bucket)
    if (key === null || keySeq !== null) {
      await this.#inserting(session, [...values, keySeq])
      return
    }
    const stream = [type, key]
    const inserted = await this.#countingAndInserting(session, [...stream, ...values])
    // The number that was taken would be missing. Nobody can have seen it.
    if (inserted.length === 0) await this.#uncounting(session, stream)
  }
}

/** In the order of the statements' placeholders. */
function valuesOf(draft: Draft, bucket: number): SqlValue[] {
  const { metadata } = draft
  return [
    bucket,
    draft.id,
    draft.kind,
    draft.type,
    draft.version,
    draft.source,
    draft.time,
    draft.key,
    metadata.externalId ?? null,
    draft.contentType,
    JSON.stringify(metadata),
    draft.body,
  ]
}
