import { systemRandom, type Random } from '../../random.ts'
import { SdkError } from '../../errors.ts'
import { systemClock, type Clock, type Timer } from '../../time/clock.ts'
import { Database } from './database.ts'
import { SqlInbox } from './inbox.ts'
import { Migration } from './migration.ts'
import { SqlOutbox } from './outbox.ts'
import { SqlRates } from './rates.ts'
import { SqlRegister } from './register.ts'
import { SqlSchedules } from './schedules.ts'
import { SqlTimers } from './timers.ts'
import { dialectOf } from './dialects.ts'
import type { SqlDriver } from './driver.ts'
import type { Store } from '../port.ts'

export interface SqlStoreOptions {
  /** What the tables' names begin with. Default: `stathmos_`. */
  readonly prefix?: string
  /** The schema (MySQL: the database) that the tables are in; made by `migrate()` where that is missing. Default: the client's. */
  readonly schema?: string
  /** Spreads the messages without a key over the buckets. Default: the operating system's. */
  readonly random?: Random
  /** For the pause between two notifications. Default: the machine's. */
  readonly clock?: Clock
  /** SQL of the time in ms since 1970 instead of the database's own, for tests that move it. */
  readonly timeSql?: string
}

/** At most one notification in this time: each costs all who listen a look at the store. */
const NOTIFY_PAUSE_MS = 25

/** A name that needs no quotes in any database. */
const NAME = /^[a-z_][a-z0-9_]{0,39}$/

/** A store in a SQL database, reached through any client. */
export function sqlStore<Tx>(driver: SqlDriver<Tx>, options: SqlStoreOptions = {}): Store<Tx> {
  const prefix = named(options.prefix ?? 'stathmos_', 'prefix')
  const schema = options.schema === undefined ? '' : `${named(options.schema, 'schema')}.`
  const db = new Database(driver, dialectOf(driver.dialect), schema + prefix, options.timeSql)
  const migration = new Migration(
    db,
    prefix,
    options.schema === undefined ? [] : [`create schema if not exists ${options.schema}`],
  )
  const outbox = new SqlOutbox(db, options.random ?? systemRandom)
  const inbox = new SqlInbox(db)
  const bell = new Bell(options.clock ?? systemClock, async () => driver.notify?.(`${schema}${prefix}outbox`))
  return {
    name: driver.name,
    oneWriter: driver.dialect === 'sqlite',
    isTransaction: (handle): handle is Tx => driver.isTransaction(handle),
    transaction: (work) => db.transaction(work),
    migrate: () => migration.migrate(),
    check: () => migration.check(),
    now: (tx) => db.time(tx === undefined ? null : db.within(tx)),
    watch: (changed) => driver.watch?.(`${schema}${prefix}outbox`, changed) ?? (() => {}),
    notify: () => bell.ring(),
    outbox,
    timers: new SqlTimers(db, outbox),
    inbox,
    schedules: new SqlSchedules(db),
    rates: new SqlRates(db),
    register: new SqlRegister(db, outbox, inbox),
    async close() {
      bell.close()
      await driver.close()
    },
  }
}

/** Notifies at once, and then once more for all that came during the pause. */
class Bell {
  readonly #clock: Clock
  readonly #notify: () => Promise<void>
  #pause: Timer | null = null
  #again = false

  constructor(clock: Clock, notify: () => Promise<void>) {
    this.#clock = clock
    this.#notify = notify
  }

  async ring(): Promise<void> {
    if (this.#pause !== null) {
      this.#again = true
      return
    }
    this.#pause = this.#clock.after(NOTIFY_PAUSE_MS, () => {
      this.#pause = null
      // A watcher looks from time to time by itself: a notification that is lost is a delay, and nothing else.
      if (this.#again) void this.ring().catch(() => {})
      this.#again = false
    })
    await this.#notify()
  }

  close(): void {
    this.#pause?.cancel()
    this.#pause = null
    this.#again = false
  }
}

function named(name: string, option: string): string {
  if (NAME.test(name)) return name
  throw new SdkError(
    'invalid_declaration',
    `${option} "${name}" of the store: at most 40 lower-case letters, digits and _, the first no digit`,
  )
}
