import { SdkError } from '../../errors.ts'
import { list, raw, sql, type Fragment } from './fragment.ts'
import { numberIn, numberOrNullIn, textIn, textOrNullIn } from './row.ts'
import type { Database } from './database.ts'
import type { SqlRow, SqlSession } from './driver.ts'

/** Messages of a key that are let go at once, and that stay in sight behind one that is not stuck. */
const IN_SIGHT = 100

/** Messages that are let go at once when nobody asks for order any more. */
const LET_GO_MAX = 2000

/** What waits for an operator, or for a time that has not come. */
const STUCK = "state in ('parked', 'uncertain') or state in ('waiting', 'retrying') and due_at >"

/** A consumer's messages of one type and key. */
export interface InboxLine {
  readonly consumer: string
  readonly type: string
  readonly key: string
}

/** A row that an earlier one of its key holds back. */
export interface Held {
  readonly id: string
  readonly seq: number
  /** Its type and key, as a name. */
  readonly line: string
  /** Id of the first of its key. */
  readonly first: string
}

/** A row behind which others are put aside. */
interface Leader {
  readonly id: string
  readonly seq: number
}

/**
 * What waits in the inbox for earlier messages of its key.
 *
 * Of a key only the first message can be claimed. Looking at those behind it again and again would take longer and longer,
 * so when there are many they are put aside: `holds` becomes 2, and the indexes of a look have them no more. This is always
 * so: before a row that is put aside there is one of its key with `holds = 1` that `leads`. So the key stays taken for
 * whoever asks, and a run of the key that ends with a row that leads leaves nothing out. Rows are put aside with that row
 * locked; whoever takes away a row that leads has to {@link release} its key in the same transaction. Nobody waits for a lock
 * in order to put aside.
 *
 * Behind a first message that is stuck all is put aside; otherwise a hundred stay, because a key that moves would have
 * every row put aside and let go for each message that is done. For the same reason a hundred are let go at once, and the
 * next row leads the others.
 */
export class InboxBacklog<Tx> {
  readonly #db: Database<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
  }

  /**
   * Changes a message so that it holds its key no longer, and releases that. Null as the session makes a transaction of it
   * where one is needed.
   *
   * @returns whether there was such a message
   */
  async leave(
    session: SqlSession | null,
    line: Omit<InboxLine, 'key'> & { readonly key: string | null },
    set: Fragment,
    where: Fragment,
  ): Promise<boolean> {
    const { dialect, names } = this.#db
    const { key } = line
    if (key === null) return (await this.#db.update(session, names.inbox, set, where)) > 0
    const inbox = raw(names.inbox)
    if (session === null) {
      // Nearly all lead nobody, and are done with by one statement.
      const alone = sql`update ${inbox} set ${set} where ${where} and leads is null returning 1 as one`
      if (dialect.returning && (await this.#db.run(null, alone)).length > 0) return true
      return this.#db.together((own) => this.leave(own, line, set, where))
    }
    const update = sql`update ${inbox} set ${set} where ${where}`
    const [row] = dialect.returning
      ? await this.#db.run(session, sql`${update} returning leads`)
      : await this.#db.run(session, sql`select leads from ${inbox} where ${where}${raw(dialect.forUpdate)}`)
    if (row === undefined) return false
    if (!dialect.returning) await this.#db.run(session, update)
    if (leads(row)) await this.release(session, { ...line, key })
    return true
  }

  /** Lets go what was put aside behind a row that is gone. The transaction is that in which it went. */
  async release(session: SqlSession, { consumer, type, key }: InboxLine): Promise<void> {
    const { dialect, names } = this.#db
    const rows = await this.#db.run(
      session,
      sql`select id from ${raw(names.inbox)} where consumer = ${consumer} and holds = 2 and type = ${type}
        and msg_key = ${key} order by seq limit ${IN_SIGHT + 1}${raw(dialect.forUpdate)}`,
    )
    if (rows.length === 0) return
    const ids = rows.map((row) => textIn(row, 'id'))
    const next = ids[IN_SIGHT]
    const lead = next === undefined ? raw('') : sql`, leads = case when id = ${next} then 1 else leads end`
    await this.#set(session, consumer, sql`holds = 1${lead}`, ids)
  }

  /** Releases the keys of messages that held them and were taken out of the way in this transaction. */
  async releaseKeysOf(session: SqlSession, which: Fragment): Promise<void> {
    const lines = await this.#db.run(
      session,
      sql`select distinct consumer, type, msg_key from ${raw(this.#db.names.inbox)}
        where ${which} and leads = 1 and holds = 0 and msg_key is not null`,
    )
    for (const line of lines) await this.release(session, lineIn(line))
  }

  /** Releases the keys whose rows that led were deleted in this transaction. */
  async mend(session: SqlSession): Promise<void> {
    const inbox = raw(this.#db.names.inbox)
    const lines = await this.#db.run(
      session,
      sql`select w.consumer, w.type, w.msg_key from (select consumer, type, msg_key, min(seq) as first_seq from ${inbox}
          where holds = 2 group by consumer, type, msg_key) w
        where (select 1 from ${inbox} h where h.consumer = w.consumer and h.holds = 1 and h.type = w.type
          and h.msg_key = w.msg_key and h.seq < w.first_seq and h.leads = 1 limit 1) is null`,
    )
    for (const line of lines) await this.release(session, lineIn(line))
  }

  /** Lets go what was put aside, for a consumer that no longer asks for order. @returns whether there was any */
  async letGo(consumer: string): Promise<boolean> {
    const { dialect, names } = this.#db
    const aside = sql`select id from ${raw(names.inbox)} where consumer = ${consumer} and holds = 2`
    if ((await this.#db.run(null, sql`${aside} limit 1`)).length === 0) return false
    return this.#db.together(async (session) => {
      const rows = await this.#db.run(session, sql`${aside} limit ${LET_GO_MAX}${raw(dialect.forUpdateOfFree)}`)
      const ids = rows.map((row) => textIn(row, 'id'))
      await this.#set(session, consumer, raw('holds = 1'), ids)
      return ids.length > 0
    })
  }

  /**
   * Rows with these ids, as a condition. MariaDB looks a subquery up for every row of the consumer before it changes any.
   *
   * @param of what the columns' names begin with
   */
  among(consumer: string, ids: readonly string[], of = ''): Fragment {
    const { dialect, names } = this.#db
    if (dialect.received !== undefined) return dialect.received(names.inbox, consumer, ids, of)
    const rows = dialect.rows(JSON.stringify(ids.map((id) => ({ id }))), 'r', { id: 'text' })
    const named = dialect.returning ? sql`(select r.id from ${rows})` : list(ids)
    return sql`${raw(of)}consumer = ${consumer} and ${raw(of)}id in ${named}`
  }

  /** Puts rows aside that are held back. It is for speed only: those in whose way somebody else is are left as they are. */
  async putAside(consumer: string, held: readonly Held[]): Promise<void> {
    try {
      await this.#db.together((session) => this.#putBehind(session, consumer, held))
    } catch (error) {
      if (!(error instanceof SdkError) || error.code !== 'conflict') throw error
    }
  }

  async #putBehind(session: SqlSession, consumer: string, held: readonly Held[]): Promise<void> {
    const { now } = this.#db
    const firsts = [...new Set(held.map(({ first }) => first))]
    const leaders = await this.#leaders(session, consumer, firsts, sql`(${raw(STUCK)} ${now})`)
    const moving = held.filter(({ line }) => !leaders.has(line))
    for (const [line, leader] of await this.#lastInSight(session, consumer, moving)) leaders.set(line, leader)
    const behind = held.filter(({ line, seq }) => seq > (leaders.get(line)?.seq ?? Infinity)).map(({ id }) => id)
    const leading = new Set<string>()
    const aside: string[] = []
    for (const row of await this.#locked(session, consumer, behind, raw("state = 'waiting'"))) {
      const leader = leaders.get(lineOf(row))
      if (leader === undefined || leader.seq >= numberIn(row, 'seq')) continue
      leading.add(leader.id)
      aside.push(textIn(row, 'id'))
    }
    await this.#set(session, consumer, raw('leads = 1'), [...leading])
    await this.#set(session, consumer, raw('holds = 2'), aside)
  }

  /** The last rows that stay in sight of keys that have more, by their keys. */
  async #lastInSight(
    session: SqlSession,
    consumer: string,
    held: readonly Held[],
  ): Promise<ReadonlyMap<string, Leader>> {
    const { dialect, names } = this.#db
    const lines = [...new Set(held.map(({ line }) => line))].map((line) => {
      const [type, key] = JSON.parse(line) as [string, string]
      return { type, msg_key: key }
    })
    if (lines.length === 0) return new Map()
    const found = await this.#db.run(
      session,
      sql`select (select h.id from ${raw(names.inbox)} h where h.consumer = ${consumer} and h.holds = 1
          and h.type = r.type and h.msg_key = r.msg_key order by h.seq limit 1 offset ${raw(String(IN_SIGHT))}) as id
        from ${dialect.rows(JSON.stringify(lines), 'r', { type: 'text', msg_key: 'text' })}`,
    )
    const ids = found.map((row) => textOrNullIn(row, 'id')).filter((id) => id !== null)
    return this.#leaders(session, consumer, ids, raw('1 = 1'))
  }

  /** Locks rows that are to lead others. @returns by their keys those that still hold them, and are free */
  async #leaders(
    session: SqlSession,
    consumer: string,
    ids: readonly string[],
    condition: Fragment,
  ): Promise<Map<string, Leader>> {
    const rows = await this.#locked(session, consumer, ids, condition)
    return new Map(rows.map((row) => [lineOf(row), { id: textIn(row, 'id'), seq: numberIn(row, 'seq') }]))
  }

  /** Locks rows that hold their keys, as far as nobody else has. */
  async #locked(
    session: SqlSession,
    consumer: string,
    ids: readonly string[],
    condition: Fragment,
  ): Promise<readonly SqlRow[]> {
    if (ids.length === 0) return []
    const { dialect, names } = this.#db
    return this.#db.run(
      session,
      sql`select id, seq, type, msg_key from ${raw(names.inbox)} where ${this.among(consumer, ids)}
        and ${hidden(sql`holds = 1 and ${condition}`)}${raw(dialect.forUpdateOfFree)}`,
    )
  }

  async #set(session: SqlSession, consumer: string, set: Fragment, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const { names } = this.#db
    await this.#db.run(session, sql`update ${raw(names.inbox)} set ${set} where ${this.among(consumer, ids)}`)
  }
}

/** Whether others were put aside behind a row. */
export const leads = (row: SqlRow): boolean => numberOrNullIn(row, 'leads') === 1

/** A condition that leads the planner to no index: what is asked for by its id is found by its id. */
export const hidden = (condition: Fragment): Fragment => sql`case when ${condition} then 1 else 0 end = 1`

const lineOf = (row: SqlRow): string => JSON.stringify([row['type'], row['msg_key']])

function lineIn(row: SqlRow): InboxLine {
  return { consumer: textIn(row, 'consumer'), type: textIn(row, 'type'), key: textIn(row, 'msg_key') }
}
