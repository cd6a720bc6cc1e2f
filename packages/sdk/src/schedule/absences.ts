import type { Clock } from '../time/clock.ts'
import type { ScheduleRow } from '../store/port.ts'

/** How long a schedule has to be overdue before our eyes until we believe that nobody has it any more. */
const GRACE_MS = 300_000

/**
 * Finds schedules that nobody looks after. Whoever declares one sends its occurrences on time, so one that stays overdue
 * while we watch has been left by a deployment. Before our own start it may have been overdue because nothing was running;
 * that proves nothing, since its processes may be starting now, too.
 */
export class Absences {
  readonly #clock: Clock
  readonly #overdue = new Map<
    string,
    { readonly nextAt: number; readonly definition: string; readonly since: number }
  >()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** To be asked again and again. @param now the store's time */
  abandoned(row: ScheduleRow, now: number): boolean {
    const { name, nextAt, definition } = row
    if (nextAt > now) {
      this.#overdue.delete(name)
      return false
    }
    const seen = this.#overdue.get(name)
    if (seen?.nextAt === nextAt && seen.definition === definition)
      return this.#clock.monotonic() - seen.since >= GRACE_MS
    this.#overdue.set(name, { nextAt, definition, since: this.#clock.monotonic() })
    return false
  }

  /** Forgets those that are not there any more. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const name of this.#overdue.keys()) if (!names.has(name)) this.#overdue.delete(name)
  }
}
