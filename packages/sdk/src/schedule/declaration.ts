import type { Sendable } from '../outbox/outgoing.ts'
import type { Missed } from './occurrences.ts'
import { SdkError } from '../errors.ts'
import { isStorable } from '../message/storable-text.ts'

/** Characters of a name: with the time behind it, it is a message's id. */
const NAME_CHARS_MAX = 150

/** How a schedule behaves, besides when it is due. */
export interface ScheduleOptions {
  /** Unique in the service, and the same for as long as the schedule is: the ids of its messages are made of it. */
  readonly name: string
  /** IANA time zone whose clock the expression means. Default `UTC`, on whatever machine. */
  readonly tz?: string
  /**
   * When nothing was running at the time: `once` makes up for the last one only, `all` for each, `skip` for none.
   * Default `once`.
   */
  readonly missed?: Missed
  /**
   * When the one before is not handled yet: `allow` sends regardless; `queue` sends too, with the schedule's name as the key
   * of a contract without one, so that an ordered handler does one after the other; `skip` leaves it out. Default `allow`.
   */
  readonly overlap?: 'skip' | 'queue' | 'allow'
}

/** A schedule as the program declares it. */
export interface Declaration {
  readonly name: string
  readonly expression: string
  readonly timeZone: string
  readonly missed: Missed
  readonly overlap: 'skip' | 'queue' | 'allow'
  readonly contract: Sendable<unknown>
  readonly dataAt: (at: Date) => unknown
  /** All of it that decides when messages are sent, and which: compared with what is in the store. */
  readonly definition: string
}

/** @throws {SdkError} `invalid_declaration` */
export function declarationOf(
  expression: string,
  options: ScheduleOptions,
  contract: Sendable<never>,
  dataAt: (at: Date) => unknown,
): Declaration {
  const { name, tz: timeZone = 'UTC', missed = 'once', overlap = 'allow' } = options
  if (name.length === 0 || name.length > NAME_CHARS_MAX)
    throw new SdkError(
      'invalid_declaration',
      `the name of a schedule has ${name.length} characters; it needs 1 to ${NAME_CHARS_MAX}`,
    )
  if (!isStorable(name))
    throw new SdkError(
      'invalid_declaration',
      `the name of the schedule ${JSON.stringify(name)} has a NUL or half a surrogate pair in it, which no database keeps`,
    )
  return {
    name,
    expression,
    timeZone,
    missed,
    overlap,
    contract: contract as Sendable<unknown>,
    dataAt,
    definition: JSON.stringify([expression, timeZone, missed, overlap, contract.kind, contract.name]),
  }
}

/** The id of the message that an occurrence becomes, whoever sends it. */
export function occurrenceId(name: string, at: number): string {
  return `${name}@${new Date(at).toISOString()}`
}
