import { SdkError } from '../../errors.ts'
import { bodiesWithin } from './bodies-within.ts'
import { InboxBegin, rowOf } from './inbox-begin.ts'
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
  textOrNullIn,
  withAttempt,
} from './row.ts'
import { bytesOfMessage, portionsOf } from './portions.ts'
import type { Database } from './database.ts'
import type { InboxDepth, InboxEntry, InboxState, InboxStore, Kept, Verdict } from '../port.ts'
import type { Message } from '../../message/message.ts'
import type { SqlRow, SqlSession } from './driver.ts'

/** States in which a message can be claimed when its time has come. */
const CLAIMABLE = "i.state in ('waiting', 'retrying', 'running')"

/** All states but `done`. */
const UNDONE: readonly InboxDepth['state'][] = [
  'waiting',
  'retrying',
  'running',
  'uncertain',
  'parked',
  'cancelled',
  'expired',
]

/** What is forgotten of a message that is done. */
const WITHOUT_BODY = 'body = null, metadata = null, content_type = null'

/** Keys whose runs are claimed at once: their statements are one text. */
const RUNS_MAX = 32

const CLAIMED = raw(
  ['consumer', 'state', 'attempts', 'errors', 'due_at', 'epoch', 'reason', 'seq', ...MESSAGE_COLUMNS]
    .filter((column) => column !== 'body')
    .map((column) => `i.${column}`)
    .join(', '),
)

/** What is selected of rows to claim, and from where. */
interface Claimable {
  readonly columns: Fragment
  readonly table: Fragment
}

/** A message that is put into the inbox because it is not done yet. */
type Stored = Omit<Kept, 'state'> & { readonly state: InboxState }

/** What consumers received. */
export class SqlInbox<Tx> implements InboxStore<Tx> {
  readonly #db: Database<Tx>
  readonly #begin: InboxBegin<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
    this.#begin = new InboxBegin(db)
  }

  begin(tx: Tx, consumer: string, messages: readonly Message[], ordered: boolean): Promise<readonly Verdict[]> {
    return this.#begin.begin(this.#db.within(tx), consumer, messages, ordered)
  }

  async keep(consumer: string, kept: readonly Kept[]): Promise<void> {
    if (kept.length === 0) return
    const { messagesBytesMax } = this.#db.dialect
    const portions = portionsOf(kept, messagesBytesMax, ({ message, attempt }) => {
      const error = attempt === undefined ? 0 : 2 * JSON.stringify(attempt).length
      return bytesOfMessage(message) + error
    })
    await this.#db.together(async (session) => {
      for (const portion of portions) await this.#keep(session, consumer, portion, 0)
    })
  }

  claim(
    consumer: string,
    ordered: boolean,
    leaseMs: number,
    limit: number,
    runs = false,
    bytesMax = Number.MAX_SAFE_INTEGER,
  ): Promise<readonly InboxEntry[]> {
    const { dialect, names, now } = this.#db
    const due = this.#due()
    const claimable = this.#claimable(Math.floor(bytesMax / limit))
    return this.#db.together(async (session) => {
      const first = await this.#db.run(
        session,
        sql`select ${claimable.columns} from ${claimable.table}
          where i.consumer = ${consumer} and ${raw(CLAIMABLE)} and ${due} <= ${now} and ${this.#first(consumer, ordered)}
          order by ${due}, i.seq limit ${limit}${raw(dialect.forUpdateOfFree)}`,
      )
      if (first.length === 0) return []
      const found = ordered && runs ? await this.#runs(session, consumer, first, limit, claimable) : first
      const rows = await bodiesWithin(found, bytesMax, (large) =>
        this.#db.run(
          session,
          sql`select id, body from ${raw(names.inbox)} where consumer = ${consumer} and id in ${list(large)}`,
        ),
      )
      const ids = rows.map((row) => textIn(row, 'id'))
      await this.#db.run(
        session,
        sql`update ${raw(names.inbox)} set state = 'running', holds = case when msg_key is null then 0 else 1 end,
          attempts = attempts + 1, epoch = epoch + 1, due_at = ${now} + ${Math.ceil(leaseMs)}
          where consumer = ${consumer} and id in ${this.#claimed(ids)}`,
      )
      return rows.map((row) => {
        const entry = entryIn(row)
        return { ...entry, attempts: entry.attempts + 1, epoch: entry.epoch + 1 }
      })
    })
  }

  /**
   * The first of their keys with those that wait right behind them. Nobody else can claim these while the first is locked
   * here; what an operator changes meanwhile, the lock of the row decides.
   */
  async #runs(
    session: SqlSession,
    consumer: string,
    first: readonly SqlRow[],
    limit: number,
    { columns, table }: Claimable,
  ): Promise<readonly SqlRow[]> {
    const { dialect, now } = this.#db
    const heads = first.filter((row) => row['msg_key'] !== null && row['state'] === 'waiting').slice(0, RUNS_MAX)
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
      const id = textIn(heads[head]!, 'id')
      runs.set(id, [...(runs.get(id) ?? []), row])
    }
    return first.flatMap((row) => [row, ...(runs.get(textIn(row, 'id')) ?? [])])
  }

  async finish(tx: Tx, entry: InboxEntry): Promise<void> {
    if (!(await this.#finish(this.#db.within(tx), entry)))
      throw new SdkError(
        'lease_lost',
        `the claim of message ${entry.message.id} by ${entry.consumer} ran out and another process took it`,
        { data: { consumer: entry.consumer, id: entry.message.id } },
      )
  }

  complete(entry: InboxEntry): Promise<boolean> {
    return this.#finish(null, entry)
  }

  async settle(entry: InboxEntry, outcome: Parameters<InboxStore<Tx>['settle']>[1]): Promise<void> {
    const { state, attempt, reason, uncounted } = outcome
    const holds = holdsKey(state, outcome.holdsKey) && entry.message.key !== null ? 1 : 0
    const fingerprint = attempt === undefined ? raw('') : sql`, fingerprint = ${attempt.fingerprint}`
    const why = reason === undefined ? raw('') : sql`, reason = ${reason}`
    const errors = attempt === undefined ? raw('') : sql`, errors = ${withAttempt(entry.errors, attempt)}`
    const set = sql`state = ${state}, holds = ${holds}, due_at = ${Math.ceil(outcome.dueAt)},
      attempts = attempts - ${uncounted === true ? 1 : 0}${fingerprint}${why}${errors}`
    await this.#db.run(null, sql`update ${raw(this.#db.names.inbox)} set ${set} where ${ours(entry)}`)
  }

  start(
    consumer: string,
    message: Message,
    ordered: boolean,
    leaseMs: number,
  ): Promise<InboxEntry | 'duplicate' | 'behind'> {
    return this.#db.together(async (session) => {
      const rows = [rowOf(message, 0)]
      if (ordered && (await this.#begin.behind(session, consumer, rows)).size > 0) return 'behind'
      const kept = { message, state: 'running', attempts: 1, dueAt: Math.ceil(leaseMs) } as const
      if ((await this.#keep(session, consumer, [kept], 1)).length === 0) return 'duplicate'
      const lease = await this.#db.run(
        session,
        sql`select due_at from ${raw(this.#db.names.inbox)} where consumer = ${consumer} and id = ${message.id}`,
      )
      const dueAt = numberIn(lease[0]!, 'due_at')
      return { consumer, message, state: 'running', attempts: 1, errors: [], dueAt, epoch: 1, reason: null }
    })
  }

  async renew(consumer: string, entries: readonly InboxEntry[], leaseMs: number): Promise<readonly string[]> {
    if (entries.length === 0) return []
    const { dialect, names, now } = this.#db
    const json = JSON.stringify(entries.map(({ message, epoch }) => ({ id: message.id, epoch })))
    const claims = dialect.rows(json, 'r', { id: 'text', epoch: 'integer' })
    const named = dialect.returning ? raw('') : sql` and id in ${list(entries.map(({ message }) => message.id))}`
    const held = sql`consumer = ${consumer} and state = 'running'${named}
      and (id, epoch) in (select r.id, r.epoch from ${claims})`
    const set = sql`due_at = ${now} + ${Math.ceil(leaseMs)}`
    const renew = sql`update ${raw(names.inbox)} set ${set} where ${held}`
    const rows = dialect.returning
      ? await this.#db.run(null, sql`${renew} returning id`)
      : await this.#db.together(async (session) => {
          await this.#db.run(session, renew)
          return this.#db.run(session, sql`select id from ${raw(names.inbox)} where ${held}`)
        })
    return rows.map((row) => textIn(row, 'id'))
  }

  async nextDue(consumer: string, ordered: boolean): Promise<number | null> {
    const [row] = await this.#db.run(
      null,
      sql`select min(${this.#due()}) as due_at from ${raw(this.#db.names.inbox)} i
        where i.consumer = ${consumer} and ${raw(CLAIMABLE)} and ${this.#first(consumer, ordered)}`,
    )
    return numberOrNullIn(row!, 'due_at')
  }

  async prune(before: number, limit: number): Promise<number> {
    const { names } = this.#db
    const deleted = await this.#db.deleteSome(
      names.inbox,
      ['consumer', 'id'],
      // What is done was created before it was done: the index on `created_at` leads to all of them.
      sql`state = 'done' and created_at < ${Math.ceil(before)} and done_at < ${Math.ceil(before)}`,
      'created_at',
      limit,
    )
    // A key outlives its message as long as that is not done.
    await this.#db.deleteSome(
      names.dedupe,
      ['scope', 'dedupe_key'],
      sql`at < ${Math.ceil(before)} and not exists (select 1 from ${raw(names.inbox)} i
        where i.consumer = ${raw(names.dedupe)}.scope and i.id = ${raw(names.dedupe)}.message_id)`,
      'at',
      limit,
    )
    return deleted
  }

  async depth(): Promise<readonly InboxDepth[]> {
    // The states by their names: what is only not `done` could be nearly all, as far as an unanalyzed database knows.
    const states = UNDONE.map((state) => `'${state}'`).join(', ')
    const rows = await this.#db.run(
      null,
      sql`select consumer, state, count(*) as messages from ${raw(this.#db.names.inbox)} where state in (${raw(states)})
        group by consumer, state`,
    )
    return rows.map((row) => ({
      consumer: textIn(row, 'consumer'),
      state: textIn(row, 'state') as InboxDepth['state'],
      count: numberIn(row, 'messages'),
    }))
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

  /** When a row `i` that can be claimed is due. */
  #due(): Fragment {
    return raw(`i.${this.#db.dialect.claimDue ?? 'due_at'}`)
  }

  /** Ids as a list. MariaDB looks a subquery up for every row of the consumer before it changes any. */
  #claimed(ids: readonly string[]): Fragment {
    const { dialect } = this.#db
    if (!dialect.returning) return list(ids)
    const rows = dialect.rows(JSON.stringify(ids.map((id) => ({ id }))), 'r', { id: 'text' })
    return sql`(select r.id from ${rows})`
  }

  /**
   * Whether a row `i` is the earliest of its key that is not done. All keys are looked through once: asked row by row, a
   * long backlog of few keys takes seconds.
   */
  #first(consumer: string, ordered: boolean): Fragment {
    if (!ordered) return raw('1 = 1')
    return sql`(i.holds = 0 or i.seq in (select min(e.seq) from ${raw(this.#db.names.inbox)} e
      where e.consumer = ${consumer} and e.holds = 1 group by e.type, e.msg_key))`
  }

  /** @param epoch of the rows; those of a running one are due so many ms from now. @returns the ids that were new */
  async #keep(
    session: SqlSession,
    consumer: string,
    kept: readonly Stored[],
    epoch: number,
  ): Promise<readonly string[]> {
    const rows = kept.map(({ message }, ord) => rowOf(message, ord))
    const first = await this.#begin.mark(session, consumer, rows)
    const free = kept.filter(({ message }) => first.has(message.id))
    const { rows: stored, bodies } = messageRows(
      free,
      ({ message }) => message,
      (item) => ({
        consumer,
        state: item.state,
        holds: holdsKey(item.state, item.holdsKey) && item.message.key !== null ? 1 : 0,
        due_at: Math.ceil(item.dueAt),
        attempts: item.attempts,
        reason: item.reason ?? null,
        fingerprint: item.attempt?.fingerprint ?? null,
        errors: withAttempt([], item.attempt),
      }),
    )
    const { names, now } = this.#db
    const plain = ['consumer', 'id', 'state', 'holds', 'attempts', 'reason', 'fingerprint', 'errors', 'kind', 'type']
    const rest = ['version', 'source', 'time', 'msg_key', 'key_seq', 'external_id', 'content_type', 'metadata']
    const inserted = await this.#db.insertNew(session, names.inbox, {
      rows: stored,
      cells: {
        ...MESSAGE_CELLS,
        consumer: 'text',
        state: 'text',
        holds: 'small',
        due_at: 'integer',
        attempts: 'small',
        reason: 'text',
        fingerprint: 'text',
        errors: 'text',
      },
      columns: {
        ...Object.fromEntries([...plain, ...rest].map((column) => [column, `r.${column}`])),
        due_at: sql`case when r.state = 'running' then ${now} + r.due_at else r.due_at end`,
        epoch: String(epoch),
        created_at: now,
        body: sql`substr(${bodies}, r.body_at, r.body_bytes)`,
      },
      key: ['consumer', 'id'],
      // The order of `seq` is the order within a key.
      order: 'r.ord',
    })
    const numbered = rows.filter((row) => first.has(textIn(row, 'id')))
    await this.#begin.see(session, consumer, numbered)
    return inserted.map((row) => textIn(row, 'id'))
  }

  async #finish(session: SqlSession | null, entry: InboxEntry): Promise<boolean> {
    const set = sql`state = 'done', holds = 0, done_at = ${this.#db.now}, ${raw(WITHOUT_BODY)}`
    return (await this.#db.update(session, this.#db.names.inbox, set, ours(entry))) > 0
  }
}

/** The row of a claim, as long as nobody has taken it over. */
function ours(entry: InboxEntry): Fragment {
  return sql`consumer = ${entry.consumer} and id = ${entry.message.id} and epoch = ${entry.epoch} and state = 'running'`
}

function holdsKey(state: InboxState, asked: boolean | undefined): boolean {
  if (state === 'parked' || state === 'uncertain') return asked ?? true
  return state === 'waiting' || state === 'retrying' || state === 'running'
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
