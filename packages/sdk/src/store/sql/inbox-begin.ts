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
   * Notes the dedupe keys of messages. A key that is there stays as it is, also one of the same message: it may be remembered
   * for longer than the message.
   *
   * @returns the ids of those that have none, or were the first with theirs
   */
  async mark(session: SqlSession, consumer: string, rows: readonly JsonRow[]): Promise<ReadonlySet<string>> {
    const marked = rows.filter((row) => row['dedupe_key'] !== null)
    const first = new Set(rows.filter((row) => row['dedupe_key'] === null).map((row) => textIn(row, 'id')))
    if (marked.length === 0) return first
    const firsts = new Map(marked.toReversed().map((row) => [textIn(row, 'dedupe_key'), row]))
    const { names, now } = this.#db
    const inserted = await this.#db.insertNew(session, names.dedupe, {
      rows: [...firsts.values()].map((row) => ({ ...row, scope: consumer })),
      cells: { ...BEGIN_CELLS, scope: 'text' },
      columns: { scope: 'r.scope', dedupe_key: 'r.dedupe_key', message_id: 'r.id', at: now },
      key: ['scope', 'dedupe_key'],
      order: 'r.dedupe_key',
    })
    for (const row of inserted) first.add(textIn(firsts.get(textIn(row, 'dedupe_key'))!, 'id'))
    return first
  }

  /** Remembers the highest numbers. @returns by the messages' ids what they were before, as far as there were any */
  async see(session: SqlSession, consumer: string, rows: readonly JsonRow[]): Promise<ReadonlyMap<string, number>> {
    const numbered = rows.filter((row) => row['msg_key'] !== null && row['key_seq'] !== null)
    if (numbered.length === 0) return new Map()
    const { dialect, names } = this.#db
    const from = dialect.rows(JSON.stringify(numbered), 'r', BEGIN_CELLS)
    const before = sql`select r.id, (select k.last_seq from ${raw(names.inboxKey)} k where k.consumer = ${consumer}
        and k.source = r.source and k.type = r.type and k.msg_key = r.msg_key) as last_seq from ${from}`
    const remember = dialect.upsert(
      names.inboxKey,
      ['consumer', 'source', 'type', 'msg_key', 'last_seq'],
      sql`select ${consumer}, r.source, r.type, r.msg_key, max(r.key_seq) from ${from}
        group by r.source, r.type, r.msg_key order by r.source, r.type, r.msg_key`,
      ['consumer', 'source', 'type', 'msg_key'],
      (row) => ({
        last_seq: `case when ${row.new('last_seq')} > ${row.old('last_seq')} then ${row.new('last_seq')} else ${row.old('last_seq')} end`,
      }),
    )
    // Where statements can be nested, the outer one sees what was there before the inner one.
    const nested = dialect.oneTrip !== undefined
    const found = await this.#db.run(session, nested ? sql`with seen as (${remember}) ${before}` : before)
    if (!nested) await this.#db.run(session, remember)
    const last = new Map<string, number>()
    for (const row of found) {
      const seq = numberOrNullIn(row, 'last_seq')
      if (seq !== null) last.set(textIn(row, 'id'), seq)
    }
    return last
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
    const last = await this.see(session, consumer, free)
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
