import type { ScheduleRow, Store } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import type { Outbox } from '../outbox/outbox.ts'
import type { Sendable, SendOptions } from '../outbox/outgoing.ts'
import { SdkError } from '../errors.ts'
import { ATTRIBUTE, METRIC } from '../telemetry/conventions.ts'
import { Pump } from '../work/pump.ts'
import { Absences } from './absences.ts'
import { loadCron, type Cron } from './cron.ts'
import { declarationOf, occurrenceId, type Declaration, type ScheduleOptions } from './declaration.ts'
import { dueOccurrences, NEVER } from './occurrences.ts'
import { isUnhandled } from './overlap.ts'

/** Between looks at what others have changed. */
const LOOK_MS = 30_000
/** Pause after a schedule failed: doubled each time, up to the maximum. The others go on. */
const FAILED_MS = 1_000
const FAILED_MS_MAX = 300_000

/** A declaration that runs in this process. */
interface Running {
  readonly declaration: Declaration
  readonly cron: Cron
  /** Whether this process has brought the store's row to its declaration, once. */
  claimed: boolean
  failures: number
  /** By the monotonic clock. */
  failedUntil: number
}

/**
 * Sends a message at each occurrence of a schedule. Any number of processes declare the same one; the store's row moves on
 * in the transaction that sends, so each occurrence becomes one message. When it is due, the store's clock decides.
 *
 * Of processes that declare a schedule differently, the one that started last is right: during a rolling deployment the
 * earlier ones leave it alone. What nobody looks after any more is taken over or removed, see {@link Absences}.
 */
export class Schedules<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #outbox: Outbox<Tx>
  readonly #consumersOf: (type: string) => readonly string[]
  readonly #declarations = new Map<string, Declaration>()
  readonly #pump: Pump
  readonly #absences: Absences
  #running: readonly Running[] | null = null

  /** @param consumersOf names of the consumers of a contract that have their inbox in this store */
  constructor(
    surroundings: Surroundings<Tx>,
    outbox: Outbox<Tx>,
    consumersOf: (type: string) => readonly string[] = () => [],
  ) {
    const { clock, activity, log } = surroundings
    this.#surroundings = surroundings
    this.#outbox = outbox
    this.#consumersOf = consumersOf
    this.#absences = new Absences(clock)
    this.#pump = new Pump({ name: 'schedules', clock, activity, log, turn: () => this.#turn() })
  }

  /**
   * Declares a schedule.
   *
   * @param expression cron: minute, hour, day of month, month, day of week; with six fields, seconds first
   * @param dataAt makes the data of the occurrence at that time
   * @throws {SdkError} `invalid_declaration`
   */
  every<In>(
    expression: string,
    options: ScheduleOptions,
    contract: Sendable<In>,
    dataAt: (at: Date) => NoInfer<In> | Promise<NoInfer<In>>,
  ): void {
    const declaration = declarationOf(expression, options, contract, dataAt)
    if (this.#running !== null)
      throw new SdkError('invalid_declaration', `declare the schedule "${options.name}" before the service is started`)
    if (this.#declarations.has(options.name))
      throw new SdkError('invalid_declaration', `two schedules have the name "${options.name}"; rename one`)
    this.#declarations.set(options.name, declaration)
  }

  /** @throws {SdkError} `peer_missing`, and `invalid_declaration` for an expression or time zone that cannot be read */
  async start(): Promise<void> {
    if (this.#declarations.size === 0) return
    this.#running = await this.#read()
    this.#pump.start()
  }

  /** Finds what {@link start} would find, and starts nothing. @throws {SdkError} as {@link start} */
  async check(): Promise<void> {
    if (this.#declarations.size > 0) await this.#read()
  }

  async stop(): Promise<void> {
    await this.#pump.stop()
    this.#running = null
  }

  async #read(): Promise<Running[]> {
    const readCron = await loadCron()
    return [...this.#declarations.values()].map((declaration) => ({
      declaration,
      cron: readCron(declaration.expression, declaration.timeZone, declaration.name),
      claimed: false,
      failures: 0,
      failedUntil: Number.NEGATIVE_INFINITY,
    }))
  }

  async #turn(): Promise<number> {
    const { clock, store } = this.#surroundings
    const rows = new Map((await store.schedules.list()).map((row) => [row.name, row]))
    const now = await store.now()
    await this.#removeAbandoned(rows, now)
    let pauseMs = LOOK_MS
    for (const running of this.#running ?? []) {
      const failedMs = running.failedUntil - clock.monotonic()
      const wantedMs = failedMs > 0 ? failedMs : await this.#advance(running, rows.get(running.declaration.name), now)
      pauseMs = Math.min(pauseMs, wantedMs)
    }
    return pauseMs
  }

  /** Brings one schedule up to now. A failure of the declaration's own code stays with it. @returns when to look again, in ms */
  async #advance(running: Running, row: ScheduleRow | undefined, now: number): Promise<number> {
    const { clock, log } = this.#surroundings
    try {
      const nextAt = await this.#advanceTo(running, row, now)
      running.failures = 0
      return nextAt === null ? LOOK_MS : Math.max(nextAt - now, 0)
    } catch (error) {
      if (error instanceof SdkError && (error.code === 'store_down' || error.code === 'conflict')) throw error
      const pauseMs = Math.min(FAILED_MS * 2 ** running.failures++, FAILED_MS_MAX)
      running.failedUntil = clock.monotonic() + pauseMs
      const schedule = running.declaration.name
      log.error({ err: error, schedule, againInMs: pauseMs }, 'an occurrence could not be sent; it is tried again')
      return pauseMs
    }
  }

  /** @returns when it is due next, as far as this process is concerned; null when that is up to others */
  async #advanceTo(running: Running, row: ScheduleRow | undefined, now: number): Promise<number | null> {
    const { declaration, cron } = running
    const { name, definition } = declaration
    if (row === undefined) {
      const first = { name, definition, nextAt: cron.next(now) ?? NEVER, lastAt: null }
      running.claimed = true
      return (await this.#save(first, null)) ? first.nextAt : now
    }
    if (row.definition !== definition) {
      if (running.claimed && !this.#absences.abandoned(row, now)) return null
      running.claimed = true
      // What is overdue stays so: it is for the new declaration to say what happens with what was missed.
      const nextAt = cron.next(Math.min(now, row.nextAt - 1)) ?? NEVER
      await this.#save({ ...row, definition, nextAt }, row)
      return now
    }
    running.claimed = true
    return row.nextAt > now ? row.nextAt : this.#fire(running, row, now)
  }

  async #fire({ declaration, cron }: Running, row: ScheduleRow, now: number): Promise<number> {
    const { store, telemetry } = this.#surroundings
    const { contract, dataAt, name, overlap } = declaration
    const due = dueOccurrences(cron, row.nextAt, now, declaration.missed)
    const { fire, left } =
      overlap === 'skip' ? await this.#withoutOverlap(declaration, row, due.fire, now) : { fire: due.fire, left: 0 }
    // A contract's own key says what is to be done one after the other.
    const queued = overlap === 'queue' && !contract.keyed
    const messages: [Sendable<unknown>, unknown, SendOptions][] = []
    for (const at of fire) {
      const id = occurrenceId(name, at)
      messages.push([contract, await dataAt(new Date(at)), queued ? { id, key: name } : { id }])
    }
    const next = { ...row, nextAt: due.nextAt, lastAt: fire.at(-1) ?? row.lastAt }
    const buffer = await store.transaction(async (tx) => {
      // Another process was faster: the occurrences are its.
      if (!(await store.schedules.save(tx, next, row))) return null
      const outgoing = this.#outbox.unlimitedBuffer(tx)
      await outgoing.scopeOf(null).publishAll(messages)
      await outgoing.flush()
      return outgoing
    })
    if (buffer === null) return now
    buffer.committed()
    const attributes = { [ATTRIBUTE.schedule]: name }
    if (fire.length > 0) telemetry.count(METRIC.schedulesFired, fire.length, attributes)
    if (due.passed + left > 0) telemetry.count(METRIC.schedulesSkipped, due.passed + left, attributes)
    return next.nextAt
  }

  /** At most the newest, and that only when the one before is done with. */
  async #withoutOverlap(
    { name, contract }: Declaration,
    row: ScheduleRow,
    fire: readonly number[],
    now: number,
  ): Promise<{ fire: readonly number[]; left: number }> {
    if (fire.length === 0) return { fire, left: 0 }
    // What was handled longer ago than the inbox remembers cannot be told from what was not handled.
    const judged = row.lastAt !== null && now - row.lastAt < this.#outbox.rememberedMs
    const overlaps =
      judged &&
      (await isUnhandled(this.#surroundings.store, occurrenceId(name, row.lastAt), this.#consumersOf(contract.name)))
    return overlaps ? { fire: [], left: fire.length } : { fire: fire.slice(-1), left: fire.length - 1 }
  }

  async #save(row: ScheduleRow, expected: ScheduleRow | null): Promise<boolean> {
    const store: Store<Tx> = this.#surroundings.store
    return store.transaction((tx) => store.schedules.save(tx, row, expected))
  }

  async #removeAbandoned(rows: ReadonlyMap<string, ScheduleRow>, now: number): Promise<void> {
    const { log, store } = this.#surroundings
    this.#absences.keepOnly(new Set(rows.keys()))
    for (const row of rows.values()) {
      if (this.#declarations.has(row.name) || !this.#absences.abandoned(row, now)) continue
      await store.schedules.remove(row.name)
      log.info({ schedule: row.name }, 'a schedule that no process declares any more was removed')
    }
  }
}
