import { bodiesWithin } from './bodies-within.ts'
import { CLAIMABLE, InboxDue, type Due, type Seen } from './inbox-due.ts'
import { hidden, leads, type InboxBacklog } from './inbox-backlog.ts'
import { join, list, raw, sql, type Fragment } from './fragment.ts'
import { attemptsIn, MESSAGE_COLUMNS, messageIn, numberIn, numberOrNullIn, textIn, textOrNullIn } from './row.ts'
import type { Database } from './database.ts'
import type { InboxEntry, InboxState } from '../port.ts'
import type { SqlRow, SqlSession } from './driver.ts'

/** Keys whose runs are claimed at once: their statements are one text. */
const RUNS_MAX = 32

const CLAIMED = raw(
  ['consumer', 'state', 'attempts', 'errors', 'due_at', 'epoch', 'reason', 'seq', 'leads', ...MESSAGE_COLUMNS]
    .filter((column) => column !== 'body')
    .map((column) => `i.${column}`)
    .join(', '),
)

/** What is selected of rows to claim, and from where. */
interface Claimable {
  readonly columns: Fragment
  readonly table: Fragment
}

/** What is asked for, as in the port. */
interface Wish {
  readonly leaseMs: number
  readonly limit: number
  readonly runs: boolean
  readonly bytesMax: number
}

/** Claims stored messages whose time has come. */
export class InboxClaims<Tx> {
  readonly #db: Database<Tx>
  readonly #backlog: InboxBacklog<Tx>
  readonly #due: InboxDue<Tx>

  constructor(db: Database<Tx>, backlog: InboxBacklog<Tx>) {
    this.#db = db
    this.#backlog = backlog
    this.#due = new InboxDue(db, backlog)
  }

  async claim(consumer: string, ordered: boolean, wish: Wish): Promise<readonly InboxEntry[]> {
    if (ordered) return this.#inOrder(consumer, wish)
    for (;;) {
      const entries = await this.#take(consumer, null, wish)
      // Put aside by a process that asked for order.
      if (entries.length === wish.limit || !(await this.#backlog.letGo(consumer)) || entries.length > 0) return entries
    }
  }

  async #inOrder(consumer: string, wish: Wish): Promise<readonly InboxEntry[]> {
    for (let last: Seen | null = null; ;) {
      const due: Due = await this.#due.now(consumer, wish.limit, last)
      const entries = due.ids.length === 0 ? [] : await this.#take(consumer, due.ids, wish)
      // Others claim at the same time and took all of these: there may be more behind them.
      if (entries.length > 0 || due.last === null) return entries
      last = due.last
    }
  }

  async nextDue(consumer: string, ordered: boolean): Promise<number | null> {
    if (ordered) return this.#due.next(consumer)
    const inbox = raw(this.#db.names.inbox)
    const ofConsumer = sql`from ${inbox} i where i.consumer = ${consumer}`
    const [row] = await this.#db.run(
      null,
      sql`select min(d.due_at) as due_at from (
        select min(${this.#due.at}) as due_at ${ofConsumer} and ${raw(CLAIMABLE)}
        union all select min(i.due_at) as due_at ${ofConsumer} and i.holds = 2) d`,
    )
    return numberOrNullIn(row!, 'due_at')
  }

  /** Claims what is still due, and locked by nobody, of these messages; of all when none are named. */
  #take(
    consumer: string,
    ids: readonly string[] | null,
    { leaseMs, limit, runs, bytesMax }: Wish,
  ): Promise<readonly InboxEntry[]> {
    const { names, now } = this.#db
    const claimable = this.#claimable(Math.floor(bytesMax / limit))
    return this.#db.together(async (session) => {
      const first = await this.#lock(session, consumer, ids, limit, claimable)
      if (first.length === 0) return []
      const found = ids !== null && runs ? await this.#runs(session, consumer, first, limit, claimable) : first
      const rows = await bodiesWithin(found, bytesMax, (large) =>
        this.#db.run(
          session,
          sql`select id, body from ${raw(names.inbox)} where consumer = ${consumer} and id in ${list(large)}`,
        ),
      )
      await this.#db.run(
        session,
        sql`update ${raw(names.inbox)} set state = 'running', holds = case when msg_key is null then 0 else 1 end,
          attempts = attempts + 1, epoch = epoch + 1, due_at = ${now} + ${Math.ceil(leaseMs)}
          where ${this.#backlog.among(
            consumer,
            rows.map((row) => textIn(row, 'id')),
          )}`,
      )
      return rows.map((row) => {
        const entry = entryIn(row)
        return { ...entry, attempts: entry.attempts + 1, epoch: entry.epoch + 1 }
      })
    })
  }

  /** As many as there are places for: MySQL locks all that it sorts, and whoever claims at the same time would find nothing. */
  async #lock(
    session: SqlSession,
    consumer: string,
    ids: readonly string[] | null,
    limit: number,
    { columns, table }: Claimable,
  ): Promise<readonly SqlRow[]> {
    const { dialect, now } = this.#db
    const { at: dueAt } = this.#due
    const lock = (which: Fragment, most: number): Promise<readonly SqlRow[]> =>
      this.#db.run(
        session,
        sql`select ${columns} from ${table} where ${which}
          order by ${dueAt}, i.seq limit ${most}${raw(dialect.forUpdateOfFree)}`,
      )
    const claimable = sql`${raw(CLAIMABLE)} and ${dueAt} <= ${now}`
    if (ids === null) return lock(sql`i.consumer = ${consumer} and ${claimable}`, limit)
    const locked: SqlRow[] = []
    for (let from = 0; from < ids.length && locked.length < limit;) {
      const some = ids.slice(from, from + limit - locked.length)
      const which = sql`${this.#backlog.among(consumer, some, 'i.')} and ${hidden(claimable)}`
      locked.push(...(await lock(which, some.length)))
      from += some.length
    }
    return locked
  }

  /**
   * The first of their keys with those that wait right behind them. Nobody else can claim these while the first is locked
   * here; what an operator changes meanwhile, the lock of the row decides. A row behind which others were put aside ends it.
   */
  async #runs(
    session: SqlSession,
    consumer: string,
    first: readonly SqlRow[],
    limit: number,
    { columns, table }: Claimable,
  ): Promise<readonly SqlRow[]> {
    const { dialect, now } = this.#db
    const heads = first
      .filter((row) => row['msg_key'] !== null && row['state'] === 'waiting' && !leads(row))
      .slice(0, RUNS_MAX)
    const each = heads.length === 0 ? 0 : Math.floor((limit - first.length) / heads.length)
    if (each < 1) return first
    const behind = await this.#db.run(
      session,
      join(
        heads.map(
          (row, index) => sql`select * from (select ${columns}, ${raw(String(index))} as head,
            case when i.state = 'waiting' and i.due_at <= ${now} then 1 else 0 end as ready
            from ${table} where i.consumer = ${consumer} and i.holds = 1 and i.type = ${textIn(row, 'type')}
            and i.msg_key = ${textIn(row, 'msg_key')} and i.seq > ${numberIn(row, 'seq')}
            order by i.seq limit ${each}${raw(dialect.forUpdate)}) ${raw(`r${index}`)}`,
        ),
        ' union all ',
      ),
    )
    const runs = new Map<string, SqlRow[]>()
    const ended = new Set<number>()
    for (const row of behind.toSorted((a, b) => numberIn(a, 'seq') - numberIn(b, 'seq'))) {
      const head = numberIn(row, 'head')
      if (numberIn(row, 'ready') === 0) ended.add(head)
      if (ended.has(head)) continue
      if (leads(row)) ended.add(head)
      const id = textIn(heads[head]!, 'id')
      runs.set(id, [...(runs.get(id) ?? []), row])
    }
    return first.flatMap((row) => [row, ...(runs.get(textIn(row, 'id')) ?? [])])
  }

  /** Rows `i` with their bodies, as far as these are small. */
  #claimable(bodyBytes: number): Claimable {
    const inbox = raw(this.#db.names.inbox)
    const small = sql`length(i.body) <= ${bodyBytes}`
    const columns = sql`${CLAIMED}, coalesce(length(i.body), 0) as body_bytes`
    return this.#db.dialect.joinsBodies === true
      ? { columns: sql`${columns}, b.body`, table: sql`${inbox} i left join ${inbox} b on b.seq = i.seq and ${small}` }
      : { columns: sql`${columns}, case when ${small} then i.body end as body`, table: sql`${inbox} i` }
  }
}

function entryIn(row: SqlRow): InboxEntry {
  return {
    consumer: textIn(row, 'consumer'),
    message: messageIn(row),
    state: textIn(row, 'state') as InboxState,
    attempts: numberIn(row, 'attempts'),
    errors: attemptsIn(row),
    dueAt: numberIn(row, 'due_at'),
    epoch: numberIn(row, 'epoch'),
    reason: textOrNullIn(row, 'reason'),
  }
}
