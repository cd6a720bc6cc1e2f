import { SdkError } from '../../errors.ts'
import type { Message } from '../../message/message.ts'
import type {
  Purge,
  RegisterEntry,
  RegisterFilter,
  RegisterKey,
  RegisterPage,
  RegisterReading,
  RegisterState,
  RegisterStore,
} from '../port.ts'
import type { MemoryDatabase } from './database.ts'
import { inName, type InRow } from './in-row.ts'
import type { MemoryInbox } from './inbox.ts'
import { outRow, type OutRow } from './out-row.ts'
import type { MemoryOutbox } from './outbox.ts'
import { inView, outView, picks, placeOf, readOf, timerView } from './register-view.ts'
import { timerLocks, type MemoryTimers } from './timers.ts'
import type { OpenTransaction } from './transaction.ts'

const PAGE_MAX = 1000

const RETRYABLE: ReadonlySet<RegisterState> = new Set(['parked', 'uncertain', 'cancelled', 'expired'])
const UNCANCELLABLE: ReadonlySet<RegisterState> = new Set(['sent', 'done', 'running', 'cancelled'])

/** What operators see and do, in memory. */
export class MemoryRegister implements RegisterStore {
  readonly #database: MemoryDatabase
  readonly #outbox: MemoryOutbox
  readonly #timers: MemoryTimers
  readonly #inbox: MemoryInbox

  constructor(database: MemoryDatabase, outbox: MemoryOutbox, timers: MemoryTimers, inbox: MemoryInbox) {
    this.#database = database
    this.#outbox = outbox
    this.#timers = timers
    this.#inbox = inbox
  }

  async list(
    filter: RegisterFilter,
    limit: number,
    after: string | null,
    reading?: RegisterReading,
  ): Promise<RegisterPage> {
    const rest = this.#picked(filter)
      .map((entry) => ({ entry, place: placeOf(entry) }))
      .filter(({ place }) => after === null || place > after)
      .toSorted((a, b) => (a.place < b.place ? -1 : 1))
    const most = rest.slice(0, Math.min(limit, PAGE_MAX)).map(({ entry }) => entry)
    const entries = readOf(most, reading)
    const next = entries.length < rest.length ? rest[entries.length - 1]?.place : undefined
    return { entries, next: next ?? null }
  }

  async count(filter: RegisterFilter): Promise<number> {
    return this.#picked(filter).length
  }

  retry(keys: readonly RegisterKey[]): Promise<number> {
    return this.#change(keys, {
      out: (tx, row) => {
        if (!RETRYABLE.has(row.state)) return false
        const fresh = { attempts: 0, retryAt: null, holdsKey: false }
        this.#outbox.rows.put(tx, row.message.id, { ...row, ...fresh, state: 'pending' })
        return true
      },
      in: (tx, row) => {
        if (!RETRYABLE.has(row.state)) return false
        const now = this.#database.now()
        this.#inbox.recorded.put(tx, { ...row, state: 'waiting', attempts: 0, dueAt: now, stateAt: now })
        return true
      },
    })
  }

  cancel(keys: readonly RegisterKey[]): Promise<number> {
    const stateAt = this.#database.now()
    return this.#change(keys, {
      out: (tx, row) => {
        if (UNCANCELLABLE.has(row.state)) return false
        this.#outbox.rows.put(tx, row.message.id, { ...row, state: 'cancelled' })
        return true
      },
      timer: (tx, id) => this.#timers.remove(tx, id),
      in: (tx, row) => {
        if (UNCANCELLABLE.has(row.state)) return false
        this.#inbox.recorded.put(tx, { ...row, state: 'cancelled', stateAt })
        return true
      },
    })
  }

  async replace(key: RegisterKey, message: Message): Promise<void> {
    const now = this.#database.now()
    const replaced = await this.#change([key], {
      out: (tx, row) => {
        if (row.state !== 'parked') return false
        this.#outbox.rows.put(tx, row.message.id, { ...row, state: 'cancelled' })
        const successor = { ...message, keySeq: row.message.keySeq }
        this.#outbox.rows.put(tx, message.id, outRow(successor, row.seq, now))
        return true
      },
      in: (tx, row) => {
        if (row.state !== 'parked') return false
        this.#inbox.recorded.put(tx, { ...row, state: 'cancelled', stateAt: now })
        const successor = { ...message, keySeq: row.message.keySeq }
        this.#inbox.recorded.add(tx, row.consumer, successor, { state: 'waiting', place: row.place })
        return true
      },
    })
    if (replaced === 0) throw new SdkError('not_found', `no parked message ${key.id} is there to be replaced`)
  }

  purge({ state, before, contracts }: Purge, limit: number): Promise<number> {
    const named = (type: string) => {
      if (contracts === undefined) return true
      return 'only' in contracts ? contracts.only.includes(type) : !contracts.except.includes(type)
    }
    const old = (row: OutRow | InRow) => row.state === state && row.createdAt < before && named(row.message.type)
    return this.#database.change([], (tx) => {
      const out = this.#outbox.rows.all(tx).filter(old).slice(0, limit)
      for (const { message } of out) this.#outbox.rows.delete(tx, message.id)
      const received = this.#inbox.recorded.rows.all(tx).filter(old)
      const free = received.filter(({ consumer, message }) => tx.tryLock(inName(consumer, message.id)))
      const purged = free.slice(0, limit - out.length)
      for (const { consumer, message } of purged) this.#inbox.recorded.rows.delete(tx, inName(consumer, message.id))
      return out.length + purged.length
    })
  }

  #picked(filter: RegisterFilter): RegisterEntry[] {
    const entries = [
      ...this.#outbox.rows.all(null).map(outView),
      ...this.#timers.rows.all(null).map(timerView),
      ...this.#inbox.recorded.rows.all(null).map(inView),
    ]
    return entries.filter(picks(filter))
  }

  /** Changes each row that is there. @returns how many were changed */
  #change(keys: readonly RegisterKey[], changes: RowChanges): Promise<number> {
    const locks = keys.flatMap(({ direction, consumer, id }) => {
      if (direction === 'in') return [inName(consumer, id)]
      const timer = this.#timers.rows.get(null, id)
      return timer === undefined ? [] : timerLocks(timer)
    })
    return this.#database.change(locks, (tx) => {
      const changed = keys.filter(({ direction, consumer, id }) => {
        if (direction === 'in') {
          const row = this.#inbox.recorded.rows.get(tx, inName(consumer, id))
          return row !== undefined && changes.in(tx, row)
        }
        const row = this.#outbox.rows.get(tx, id)
        return row === undefined ? changes.timer?.(tx, id) : changes.out(tx, row)
      })
      return changed.length
    })
  }
}

interface RowChanges {
  readonly out: (tx: OpenTransaction, row: OutRow) => boolean
  readonly timer?: (tx: OpenTransaction, id: string) => boolean
  readonly in: (tx: OpenTransaction, row: InRow) => boolean
}
