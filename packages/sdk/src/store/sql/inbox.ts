import { SdkError } from '../../errors.ts'
import { hidden, InboxBacklog } from './inbox-backlog.ts'
import { InboxBegin, rowOf } from './inbox-begin.ts'
import { InboxClaims } from './inbox-claims.ts'
import { verdictsOf } from './inbox-verdict.ts'
import { list, raw, sql, type Fragment } from './fragment.ts'
import { MESSAGE_CELLS, messageRows, numberIn, textIn, withAttempt } from './row.ts'
import { bytesOfMessage, portionsOf } from './portions.ts'
import type { Database } from './database.ts'
import type { EffectVerdict, InboxDepth, InboxEntry, InboxState, InboxStore, Kept, Verdict } from '../port.ts'
import type { Message } from '../../message/message.ts'
import type { SqlSession } from './driver.ts'

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

/** A message that is put into the inbox because it is not done yet. */
type Stored = Omit<Kept, 'state'> & { readonly state: InboxState }

/** What consumers received. */
export class SqlInbox<Tx> implements InboxStore<Tx> {
  readonly backlog: InboxBacklog<Tx>
  readonly #db: Database<Tx>
  readonly #begin: InboxBegin<Tx>
  readonly #claims: InboxClaims<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
    this.#begin = new InboxBegin(db)
    this.backlog = new InboxBacklog(db)
    this.#claims = new InboxClaims(db, this.backlog)
  }

  begin(tx: Tx, consumer: string, messages: readonly Message[], ordered: boolean): Promise<readonly Verdict[]> {
    return this.#begin.begin(this.#db.within(tx), consumer, messages, ordered)
  }

  async keep(consumer: string, kept: readonly Kept[]): Promise<readonly Verdict[]> {
    if (kept.length === 0) return []
    const { messagesBytesMax } = this.#db.dialect
    const portions = portionsOf(kept, messagesBytesMax, ({ message, attempt }) => {
      const error = attempt === undefined ? 0 : 2 * JSON.stringify(attempt).length
      return bytesOfMessage(message) + error
    })
    return this.#db.together(async (session) => {
      const verdicts: Verdict[] = []
      for (const portion of portions) verdicts.push(...(await this.#keep(session, consumer, portion, 0)))
      return verdicts
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
    return this.#claims.claim(consumer, ordered, { leaseMs, limit, runs, bytesMax })
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
    if (holds === 0) await this.#leave(null, entry, set)
    else await this.#db.run(null, sql`update ${raw(this.#db.names.inbox)} set ${set} where ${ours(entry)}`)
  }

  start(consumer: string, message: Message, ordered: boolean, leaseMs: number): Promise<EffectVerdict> {
    return this.#db.together(async (session) => {
      const rows = [rowOf(message, 0)]
      if (ordered && (await this.#begin.behind(session, consumer, rows)).size > 0)
        return { message, kind: 'behind', order: 'unknown', entry: null }
      const kept = { message, state: 'running', attempts: 1, dueAt: Math.ceil(leaseMs) } as const
      const [verdict] = await this.#keep(session, consumer, [kept], 1)
      if (verdict!.kind === 'duplicate') return { ...verdict!, entry: null }
      const lease = await this.#db.run(
        session,
        sql`select due_at from ${raw(this.#db.names.inbox)} where consumer = ${consumer} and id = ${message.id}`,
      )
      const dueAt = numberIn(lease[0]!, 'due_at')
      const begun = { state: 'running', attempts: 1, errors: [], dueAt, epoch: 1, reason: null } as const
      return { ...verdict!, entry: { consumer, message, ...begun } }
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

  nextDue(consumer: string, ordered: boolean): Promise<number | null> {
    return this.#claims.nextDue(consumer, ordered)
  }

  prune(before: number, limit: number): Promise<number> {
    return this.#db.deleteSome(
      this.#db.names.inbox,
      ['consumer', 'id'],
      // What is done was created before it was done: the index on `created_at` leads to all of them.
      sql`state = 'done' and created_at < ${Math.ceil(before)} and done_at < ${Math.ceil(before)}`,
      'created_at',
      limit,
    )
  }

  pruneDedupeKeys(before: number, limit: number): Promise<number> {
    const { dedupe, inbox } = this.#db.names
    const time = Math.ceil(before)
    return this.#db.deleteSome(
      dedupe,
      ['scope', 'dedupe_key'],
      sql`at < ${time} and (select 1 from ${raw(inbox)} i where i.consumer = ${raw(dedupe)}.scope
        and i.id = ${raw(dedupe)}.message_id and (i.state <> 'done' or i.done_at >= ${time})) is null`,
      'at',
      limit,
    )
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

  /** @param epoch of the rows; those of a running one are due so many ms from now */
  async #keep(
    session: SqlSession,
    consumer: string,
    kept: readonly Stored[],
    epoch: number,
  ): Promise<readonly Verdict[]> {
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
    const recorded = new Set(inserted.map((row) => textIn(row, 'id')))
    const last = await this.#begin.see(session, consumer, rows)
    const messages = kept.map(({ message }) => message)
    const findings = messages.map(({ id }) => {
      const lastSeq = last.get(id) ?? null
      return [id, { behind: false, recorded: recorded.has(id), firstOfKey: first.has(id), lastSeq }] as const
    })
    return verdictsOf(messages, new Map(findings))
  }

  #finish(session: SqlSession | null, entry: InboxEntry): Promise<boolean> {
    const set = sql`state = 'done', holds = 0, done_at = ${this.#db.now}, ${raw(WITHOUT_BODY)}`
    return this.#leave(session, entry, set)
  }

  /** Changes a claim's row so that it holds its key no longer. @returns false when the claim was lost */
  #leave(session: SqlSession | null, entry: InboxEntry, set: Fragment): Promise<boolean> {
    const { type, key } = entry.message
    return this.backlog.leave(session, { consumer: entry.consumer, type, key }, set, ours(entry))
  }
}

/** The row of a claim, as long as nobody has taken it over. */
function ours(entry: InboxEntry): Fragment {
  return sql`consumer = ${entry.consumer} and id = ${entry.message.id} and
    ${hidden(sql`epoch = ${entry.epoch} and state = 'running'`)}`
}

function holdsKey(state: InboxState, asked: boolean | undefined): boolean {
  if (state === 'parked' || state === 'uncertain') return asked ?? true
  return state === 'waiting' || state === 'retrying' || state === 'running'
}
