import type { Cron } from './cron.ts'

/** What happens with occurrences at whose time no process was running. */
export type Missed = 'skip' | 'once' | 'all'

/** An occurrence that becomes a message later than this was missed; until then it is merely late. */
const MISSED_MS = 60_000
/** Occurrences that become messages in one transaction. */
const OCCURRENCES_MAX = 100
/** Where there is no next occurrence: the end of the year 9999. */
export const NEVER = 253_402_300_799_000

export interface DueOccurrences {
  /** Those that become messages now, earliest first. */
  readonly fire: readonly number[]
  /** How many, of those that were looked at, do not become messages; 1 stands for any number of missed ones. */
  readonly passed: number
  /** The first that is not decided on. */
  readonly nextAt: number
}

/** What of a schedule is due, whose first undecided occurrence is at `nextAt`. */
export function dueOccurrences(cron: Cron, nextAt: number, now: number, missed: Missed): DueOccurrences {
  if (nextAt > now) return { fire: [], passed: 0, nextAt }
  const lateAt = now - MISSED_MS
  if (missed === 'all' || nextAt >= lateAt) return { ...from(cron, nextAt, now), passed: 0 }
  // Between the first missed one and now there may be millions.
  const onTime = from(cron, cron.next(lateAt - 1) ?? NEVER, now)
  if (onTime.fire.length > 0 || missed === 'skip') return { ...onTime, passed: 1 }
  const last = cron.previous(now + 1) ?? nextAt
  return { fire: [last], passed: last === nextAt ? 0 : 1, nextAt: onTime.nextAt }
}

function from(cron: Cron, first: number, now: number): { fire: number[]; nextAt: number } {
  const fire: number[] = []
  let at = first
  while (at <= now && fire.length < OCCURRENCES_MAX) {
    fire.push(at)
    at = cron.next(at) ?? NEVER
  }
  return { fire, nextAt: at }
}
