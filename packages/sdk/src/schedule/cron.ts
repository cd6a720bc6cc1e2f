import { SdkError } from '../errors.ts'
import { loadPeer } from '../peer.ts'

/** The occurrences of a cron expression in a time zone. Times are ms since 1970. */
export interface Cron {
  /** The first one later than `after`; null when there is none. */
  next(after: number): number | null
  /** The last one earlier than `before`; null when there is none. */
  previous(before: number): number | null
}

/** Reads expressions of five fields, or six with seconds first. `who` is for the message when it cannot be read. */
export type ReadCron = (expression: string, timeZone: string, who: string) => Cron

/**
 * Loads croner, which knows the rules of time zones: what falls into the hour that is left out in spring happens right after
 * it, what is in the hour that comes twice in autumn happens once; expressions with `*` or `/` in hours follow the clock.
 *
 * @throws {SdkError} `peer_missing`, `peer_unusable`
 */
export async function loadCron(): Promise<ReadCron> {
  const { Cron: Croner } = await loadPeer({
    name: 'croner',
    what: 'schedules',
    load: () => import('croner'),
    needs: ['Cron'],
  })
  return (expression, timeZone, who) => {
    try {
      const job = new Croner(expression, { timezone: timeZone, mode: '5-or-6-parts', paused: true })
      // A time zone that does not exist is found only when it is used.
      if (job.nextRun(new Date(0)) === null) throw new Error('it never occurs')
      return {
        next: (after) => job.nextRun(new Date(after))?.getTime() ?? null,
        previous: (before) => job.previousRuns(1, new Date(before))[0]?.getTime() ?? null,
      }
    } catch (error) {
      throw new SdkError(
        'invalid_declaration',
        `the schedule ${JSON.stringify(who)} has the expression ${JSON.stringify(expression)} in the time zone ${JSON.stringify(timeZone)}, which cannot be read: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      )
    }
  }
}
