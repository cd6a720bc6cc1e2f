import { SdkError } from '../../errors.ts'
import type { Locks } from './locks.ts'
import type { Rows, Writable, Writer, Written } from './rows.ts'

/** The handle of a transaction of the memory store. */
export interface MemoryTransaction {
  /** A table of the user's own, made when it is first used. */
  table<T>(name: string): MemoryTable<T>
}

/** Rows of the user's own, by their keys. What comes out is a copy of what was put in. */
export interface MemoryTable<T> {
  /** Reads a row and locks it until the transaction ends, so that what is written next is based on it. */
  get(key: string): Promise<T | undefined>
  set(key: string, row: T): Promise<void>
  /** @returns whether there was one */
  delete(key: string): Promise<boolean>
  /** All rows, as this transaction sees them, in the order of their keys; locks nothing. */
  list(): Promise<readonly T[]>
}

/** What is kept of a row of the user's. */
export interface UserRow {
  readonly key: string
  readonly value: unknown
}

type TableOf = (name: string) => Rows<UserRow>

/**
 * A transaction: what it wrote is in its own hands until it commits, and its locks are held until it ends. Isolation is
 * that of PostgreSQL's READ COMMITTED.
 */
export class OpenTransaction implements MemoryTransaction, Writer {
  readonly #locks: Locks
  readonly #tableOf: TableOf
  readonly #written = new Map<Writable, Written>()
  #open = true

  constructor(locks: Locks, tableOf: TableOf) {
    this.#locks = locks
    this.#tableOf = tableOf
  }

  get open(): boolean {
    return this.#open
  }

  /** Takes locks one after the other, sorted, so that two that want the same ones do not wait for each other. */
  async lock(names: Iterable<string>): Promise<void> {
    for (const name of [...new Set(names)].toSorted()) {
      this.#check()
      await this.#locks.take(this, name)
    }
    this.#check()
  }

  tryLock(name: string): boolean {
    return this.#locks.tryTake(this, name)
  }

  written(rows: Writable): Written | null {
    return this.#written.get(rows) ?? null
  }

  writing(rows: Writable): Written {
    this.#check()
    const written = this.#written.get(rows) ?? new Map<string, unknown>()
    this.#written.set(rows, written)
    return written
  }

  commit(): void {
    this.#check()
    for (const [rows, written] of this.#written) rows.commit(written)
    this.end()
  }

  /** Forgets what was written and not committed, and lets the locks go. */
  end(): void {
    this.#open = false
    this.#written.clear()
    this.#locks.release(this)
  }

  table<T>(name: string): MemoryTable<T> {
    const rows = this.#tableOf(name)
    const lockName = (key: string) => JSON.stringify(['table', name, key])
    return {
      get: async (key) => {
        await this.lock([lockName(key)])
        return structuredClone(rows.get(this, key)?.value) as T | undefined
      },
      set: async (key, row) => {
        const value = structuredClone(row)
        await this.lock([lockName(key)])
        rows.put(this, key, { key, value })
      },
      delete: async (key) => {
        await this.lock([lockName(key)])
        const there = rows.get(this, key) !== undefined
        rows.delete(this, key)
        return there
      },
      list: async () => {
        this.#check()
        return valuesOf<T>(rows.all(this))
      },
    }
  }

  #check(): void {
    if (!this.#open)
      throw new SdkError('transaction_over', 'the transaction has ended; await all that is done in it before it ends')
  }
}

/** Copies of rows, in the order of their keys. */
export function valuesOf<T>(rows: readonly UserRow[]): T[] {
  const sorted = rows.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  return sorted.map(({ value }) => structuredClone(value) as T)
}
