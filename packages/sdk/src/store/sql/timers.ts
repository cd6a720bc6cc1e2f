import { SdkError } from '../../errors.ts'
import { join, list, raw, sql, type Fragment } from './fragment.ts'
import { MESSAGE_CELLS, MESSAGE_COLUMNS, messageIn, messageRows, numberIn, numberOrNullIn, textIn } from './row.ts'
import { countWithin } from './bodies-within.ts'
import { bytesOfMessage, portionsOf } from './portions.ts'
import type { Database } from './database.ts'
import type { SqlOutbox } from './outbox.ts'
import type { SqlRow, SqlSession } from './driver.ts'
import type { TimerDraft, TimerStore } from '../port.ts'

/** A timer's columns; its body is read with them as far as it is small. */
const COLUMNS = ['seq', 'due_at', ...MESSAGE_COLUMNS]
  .filter((column) => column !== 'body')
  .map((column) => `t.${column}`)

/** Timers that are looked at first: InnoDB reads a body to say how long it is, and few that are large are fired at once. */
const AHEAD = 50

/** Timers of one key that are fired together when it is fired alone. */
const KEY_MAX = 100
/** Keys in somebody else's hands that are waited for, one after the other, in one go. */
const CONFLICTS_MAX = 4

interface Key {
  readonly type: string
  readonly key: string
}

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
    const { messagesBytesMax } = this.#db.dialect
    const portions = portionsOf(latestByName(timers), messagesBytesMax, ({ timer }) => bytesOfMessage(timer.draft))
    for (const portion of portions) await this.#set(session, portion)
  }

  async #set(session: SqlSession, timers: readonly Named[]): Promise<void> {
    const named = await this.#new(session, timers)
    if (named.length === 0) return
    const { dialect, names, now } = this.#db
    const columns = ['name', 'due_at', 'created_at', ...MESSAGE_COLUMNS]
    const message = MESSAGE_COLUMNS.filter((column) => column !== 'body').map((column) => `r.${column}`)
    const cells = { ...MESSAGE_CELLS, name: 'text', due_at: 'integer' } as const
    const { rows, bodies } = messageRows(
      named,
      ({ timer }) => timer.draft,
      ({ name, timer }) => ({ name, due_at: Math.ceil(timer.dueAt) }),
    )
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

  async fire(limit: number, bytesMax = Number.MAX_SAFE_INTEGER): Promise<number> {
    try {
      return (await this.#move(limit, bytesMax, true)).count
    } catch (error) {
      if (!(error instanceof SdkError) || error.code !== 'conflict') throw error
    }
    // Somebody is writing the first message of a key, which cannot be seen and skipped: those keys one by one.
    const { count, unseen } = await this.#move(limit, bytesMax, false)
    return count + (await this.#moveUnseen(unseen, bytesMax))
  }

  async nextDue(): Promise<number | null> {
    const [row] = await this.#db.run(null, sql`select min(due_at) as due_at from ${raw(this.#db.names.timer)}`)
    return numberOrNullIn(row!, 'due_at')
  }

  /**
   * Moves what is due and free: what nobody else is about to fire or to cancel, and whose key's numbers nobody holds. A
   * transaction that was left open holds the timers of its keys, and no others.
   *
   * @param unseenToo whether keys without a number yet are tried, too: somebody may be about to give them their first
   */
  #move(limit: number, bytesMax: number, unseenToo: boolean): Promise<{ count: number; unseen: readonly Key[] }> {
    return this.#impatiently(async (session) => {
      const free: SqlRow[] = []
      const unseen = new Map<string, Key>()
      const bodyBytes = Math.floor(bytesMax / limit)
      let after: SqlRow | null = null
      let wanted = Math.min(limit, AHEAD)
      while (free.length < limit) {
        const page = await this.#due(session, after === null ? raw('1 = 1') : laterThan(after), wanted, bodyBytes)
        const held = await this.#heldKeys(session, page)
        for (const row of page) {
          const state = held.get(nameOfKey(row))
          if (state === 'unseen' && !unseenToo) unseen.set(nameOfKey(row), keyIn(row))
          else if (state !== 'held') free.push(row)
        }
        if (page.length < wanted || fitting(free, bytesMax) < free.length) break
        after = page.at(-1)!
        wanted = Math.min(limit - free.length, wanted * 4)
      }
      return { count: await this.#moveRows(session, free, bytesMax), unseen: [...unseen.values()] }
    })
  }

  async #moveUnseen(keys: readonly Key[], bytesMax: number): Promise<number> {
    let count = 0
    let conflicts = 0
    for (const { type, key } of keys) {
      try {
        count += await this.#impatiently(async (session) => {
          const which = sql`t.type = ${type} and t.msg_key = ${key}`
          const rows = await this.#due(session, which, KEY_MAX, Math.floor(bytesMax / KEY_MAX))
          return this.#moveRows(session, rows, bytesMax)
        })
      } catch (error) {
        if (!(error instanceof SdkError) || error.code !== 'conflict') throw error
        if (++conflicts === CONFLICTS_MAX) break
      }
    }
    return count
  }

  /** The first that are due, with bodies of at most so many bytes each. */
  #due(session: SqlSession, which: Fragment, limit: number, bodyBytes: number): Promise<readonly SqlRow[]> {
    const { dialect, names, now } = this.#db
    const timer = raw(names.timer)
    const small = sql`length(t.body) <= ${bodyBytes}`
    const [body, bodies] = dialect.joinsBodies
      ? [raw('b.body'), sql`left join ${timer} b on b.seq = t.seq and ${small}`]
      : [sql`case when ${small} then t.body end as body`, raw('')]
    return this.#db.run(
      session,
      sql`select ${raw(COLUMNS.join(', '))}, length(t.body) as body_bytes, ${body} from ${timer} t ${bodies}
        where t.due_at <= ${now} and ${which} order by t.due_at, t.seq limit ${limit}${raw(dialect.forUpdateOfFree)}`,
    )
  }

  /** Moves the first of the rows, which are locked, as far as their bodies fit. @returns how many */
  async #moveRows(session: SqlSession, free: readonly SqlRow[], bytesMax: number): Promise<number> {
    const rows = await this.#whole(session, free.slice(0, fitting(free, bytesMax)))
    if (rows.length === 0) return 0
    const fired = this.#db.among(
      'seq',
      rows.map((row) => numberIn(row, 'seq')),
    )
    await this.#db.run(session, sql`delete from ${raw(this.#db.names.timer)} where ${fired}`)
    await this.#outbox.addIn(
      session,
      rows.map((row) => messageIn(row)),
    )
    return rows.length
  }

  /** The rows with the bodies that were too large to be read at first. */
  async #whole(session: SqlSession, rows: readonly SqlRow[]): Promise<readonly SqlRow[]> {
    const unread = rows.filter((row) => row['body'] === null && numberIn(row, 'body_bytes') > 0)
    if (unread.length === 0) return rows
    const seqs = unread.map((row) => numberIn(row, 'seq'))
    const table = raw(this.#db.names.timer)
    const found = await this.#db.run(session, sql`select seq, body from ${table} where ${this.#db.among('seq', seqs)}`)
    const bodies = new Map(found.map((row) => [numberIn(row, 'seq'), row['body']]))
    return rows.map((row) => ({ ...row, body: bodies.get(numberIn(row, 'seq')) ?? row['body'] }))
  }

  /**
   * Locks the numbers of the rows' keys as far as they are free.
   *
   * @returns the keys whose numbers somebody else holds, and those that have none yet
   */
  async #heldKeys(session: SqlSession, rows: readonly SqlRow[]): Promise<ReadonlyMap<string, 'held' | 'unseen'>> {
    const { dialect, names } = this.#db
    const held = new Map<string, 'held' | 'unseen'>()
    if (dialect.impatience === undefined) return held
    const numbered = rows.filter((row) => row['msg_key'] !== null && row['key_seq'] === null)
    for (const row of numbered) held.set(nameOfKey(row), 'unseen')
    for (const type of new Set(numbered.map((row) => textIn(row, 'type')))) {
      const keys = new Set(numbered.filter((row) => row['type'] === type).map((row) => textIn(row, 'msg_key')))
      const of = sql`select type, msg_key from ${raw(names.stream)} where type = ${type} and msg_key in ${list([...keys])}`
      const free = await this.#db.run(session, sql`${of} order by msg_key${raw(dialect.forUpdateOfFree)}`)
      for (const row of free) held.delete(nameOfKey(row))
      if (free.length === keys.size) continue
      for (const row of await this.#db.run(session, of)) if (held.has(nameOfKey(row))) held.set(nameOfKey(row), 'held')
    }
    return held
  }

  /** A transaction that never waits for long. */
  #impatiently<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
    const { impatience } = this.#db.dialect
    return this.#db.together(async (session) => {
      if (impatience === undefined) return work(session)
      await this.#db.run(session, raw(impatience.begin))
      try {
        return await work(session)
      } finally {
        if (impatience.end !== null) await this.#db.run(session, raw(impatience.end))
      }
    })
  }

  /** Those that replace a timer of their name, or whose message is not there yet. */
  async #new(session: SqlSession, named: readonly Named[]): Promise<readonly Named[]> {
    if (named.length === 0) return []
    const { names } = this.#db
    const ids = list(named.map(({ timer }) => timer.draft.id))
    const tables = this.#outbox.intake === null ? [names.outbox] : [names.outbox, names.intake]
    const sent = tables.map((table) => sql` union all select '' as name, id from ${raw(table)} where id in ${ids}`)
    const there = await this.#db.run(
      session,
      sql`select name, id from ${raw(names.timer)} where id in ${ids} or name in ${list(named.map(({ name }) => name))}
        ${join(sent, '')}`,
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

function nameOfKey(row: SqlRow): string {
  return JSON.stringify([row['type'], row['msg_key']])
}

function keyIn(row: SqlRow): Key {
  return { type: textIn(row, 'type'), key: textIn(row, 'msg_key') }
}

function laterThan(row: SqlRow): Fragment {
  const dueAt = numberIn(row, 'due_at')
  return sql`(t.due_at > ${dueAt} or (t.due_at = ${dueAt} and t.seq > ${numberIn(row, 'seq')}))`
}

/** How many of the first rows have bodies that fit together. */
function fitting(rows: readonly SqlRow[], bytesMax: number): number {
  const sizes = rows.map((row) => numberIn(row, 'body_bytes'))
  return countWithin(sizes, bytesMax)
}

function nameOf(cancelKey: string): string {
  return `c:${cancelKey}`
}
