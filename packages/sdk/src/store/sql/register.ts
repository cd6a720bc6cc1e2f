import { SdkError } from '../../errors.ts'
import { bucketOf } from '../../message/bucket.ts'
import { conditionOf, idIn, receivedIn, SHELVES } from './register-filter.ts'
import { pageOf } from './register-page.ts'
import { leads } from './inbox-backlog.ts'
import { join, list, raw, sql, type Fragment } from './fragment.ts'
import { bodyAlone, MESSAGE_COLUMNS, numberIn, numberOrNullIn, textIn, textOrNullIn } from './row.ts'
import { TABLES } from './schema.ts'
import type { Database } from './database.ts'
import type { Message } from '../../message/message.ts'
import type { SqlInbox } from './inbox.ts'
import type { SqlOutbox } from './outbox.ts'
import type {
  Purge,
  RegisterFilter,
  RegisterKey,
  RegisterPage,
  RegisterReading,
  RegisterState,
  RegisterStore,
} from '../port.ts'
import type { SqlRow, SqlSession } from './driver.ts'

/** Columns whose values clients give in different ways. */
const NUMBERS = new Set(
  [TABLES.outbox, TABLES.inbox]
    .flatMap(({ columns }) => Object.entries(columns))
    .filter(([, type]) => /^(integer|count|time)/.test(type))
    .map(([column]) => column),
)

/** What operators see of the outbox, the timers and the inbox, and what they change. */
export class SqlRegister<Tx> implements RegisterStore {
  readonly #db: Database<Tx>
  readonly #outbox: SqlOutbox<Tx>
  readonly #inbox: SqlInbox<Tx>

  constructor(db: Database<Tx>, outbox: SqlOutbox<Tx>, inbox: SqlInbox<Tx>) {
    this.#db = db
    this.#outbox = outbox
    this.#inbox = inbox
  }

  async list(
    filter: RegisterFilter,
    limit: number,
    after: string | null,
    reading: RegisterReading = {},
  ): Promise<RegisterPage> {
    await this.#outbox.intake?.drain()
    return pageOf(this.#db, filter, limit, after, reading)
  }

  async count(filter: RegisterFilter): Promise<number> {
    await this.#outbox.intake?.drain()
    let sum = 0
    for (const shelf of SHELVES) {
      const condition = conditionOf(shelf, filter, this.#db.dialect)
      if (condition === null) continue
      const table = raw(this.#db.names[shelf.table])
      const [row] = await this.#db.run(null, sql`select count(*) as messages from ${table} where ${condition}`)
      sum += numberIn(row!, 'messages')
    }
    return sum
  }

  async retry(keys: readonly RegisterKey[]): Promise<number> {
    const { names, now } = this.#db
    const set = sql`state = 'pending', holds = 0, attempts = 0, due_at = ${now}`
    const out = await this.#changeOut(set, ['parked', 'cancelled'], keys)
    const incoming = await this.#change(
      names.inbox,
      sql`state = 'waiting', holds = case when msg_key is null then 0 else 1 end, attempts = 0, due_at = ${now}`,
      ['parked', 'uncertain', 'cancelled', 'expired'],
      this.#in(keys),
    )
    return out + incoming
  }

  async cancel(keys: readonly RegisterKey[]): Promise<number> {
    await this.#outbox.intake?.drain()
    const { names } = this.#db
    const set = raw("state = 'cancelled', holds = 0")
    const ids = this.#out(keys)
    const out = await this.#changeOut(set, ['pending', 'waiting', 'parked'], keys)
    const timers = ids === null ? 0 : await this.#db.delete(null, names.timer, ids)
    const states = ['waiting', 'retrying', 'uncertain', 'parked', 'expired'] as const
    return out + timers + (await this.#cancelIn(set, states, keys))
  }

  async replace(key: RegisterKey, message: Message): Promise<void> {
    const incoming = key.direction === 'in'
    const { dialect, names, now } = this.#db
    const table = raw(incoming ? names.inbox : names.outbox)
    const own = incoming ? ['consumer', 'epoch'] : ['bucket']
    const columns = ['attempts', 'created_at', 'fingerprint', 'reason', 'errors', 'due_at', ...own, ...MESSAGE_COLUMNS]
    const consumer = incoming ? sql`consumer = ${key.consumer} and ` : raw('')
    await this.#db.together(async (session) => {
      const [old] = await this.#db.run(
        session,
        sql`select ${raw(columns.join(', '))}, seq${raw(incoming ? ', leads' : '')} from ${table} where ${consumer}id = ${key.id} and state = 'parked'
          ${raw(dialect.forUpdate)}`,
      )
      if (old === undefined) throw new SdkError('not_found', `there is no parked message ${key.id} to be replaced`)
      const holds = incoming && message.key !== null ? 1 : 0
      const bucket = incoming || message.key === null ? raw('') : sql`, bucket = ${bucketOf(message.key)}`
      // The row stays, and with it the place and the number; the old message moves out.
      await this.#db.run(
        session,
        sql`update ${table} set state = ${incoming ? 'waiting' : 'pending'}, holds = ${holds}, attempts = 0,
          created_at = ${now}, due_at = ${now}, fingerprint = null, reason = null, errors = null${bucket}, id = ${message.id},
          kind = ${message.kind}, type = ${message.type}, version = ${message.version}, source = ${message.source},
          time = ${message.time}, msg_key = ${message.key}, external_id = ${message.metadata.externalId ?? null},
          content_type = ${message.contentType}, metadata = ${JSON.stringify(message.metadata)}, body = ${bodyAlone(message.body)}
          where ${consumer}id = ${key.id}`,
      )
      await this.#putAside(session, table, columns, old)
      const oldKey = textOrNullIn(old, 'msg_key')
      if (oldKey === null) return
      const line = { type: textIn(old, 'type'), key: oldKey }
      if (!incoming) await this.#outbox.backlog.release(session, line)
      else if (leads(old)) await this.#inbox.backlog.release(session, { consumer: key.consumer, ...line })
    })
  }

  async purge({ state, before, contracts }: Purge, limit: number): Promise<number> {
    const { names } = this.#db
    let where = sql`state = ${state} and created_at < ${Math.ceil(before)}`
    if (contracts !== undefined)
      where =
        'only' in contracts
          ? sql`${where} and type in ${list(contracts.only)}`
          : // Nothing is `not in (null)`.
            sql`${where}${contracts.except.length === 0 ? raw('') : sql` and type not in ${list(contracts.except)}`}`
    let deleted = 0
    if (SHELVES[0]!.states.includes(state)) {
      deleted = await this.#db.deleteSome(names.outbox, ['id'], where, 'created_at', limit)
      if (state === 'parked' && deleted > 0) await this.#outbox.backlog.mend()
    }
    if (deleted < limit) deleted += await this.#purgeIn(state, where, limit - deleted)
    return deleted
  }

  #purgeIn(state: Purge['state'], where: Fragment, limit: number): Promise<number> {
    const purge = (session: SqlSession | null): Promise<number> =>
      this.#db.deleteSome(this.#db.names.inbox, ['consumer', 'id'], where, 'created_at', limit, session)
    // Of these states only what is parked holds its key.
    if (state !== 'parked') return purge(null)
    return this.#db.together(async (session) => {
      const deleted = await purge(session)
      if (deleted > 0) await this.#inbox.backlog.mend(session)
      return deleted
    })
  }

  async #putAside(session: SqlSession, table: Fragment, columns: readonly string[], old: SqlRow): Promise<void> {
    const values = columns.map((column) => {
      const value = NUMBERS.has(column) ? numberOrNullIn(old, column) : (old[column] as string | Uint8Array | null)
      if (value instanceof Uint8Array) return bodyAlone(value)
      return value === null ? raw('null') : sql`${value}`
    })
    await this.#db.run(
      session,
      sql`insert into ${table} (state, holds, ${raw(columns.join(', '))}) values ('cancelled', 0, ${join(values, ', ')})`,
    )
  }

  async #change(
    table: string,
    set: Fragment,
    states: readonly RegisterState[],
    which: Fragment | null,
    session: SqlSession | null = null,
  ): Promise<number> {
    if (which === null) return 0
    const quoted = raw(states.map((state) => `'${state}'`).join(', '))
    return this.#db.update(session, table, set, sql`state in (${quoted}) and ${which}`)
  }

  /** What these held back goes on. */
  async #changeOut(set: Fragment, states: readonly RegisterState[], keys: readonly RegisterKey[]): Promise<number> {
    const which = this.#out(keys)
    if (which === null) return 0
    return this.#db.together(async (session) => {
      const count = await this.#change(this.#db.names.outbox, set, states, which, session)
      if (count > 0) await this.#outbox.backlog.releaseKeysOf(session, which)
      return count
    })
  }

  /** What these held back goes on. */
  async #cancelIn(set: Fragment, states: readonly RegisterState[], keys: readonly RegisterKey[]): Promise<number> {
    const which = this.#in(keys)
    if (which === null) return 0
    return this.#db.together(async (session) => {
      const count = await this.#change(this.#db.names.inbox, set, states, which, session)
      if (count > 0) await this.#inbox.backlog.releaseKeysOf(session, which)
      return count
    })
  }

  #out(keys: readonly RegisterKey[]): Fragment | null {
    const out = keys.filter(({ direction }) => direction === 'out').map(({ id }) => id)
    return out.length === 0 ? null : idIn(this.#db.dialect, out)
  }

  #in(keys: readonly RegisterKey[]): Fragment | null {
    const incoming = keys.filter(({ direction }) => direction === 'in')
    return incoming.length === 0 ? null : receivedIn(this.#db.dialect, incoming)
  }
}
