import type { Draft, TimerDraft, TimerStore } from '../port.ts'
import type { MemoryDatabase } from './database.ts'
import { draftLocks, type MemoryOutbox } from './outbox.ts'
import { Rows } from './rows.ts'
import type { MemoryTransaction, OpenTransaction } from './transaction.ts'

export interface TimerRow extends TimerDraft {
  readonly createdAt: number
  readonly serial: number
}

const timerLock = (id: string): string => JSON.stringify(['timer', id])
const nameLock = (name: string): string => JSON.stringify(['timer name', name])

/** Names of the locks that belong to a timer. */
export const timerLocks = ({ draft, cancelKey }: TimerDraft): string[] =>
  cancelKey === null ? [timerLock(draft.id)] : [timerLock(draft.id), nameLock(cancelKey)]

/** Messages to send later, in memory. */
export class MemoryTimers implements TimerStore<MemoryTransaction> {
  readonly rows = new Rows<TimerRow>()
  /** Ids of the messages of named timers. */
  readonly #names = new Rows<string>()
  readonly #database: MemoryDatabase
  readonly #outbox: MemoryOutbox

  constructor(database: MemoryDatabase, outbox: MemoryOutbox) {
    this.#database = database
    this.#outbox = outbox
  }

  async set(tx: MemoryTransaction, timers: readonly TimerDraft[]): Promise<void> {
    const own = this.#database.own(tx)
    await own.lock(timers.flatMap(timerLocks))
    const createdAt = this.#database.now()
    for (const timer of timers) {
      const { cancelKey, draft } = timer
      const replaced = cancelKey === null ? undefined : this.#names.get(own, cancelKey)
      if (replaced !== undefined) this.remove(own, replaced)
      if (this.rows.get(own, draft.id) ?? this.#outbox.rows.get(own, draft.id)) continue
      this.rows.put(own, draft.id, { ...timer, createdAt, serial: this.#database.serial() })
      if (cancelKey !== null) this.#names.put(own, cancelKey, draft.id)
    }
  }

  async cancel(tx: MemoryTransaction, cancelKey: string): Promise<boolean> {
    const own = this.#database.own(tx)
    await own.lock([nameLock(cancelKey)])
    const id = this.#names.get(own, cancelKey)
    return id !== undefined && this.remove(own, id)
  }

  async fire(limit: number, bytesMax = Infinity): Promise<number> {
    return this.#database.change([], (tx) => this.#move(tx, limit, bytesMax))
  }

  async nextDue(): Promise<number | null> {
    let earliest: number | null = null
    for (const { dueAt } of this.rows.live(null)) earliest = Math.min(earliest ?? dueAt, dueAt)
    return earliest
  }

  /** @returns whether there was one */
  remove(tx: OpenTransaction, id: string): boolean {
    const row = this.rows.get(tx, id)
    if (row === undefined) return false
    this.rows.delete(tx, id)
    if (row.cancelKey !== null) this.#names.delete(tx, row.cancelKey)
    return true
  }

  #due(): TimerRow[] {
    const now = this.#database.now()
    const due = this.rows.live(null).filter(({ dueAt }) => dueAt <= now)
    return due.toSorted((a, b) => a.dueAt - b.dueAt || a.serial - b.serial)
  }

  /** Moves those that nobody is about to cancel and whose key nobody holds; it waits for nobody. */
  #move(tx: OpenTransaction, limit: number, bytesMax: number): number {
    const free: Draft[] = []
    let bytes = 0
    for (const row of this.#due()) {
      if (free.length === limit) break
      if (![...timerLocks(row), ...draftLocks([row.draft])].every((name) => tx.tryLock(name))) continue
      bytes += row.draft.body.byteLength
      if (bytes > bytesMax && free.length > 0) break
      free.push(row.draft)
    }
    for (const { id } of free) this.remove(tx, id)
    this.#outbox.insert(tx, free)
    return free.length
  }
}
