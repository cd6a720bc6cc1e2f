import type { ScheduleRow, ScheduleStore } from '../port.ts'
import type { MemoryDatabase } from './database.ts'
import { Rows } from './rows.ts'
import type { MemoryTransaction } from './transaction.ts'

const lockName = (name: string): string => JSON.stringify(['schedule', name])

/** Schedules, in memory. */
export class MemorySchedules implements ScheduleStore<MemoryTransaction> {
  readonly #rows = new Rows<ScheduleRow>()
  readonly #database: MemoryDatabase

  constructor(database: MemoryDatabase) {
    this.#database = database
  }

  async list(): Promise<readonly ScheduleRow[]> {
    return this.#rows.all(null)
  }

  async save(tx: MemoryTransaction, row: ScheduleRow, expected: ScheduleRow | null): Promise<boolean> {
    const own = this.#database.own(tx)
    await own.lock([lockName(row.name)])
    const there = this.#rows.get(own, row.name)
    const asExpected = there === undefined ? expected === null : expected !== null && same(there, expected)
    if (asExpected) this.#rows.put(own, row.name, row)
    return asExpected
  }

  remove(name: string): Promise<void> {
    return this.#database.change([lockName(name)], (tx) => this.#rows.delete(tx, name))
  }
}

function same(a: ScheduleRow, b: ScheduleRow): boolean {
  return a.name === b.name && a.definition === b.definition && a.nextAt === b.nextAt && a.lastAt === b.lastAt
}
