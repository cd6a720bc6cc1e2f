import { raw, sql, type Fragment } from './fragment.ts'
import { numberIn, textIn } from './row.ts'
import type { Database } from './database.ts'
import type { Held, InboxBacklog } from './inbox-backlog.ts'

/** What can be claimed when its time has come, of rows `i`: in the words of the index. */
export const CLAIMABLE = "i.state in ('waiting', 'retrying', 'running') and i.holds < 2"

/** Rows that are passed by at every look because their keys are held back: when there are more, they are put aside. */
const PASSED_BY = 100

/** Rows that are read at once, when many are passed by. */
const PAGE_MAX = 2000

/** A row that can be claimed, now or later. */
export interface Seen extends Held {
  readonly dueAt: number
  readonly held: boolean
}

/** What can be claimed now. */
export interface Due {
  readonly ids: readonly string[]
  /** Where to go on after these; null when nothing follows. */
  readonly last: Seen | null
}

/** Finds what can be claimed, and nothing whose key is held back. Locks nothing. */
export class InboxDue<Tx> {
  /** When a row `i` that can be claimed is due. */
  readonly at: Fragment
  readonly #db: Database<Tx>
  readonly #backlog: InboxBacklog<Tx>

  constructor(db: Database<Tx>, backlog: InboxBacklog<Tx>) {
    this.#db = db
    this.#backlog = backlog
    this.at = raw(`i.${db.dialect.claimDue ?? 'due_at'}`)
  }

  /** Messages that are due and the first of their keys, earliest first: at least `limit`, when there are so many. */
  async now(consumer: string, limit: number, after: Seen | null = null): Promise<Due> {
    const ids: string[] = []
    let from = after
    for (let size = limit + 2 * PASSED_BY; ; size = Math.max(size, Math.min(2 * size, PAGE_MAX))) {
      const rows = await this.#page(consumer, sql`<= ${this.#db.now}`, from, size)
      const held = rows.filter((row) => row.held)
      if (held.length > PASSED_BY) await this.#backlog.putAside(consumer, held)
      for (const row of rows) if (!row.held) ids.push(row.id)
      if (rows.length < size) return { ids, last: null }
      from = rows.at(-1)!
      if (ids.length >= limit) return { ids, last: from }
    }
  }

  /** When the earliest of the messages that are the first of their keys is due; null when there is none. */
  async next(consumer: string): Promise<number | null> {
    let after: Seen | null = null
    for (let size = 2 * PASSED_BY; ; size = Math.min(2 * size, PAGE_MAX)) {
      const rows = await this.#page(consumer, raw('is not null'), after, size)
      const first = rows.find((row) => !row.held)
      if (first !== undefined) return first.dueAt
      if (rows.length < size) return null
      after = rows.at(-1)!
    }
  }

  /** Rows in the order of their times. */
  async #page(consumer: string, when: Fragment, after: Seen | null, size: number): Promise<readonly Seen[]> {
    const inbox = raw(this.#db.names.inbox)
    const rest =
      after === null
        ? raw('')
        : sql`and ${this.at} >= ${after.dueAt} and (${this.at} > ${after.dueAt} or i.seq > ${after.seq})`
    // The first of a key is looked up once for all of its rows.
    const rows = await this.#db.run(
      null,
      sql`select p.*, case when p.holds = 1 and row_number() over (partition by p.type, p.msg_key order by p.seq) = 1
          then (select h.id from ${inbox} h where h.consumer = ${consumer} and h.holds = 1
            and h.type = p.type and h.msg_key = p.msg_key order by h.seq limit 1) end as first_id
        from (select i.seq, i.id, i.holds, ${this.at} as due_at, i.type, i.msg_key from ${inbox} i
          where i.consumer = ${consumer} and ${raw(CLAIMABLE)} and ${this.at} ${when} ${rest}
          order by ${this.at}, i.seq ${this.#db.firstOf(size)}) p
        order by p.due_at, p.seq`,
    )
    const lineIn = (row: (typeof rows)[number]): string => JSON.stringify([row['type'], row['msg_key']])
    const firsts = new Map<string, string>()
    for (const row of rows) if (row['first_id'] !== null) firsts.set(lineIn(row), textIn(row, 'first_id'))
    return rows.map((row) => {
      const id = textIn(row, 'id')
      const line = lineIn(row)
      const first = firsts.get(line) ?? id
      return { id, line, first, held: first !== id, seq: numberIn(row, 'seq'), dueAt: numberIn(row, 'due_at') }
    })
  }
}
