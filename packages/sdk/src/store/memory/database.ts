import { SdkError } from '../../errors.ts'
import type { Clock } from '../../time/clock.ts'
import { Locks } from './locks.ts'
import { Rows } from './rows.ts'
import { OpenTransaction, type MemoryTransaction, type UserRow } from './transaction.ts'

interface Watcher {
  readonly touched: (tx: OpenTransaction) => boolean
  readonly changed: () => void
}

/** Transactions, locks and time, for the parts of the memory store. */
export class MemoryDatabase {
  readonly #clock: Clock
  readonly #locks = new Locks()
  readonly #tables = new Map<string, Rows<UserRow>>()
  readonly #watchers = new Set<Watcher>()
  readonly #opened = new WeakSet<OpenTransaction>()
  #serial = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  /** Rises with every call, and never goes back when a transaction fails. */
  serial(): number {
    return ++this.#serial
  }

  table(name: string): Rows<UserRow> {
    const rows = this.#tables.get(name) ?? new Rows<UserRow>()
    this.#tables.set(name, rows)
    return rows
  }

  /** Commits when `work` resolves; undoes all of it when it rejects. */
  async transaction<T>(work: (tx: OpenTransaction) => Promise<T>): Promise<T> {
    const tx = this.#open()
    try {
      const result = await work(tx)
      this.#commit(tx)
      return result
    } finally {
      tx.end()
    }
  }

  /** Waits for locks and then does `work` in one go: nobody sees anything of it before all of it is done. */
  async change<T>(locks: Iterable<string>, work: (tx: OpenTransaction) => T): Promise<T> {
    const tx = this.#open()
    try {
      await tx.lock(locks)
      const result = work(tx)
      this.#commit(tx)
      return result
    } finally {
      tx.end()
    }
  }

  /** Calls `changed` after every commit of rows that are wanted, until the returned function is called. */
  watch<T>(rows: Rows<T>, wanted: (row: T) => boolean, changed: () => void): () => void {
    const touched = (tx: OpenTransaction) => {
      const written = tx.written(rows)?.values() as Iterable<T | undefined> | undefined
      return [...(written ?? [])].some((row) => row !== undefined && wanted(row))
    }
    const watcher = { touched, changed }
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** Calls everybody who watches. */
  notify(): void {
    for (const { changed } of this.#watchers) changed()
  }

  isTransaction(handle: unknown): handle is MemoryTransaction {
    return handle instanceof OpenTransaction && handle.open && this.#opened.has(handle)
  }

  /** @throws {SdkError} `not_a_transaction` */
  own(tx: MemoryTransaction): OpenTransaction {
    if (tx instanceof OpenTransaction && this.#opened.has(tx)) return tx
    throw new SdkError(
      'not_a_transaction',
      'this is no transaction of this store; hand in what store.transaction() gave',
    )
  }

  #open(): OpenTransaction {
    const tx = new OpenTransaction(this.#locks, (name) => this.table(name))
    this.#opened.add(tx)
    return tx
  }

  #commit(tx: OpenTransaction): void {
    const touched = [...this.#watchers].filter((watcher) => watcher.touched(tx))
    tx.commit()
    for (const { changed } of touched) changed()
  }
}
