import { SdkError } from '../../errors.ts'
import { join, list, raw, sql, type Fragment } from './fragment.ts'
import { MESSAGE_CELLS, MESSAGE_COLUMNS, messageIn, messageRows, numberIn, numberOrNullIn, textIn } from './row.ts'
import { bytesOfMessage, portionsOf } from './portions.ts'
import type { Database } from './database.ts'
import type { SqlOutbox } from './outbox.ts'
import type { SqlRow, SqlSession } from './driver.ts'
import type { TimerDraft, TimerStore } from '../port.ts'

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

  async fire(limit: number): Promise<number> {
    try {
      return (await this.#move(limit, true)).count
    } catch (error) {
      if (!(error instanceof SdkError) || error.code !== 'conflict') throw error
    }
    // Somebody is writing the first message of a key, which cannot be seen and skipped: those keys one by one.
    const { count, unseen } = await this.#move(limit, false)
    return count + (await this.#moveUnseen(unseen))
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
  #move(limit: number, unseenToo: boolean): Promise<{ count: number; unseen: readonly Key[] }> {
    return this.#impatiently(async (session) => {
      const moved: SqlRow[] = []
      const unseen = new Map<string, Key>()
      let after: SqlRow | null = null
      while (moved.length < limit) {
        const wanted = limit - moved.length
        const page = await this.#due(session, after === null ? raw('1 = 1') : laterThan(after), wanted)
        const held = await this.#heldKeys(session, page)
        for (const row of page) {
          const state = held.get(nameOfKey(row))
          if (state === 'unseen' && !unseenToo) unseen.set(nameOfKey(row), keyIn(row))
          else if (state !== 'held') moved.push(row)
        }
        if (page.length < wanted) break
        after = page.at(-1)!
      }
      await this.#moveRows(session, moved)
      return { count: moved.length, unseen: [...unseen.values()] }
    })
  }

  async #moveUnseen(keys: readonly Key[]): Promise<number> {
    let count = 0
    let conflicts = 0
    for (const { type, key } of keys) {
      try {
        count += await this.#impatiently(async (session) => {
          const rows = await this.#due(session, sql`type = ${type} and msg_key = ${key}`, KEY_MAX)
          await this.#moveRows(session, rows)
          return rows.length
        })
      } catch (error) {
        if (!(error instanceof SdkError) || error.code !== 'conflict') throw error
        if (++conflicts === CONFLICTS_MAX) break
      }
    }
    return count
  }

  #due(session: SqlSession, which: Fragment, limit: number): Promise<readonly SqlRow[]> {
    const { dialect, names, now } = this.#db
    return this.#db.run(
      session,
      sql`select seq, due_at, ${raw(MESSAGE_COLUMNS.join(', '))} from ${raw(names.timer)}
        where due_at <= ${now} and ${which} order by due_at, seq limit ${limit}${raw(dialect.forUpdateOfFree)}`,
    )
  }

  async #moveRows(session: SqlSession, rows: readonly SqlRow[]): Promise<void> {
    if (rows.length === 0) return
    const fired = this.#db.among(
      'seq',
      rows.map((row) => numberIn(row, 'seq')),
    )
    await this.#db.run(session, sql`delete from ${raw(this.#db.names.timer)} where ${fired}`)
    await this.#outbox.addIn(
      session,
      rows.map((row) => messageIn(row)),
    )
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
  return sql`(due_at > ${dueAt} or (due_at = ${dueAt} and seq > ${numberIn(row, 'seq')}))`
}

function nameOf(cancelKey: string): string {
  return `c:${cancelKey}`
}
