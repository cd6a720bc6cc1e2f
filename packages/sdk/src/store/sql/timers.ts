import { list, raw, sql } from './fragment.ts'
import { MESSAGE_CELLS, MESSAGE_COLUMNS, messageIn, messageRows, numberIn, numberOrNullIn, textIn } from './row.ts'
import type { Database } from './database.ts'
import type { SqlOutbox } from './outbox.ts'
import type { SqlSession } from './driver.ts'
import type { TimerDraft, TimerStore } from '../port.ts'

interface Named {
  readonly name: string
  readonly timer: TimerDraft
}

/** Messages to send later. A timer's name is what it is cancelled by, or else its message's id. */
export class SqlTimers<Tx> implements TimerStore<Tx> {
  readonly #db: Database<Tx>
  readonly #outbox: SqlOutbox<Tx>

  constructor(db: Database<Tx>, outbox: SqlOutbox<Tx>) {
    this.#db = db
    this.#outbox = outbox
  }

  async set(tx: Tx, timers: readonly TimerDraft[]): Promise<void> {
    const session = this.#db.within(tx)
    const named = await this.#new(session, latestByName(timers))
    if (named.length === 0) return
    const { rows, bodies } = messageRows(
      named,
      ({ timer }) => timer.draft,
      ({ name, timer }) => ({ name, due_at: Math.ceil(timer.dueAt) }),
    )
    const { dialect, names, now } = this.#db
    const columns = ['name', 'due_at', 'created_at', ...MESSAGE_COLUMNS]
    const message = MESSAGE_COLUMNS.filter((column) => column !== 'body').map((column) => `r.${column}`)
    const cells = { ...MESSAGE_CELLS, name: 'text', due_at: 'integer' } as const
    await this.#db.run(
      session,
      dialect.upsert(
        names.timer,
        columns,
        sql`select r.name, r.due_at, ${now}, ${raw(message.join(', '))}, substr(${bodies}, r.body_at, r.body_bytes)
          from ${dialect.rows(JSON.stringify(rows), 'r', cells)} order by r.name`,
        ['name'],
        (row) => Object.fromEntries(columns.slice(1).map((column) => [column, row.new(column)])),
      ),
    )
  }

  async cancel(tx: Tx, cancelKey: string): Promise<boolean> {
    const where = sql`name = ${nameOf(cancelKey)}`
    return (await this.#db.delete(this.#db.within(tx), this.#db.names.timer, where)) > 0
  }

  fire(limit: number): Promise<number> {
    const { dialect, names, now } = this.#db
    return this.#db.together(async (session) => {
      const rows = await this.#db.run(
        session,
        sql`select seq, ${raw(MESSAGE_COLUMNS.join(', '))} from ${raw(names.timer)} where due_at <= ${now}
          order by due_at, seq limit ${limit}${raw(dialect.forUpdateOfFree)}`,
      )
      if (rows.length === 0) return 0
      const fired = this.#db.among(
        'seq',
        rows.map((row) => numberIn(row, 'seq')),
      )
      await this.#db.run(session, sql`delete from ${raw(names.timer)} where ${fired}`)
      await this.#outbox.addIn(
        session,
        rows.map((row) => messageIn(row)),
      )
      return rows.length
    })
  }

  async nextDue(): Promise<number | null> {
    const [row] = await this.#db.run(null, sql`select min(due_at) as due_at from ${raw(this.#db.names.timer)}`)
    return numberOrNullIn(row!, 'due_at')
  }

  /** Those that replace a timer of their name, or whose message is not there yet. */
  async #new(session: SqlSession, named: readonly Named[]): Promise<readonly Named[]> {
    if (named.length === 0) return []
    const { names } = this.#db
    const ids = list(named.map(({ timer }) => timer.draft.id))
    const there = await this.#db.run(
      session,
      sql`select name, id from ${raw(names.timer)} where id in ${ids} or name in ${list(named.map(({ name }) => name))}
        union all select '' as name, id from ${raw(names.outbox)} where id in ${ids}`,
    )
    const taken = new Set(there.map((row) => textIn(row, 'name')))
    const known = new Set(there.map((row) => textIn(row, 'id')))
    return named.filter(({ name, timer }) => {
      if (timer.cancelKey !== null && taken.has(name)) return true
      if (known.has(timer.draft.id)) return false
      known.add(timer.draft.id)
      return true
    })
  }
}

function latestByName(timers: readonly TimerDraft[]): readonly Named[] {
  const byName = new Map<string, TimerDraft>()
  for (const timer of timers) {
    const name = timer.cancelKey === null ? `m:${timer.draft.id}` : nameOf(timer.cancelKey)
    if (timer.cancelKey !== null || !byName.has(name)) byName.set(name, timer)
  }
  return [...byName].map(([name, timer]) => ({ name, timer }))
}

function nameOf(cancelKey: string): string {
  return `c:${cancelKey}`
}
