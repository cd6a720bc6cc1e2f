import { systemClock, type Clock } from '../../time/clock.ts'
import type { Store } from '../port.ts'
import { MemoryDatabase } from './database.ts'
import { MemoryInbox } from './inbox.ts'
import { MemoryOutbox } from './outbox.ts'
import { MemoryRates } from './rates.ts'
import { MemoryRegister } from './register.ts'
import { MemorySchedules } from './schedules.ts'
import { MemoryTimers } from './timers.ts'
import { valuesOf, type MemoryTransaction } from './transaction.ts'

export type { MemoryTable, MemoryTransaction } from './transaction.ts'

/** A store in memory, for tests and examples: everything is gone with the process. */
export interface MemoryStore extends Store<MemoryTransaction> {
  /** A table of the user's own as the committed transactions left it. Its rows are copies. */
  table<T>(name: string): {
    get(key: string): T | undefined
    /** In the order of the keys. */
    list(): readonly T[]
  }
}

export interface MemoryStoreOptions {
  /** The database's clock. Default: the machine's. */
  readonly clock?: Clock
}

/**
 * A store that keeps everything in this process. Its transactions are real ones, as PostgreSQL has them at READ COMMITTED:
 * what they write is seen by others when they commit, and undone when they fail; two that use the same key, message, timer
 * or row wait for each other, and others do not. Of two that wait for each other in a circle one is refused with
 * `conflict`. Several services may share one, as they may share a database.
 */
export function memoryStore({ clock = systemClock }: MemoryStoreOptions = {}): MemoryStore {
  const database = new MemoryDatabase(clock)
  const outbox = new MemoryOutbox(database)
  const timers = new MemoryTimers(database, outbox)
  const inbox = new MemoryInbox(database)
  const schedules = new MemorySchedules(database)
  const rates = new MemoryRates(database)
  const register = new MemoryRegister(database, outbox, timers, inbox)
  return {
    name: 'memory',
    outbox,
    timers,
    inbox,
    schedules,
    rates,
    register,
    isTransaction: (handle) => database.isTransaction(handle),
    transaction: (work) => database.transaction(work),
    async migrate() {},
    async check() {},
    now: async () => database.now(),
    watch: (changed) =>
      database.watch(outbox.rows, ({ state, retryAt }) => state === 'pending' && retryAt === null, changed),
    notify: async () => database.notify(),
    async close() {},
    table<T>(name: string) {
      const rows = database.table(name)
      return {
        get: (key: string) => structuredClone(rows.get(null, key)?.value) as T | undefined,
        list: () => valuesOf<T>(rows.all(null)),
      }
    },
  }
}
