import { raw, sql } from './fragment.ts'
import { BEGIN_CELLS, numberIn, numberOrNullIn, textIn } from './row.ts'
import { verdictsOf, type Finding } from './inbox-verdict.ts'
import { NAMES_BYTES, portionsOf } from './portions.ts'
import type { Database } from './database.ts'
import type { JsonRow } from './dialect.ts'
import type { Message } from '../../message/message.ts'
import type { SqlRow, SqlSession } from './driver.ts'
import type { Verdict } from '../port.ts'

/** Records messages as done at the beginning of their handler's transaction. */
export class InboxBegin<Tx> {
  readonly #db: Database<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
  }

  async begin(
    session: SqlSession,
    consumer: string,
    messages: readonly Message[],
    ordered: boolean,
  ): Promise<readonly Verdict[]> {
    const different = [...new Map(messages.toReversed().map((message) => [message.id, message])).values()].toReversed()
    if (different.length === 0) return []
    const rows = different.map((message, ord) => rowOf(message, ord))
    const { dialect, names, now } = this.#db
    if (dialect.oneTrip === undefined) {
      const findings = new Map<string, Finding>()
      for (const portion of portionsOf(rows, dialect.messagesBytesMax, () => NAMES_BYTES))
        for (const [id, finding] of await this.#inSteps(session, consumer, portion, ordered)) findings.set(id, finding)
      return verdictsOf(messages, findings)
    }
    const found = await this.#db.run(session, dialect.oneTrip.beginInInbox(names, now, rows, consumer, ordered))
    return verdictsOf(messages, new Map(found.map((row) => [different[numberIn(row, 'ord')]!.id, findingIn(row)])))
  }

  /**
   * Notes the dedupe keys of messages.
   *
   * @returns the ids of those that have none, or were the first with theirs
   */
  async mark(session: SqlSession, consumer: string, rows: readonly JsonRow[]): Promise<ReadonlySet<string>> {
    const marked = rows.filter((row) => row['dedupe_key'] !== null)
    const first = new Set(rows.filter((row) => row['dedupe_key'] === null).map((row) => textIn(row, 'id')))
    if (marked.length === 0) return first
    const { dialect, names, now } = this.#db
    await this.#db.run(
      session,
      dialect.insertNew(
        names.dedupe,
        ['scope', 'dedupe_key', 'message_id', 'at'],
        sql`select ${consumer}, r.dedupe_key, r.id, ${now} from ${dialect.rows(JSON.stringify(marked), 'r', BEGIN_CELLS)}
          order by r.dedupe_key, r.ord`,
        ['scope', 'dedupe_key'],
      ),
    )
    const owners = await this.#db.run(
      session,
      sql`select r.id from ${dialect.rows(JSON.stringify(marked), 'r', BEGIN_CELLS)}
        where (select d.message_id from ${raw(names.dedupe)} d where d.scope = ${consumer}
          and d.dedupe_key = r.dedupe_key) = r.id`,
    )
    for (const row of owners) first.add(textIn(row, 'id'))
    return first
  }

  /** Remembers the highest numbers. */
  async see(session: SqlSession, consumer: string, rows: readonly JsonRow[]): Promise<void> {
    const numbered = rows.filter((row) => row['msg_key'] !== null && row['key_seq'] !== null)
    if (numbered.length === 0) return
    const { dialect, names } = this.#db
    await this.#db.run(
      session,
      dialect.upsert(
        names.inboxKey,
        ['consumer', 'source', 'type', 'msg_key', 'last_seq'],
        sql`select ${consumer}, r.source, r.type, r.msg_key, max(r.key_seq)
          from ${dialect.rows(JSON.stringify(numbered), 'r', BEGIN_CELLS)}
          group by r.source, r.type, r.msg_key order by r.source, r.type, r.msg_key`,
        ['consumer', 'source', 'type', 'msg_key'],
        (row) => ({
          last_seq: `case when ${row.new('last_seq')} > ${row.old('last_seq')} then ${row.new('last_seq')} else ${row.old('last_seq')} end`,
        }),
      ),
    )
  }

  /** Ids of the messages that have an earlier one of their key before them, and are not there themselves. */
  async behind(session: SqlSession, consumer: string, rows: readonly JsonRow[]): Promise<ReadonlySet<string>> {
    const keyed = rows.filter((row) => row['msg_key'] !== null)
    if (keyed.length === 0) return new Set()
    const { dialect, names } = this.#db
    const found = await this.#db.run(
      session,
      sql`select r.id from ${dialect.rows(JSON.stringify(keyed), 'r', BEGIN_CELLS)}
        where (select 1 from ${raw(names.inbox)} i where i.consumer = ${consumer} and i.holds = 1
          and i.type = r.type and i.msg_key = r.msg_key limit 1) is not null
        and (select 1 from ${raw(names.inbox)} i where i.consumer = ${consumer} and i.id = r.id) is null`,
    )
    return new Set(found.map((row) => textIn(row, 'id')))
  }

  async #inSteps(
    session: SqlSession,
    consumer: string,
    rows: readonly JsonRow[],
    ordered: boolean,
  ): Promise<ReadonlyMap<string, Finding>> {
    const behind = ordered ? await this.behind(session, consumer, rows) : new Set<string>()
    const free = rows.filter((row) => !behind.has(textIn(row, 'id')))
    const last = await this.#last(session, consumer, rows)
    const first = await this.mark(session, consumer, free)
    const { names, now } = this.#db
    const inserted = await this.#db.insertNew(session, names.inbox, {
      rows: free.map((row) => ({ ...row, consumer })),
      cells: { ...BEGIN_CELLS, consumer: 'text' },
      columns: {
        consumer: 'r.consumer',
        id: 'r.id',
        state: "'done'",
        holds: '0',
        due_at: '0',
        attempts: '1',
        epoch: '0',
        created_at: now,
        done_at: now,
        type: 'r.type',
        version: 'r.version',
        msg_key: 'r.msg_key',
        external_id: 'r.external_id',
      },
      key: ['consumer', 'id'],
      order: 'r.id',
    })
    const recorded = new Set(inserted.map((row) => textIn(row, 'id')))
    await this.see(session, consumer, free)
    return new Map(
      rows.map((row) => {
        const id = textIn(row, 'id')
        const finding = {
          behind: behind.has(id),
          recorded: recorded.has(id),
          firstOfKey: first.has(id),
          lastSeq: last.get(id) ?? null,
        }
        return [id, finding]
      }),
    )
  }

  async #last(session: SqlSession, consumer: string, rows: readonly JsonRow[]): Promise<ReadonlyMap<string, number>> {
    const numbered = rows.filter((row) => row['msg_key'] !== null && row['key_seq'] !== null)
    if (numbered.length === 0) return new Map()
    const { dialect, names } = this.#db
    const found = await this.#db.run(
      session,
      sql`select r.id, (select k.last_seq from ${raw(names.inboxKey)} k where k.consumer = ${consumer}
          and k.source = r.source and k.type = r.type and k.msg_key = r.msg_key) as last_seq
        from ${dialect.rows(JSON.stringify(numbered), 'r', BEGIN_CELLS)}`,
    )
    const last = new Map<string, number>()
    for (const row of found) {
      const seq = numberOrNullIn(row, 'last_seq')
      if (seq !== null) last.set(textIn(row, 'id'), seq)
    }
    return last
  }
}

/** A message by the names of {@link BEGIN_CELLS}. */
export function rowOf(message: Message, ord: number): JsonRow {
  return {
    ord,
    id: message.id,
    type: message.type,
    version: message.version,
    source: message.source,
    msg_key: message.key,
    key_seq: message.keySeq,
    external_id: message.metadata.externalId ?? null,
    dedupe_key: message.metadata.dedupeKey ?? null,
  }
}

function findingIn(row: SqlRow): Finding {
  return {
    behind: numberIn(row, 'behind') === 1,
    recorded: numberIn(row, 'recorded') === 1,
    firstOfKey: numberIn(row, 'first_of_key') === 1,
    lastSeq: numberOrNullIn(row, 'last_seq'),
  }
}
