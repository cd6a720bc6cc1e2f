import { bucketOf, BUCKETS } from '../../message/bucket.ts'
import { list, raw, sql } from './fragment.ts'
import { MESSAGE_CELLS, MESSAGE_COLUMNS, messageRows, numberIn, textIn } from './row.ts'
import { bytesOfMessage, NAMES_BYTES, portionsOf } from './portions.ts'
import { SingleInsertion } from './single-insertion.ts'
import type { Draft } from '../port.ts'
import type { Database } from './database.ts'
import type { Intake } from './intake.ts'
import type { Random } from '../../random.ts'
import type { SqlRow, SqlSession } from './driver.ts'

/** Times that adding begins again because another transaction has just added the same id. */
const RACES_MAX = 10

/** Adds messages to the outbox and gives them their numbers. */
export class OutboxInsertion<Tx> {
  readonly #db: Database<Tx>
  readonly #random: Random
  readonly #intake: Intake<Tx> | null
  readonly #single: SingleInsertion<Tx> | null

  constructor(db: Database<Tx>, random: Random, intake: Intake<Tx> | null) {
    this.#db = db
    this.#random = random
    this.#intake = intake
    this.#single = db.dialect.oneTrip === undefined ? null : new SingleInsertion(db)
  }

  /** Of drafts with the same id the first counts, and what is there already counts before all of them. */
  async add(session: SqlSession, drafts: readonly Draft[]): Promise<void> {
    const [only] = drafts
    if (only === undefined) return
    const { messagesBytesMax } = this.#db.dialect
    if (this.#intake !== null) {
      const portions = portionsOf(drafts, messagesBytesMax, ({ body }) => body.byteLength)
      for (const portion of portions) await this.#intake.add(session, portion, (draft) => this.#bucketOf(draft))
      return
    }
    if (drafts.length === 1 && this.#single !== null) return this.#single.insert(session, only, this.#bucketOf(only))
    const fresh = firstOfEach(drafts)
    const bytes = fresh.reduce((sum, { body }) => sum + body.byteLength, 0)
    const inOneTrip = this.#single !== null && bytes <= messagesBytesMax
    return inOneTrip ? this.#inOneTrip(session, fresh) : this.#inSteps(session, fresh)
  }

  /** Supposes that no id is there yet, and takes everything back when one is. */
  async #inOneTrip(session: SqlSession, drafts: readonly Draft[]): Promise<void> {
    const { names, dialect, now } = this.#db
    let fresh = drafts
    for (let race = 0; fresh.length > 0 && race < RACES_MAX; race++) {
      const streams = streamsOf(fresh)
      const { rows, bodies } = this.#rows(fresh, streams)
      const added = await this.#db.run(session, dialect.oneTrip!.addToOutbox(names, now, rows, sorted(streams), bodies))
      if (added.length === fresh.length) return
      // The numbers that were taken for what is there already would be missing. Nobody can have seen them.
      await this.#takeBack(
        session,
        added.map((row) => textIn(row, 'id')),
        sorted(streams),
      )
      const known = new Set((await this.#ids(session, fresh)).map((row) => textIn(row, 'id')))
      fresh = fresh.filter(({ id }) => !known.has(id))
    }
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
  async #inSteps(session: SqlSession, drafts: readonly Draft[]): Promise<void> {
    const known = new Set((await this.#ids(session, drafts)).map((row) => textIn(row, 'id')))
    const fresh = drafts.filter((draft) => !known.has(draft.id))
    if (fresh.length === 0) return
    const last = await this.#count(session, fresh)
    const numbered = fresh.map((draft) => {
      const stream = last.get(streamOf(draft))
      return draft.keySeq === null && stream !== undefined ? { ...draft, keySeq: ++stream.last } : draft
    })
    const { dialect, names } = this.#db
    const columns = ['bucket', 'state', 'holds', 'due_at', 'attempts', 'created_at', ...MESSAGE_COLUMNS]
    const message = MESSAGE_COLUMNS.filter((column) => column !== 'body').map((column) => `r.${column}`)
    for (const portion of portionsOf(numbered, dialect.messagesBytesMax, bytesOfMessage)) {
      const { rows, bodies } = this.#rows(portion)
      await this.#db.run(
        session,
        sql`insert into ${raw(`${names.outbox} (${columns.join(', ')})`)}
          select r.bucket, 'pending', 0, ${this.#db.now}, 0, ${this.#db.now}, ${raw(message.join(', '))},
            substr(${bodies}, r.body_at, r.body_bytes)
          from ${dialect.rows(JSON.stringify(rows), 'r', { ...MESSAGE_CELLS, bucket: 'small' })} order by r.ord`,
      )
    }
  }

  /** Takes as many numbers of each key as there are messages. @returns by key the last number before them */
  async #count(session: SqlSession, drafts: readonly Draft[]): Promise<Map<string, { last: number }>> {
    const { dialect, names } = this.#db
    const last = new Map<string, { last: number }>()
    for (const streams of portionsOf(sorted(streamsOf(drafts)), dialect.messagesBytesMax, () => NAMES_BYTES)) {
      const rows = dialect.rows(JSON.stringify(streams), 'r', { type: 'text', msg_key: 'text', many: 'integer' })
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
      for (const row of versions)
        last.set(streamOf({ type: textIn(row, 'type'), key: textIn(row, 'msg_key') }), { last: numberIn(row, 'last') })
    }
    return last
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
      (draft) => ({ bucket: this.#bucketOf(draft), back: back(draft) }),
    )
  }

  #bucketOf({ key }: Draft): number {
    return key === null ? this.#random.uint32() % BUCKETS : bucketOf(key)
  }

  async #ids(session: SqlSession, drafts: readonly Draft[]): Promise<readonly SqlRow[]> {
    const { dialect, names } = this.#db
    const found: SqlRow[] = []
    for (const portion of portionsOf(drafts, dialect.messagesBytesMax, () => NAMES_BYTES)) {
      const json = JSON.stringify(portion.map(({ id }) => ({ id })))
      const rows = await this.#db.run(
        session,
        sql`select r.id from ${dialect.rows(json, 'r', { id: 'text' })}
          where (select 1 from ${raw(names.outbox)} o where o.id = r.id) is not null`,
      )
      found.push(...rows)
    }
    return found
  }
}

function firstOfEach(drafts: readonly Draft[]): readonly Draft[] {
  const first = new Map<string, Draft>()
  for (const draft of drafts) if (!first.has(draft.id)) first.set(draft.id, draft)
  return [...first.values()]
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
