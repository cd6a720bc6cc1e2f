import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import type {
  RegisterEntry,
  RegisterFilter,
  RegisterKey,
  RegisterReading,
  RegisterState,
  RegisterStore,
} from '../store/port.ts'

/** Which messages: one by its id, several by theirs, or all that a filter lets through. */
export type Selection = string | readonly string[] | RegisterFilter

/** Messages that are read at once. */
export const PAGE = 500

/** Bytes of their bodies and errors: as many as a relay has in memory. */
export const PAGE_BYTES_MAX = 16 * 1024 * 1024

/** For whoever only wants to know which messages there are. */
export const HEADS: RegisterReading = { bodies: false, errors: false }

/** Given up, or taken out of the way: an operator can have them tried again. */
export const RETRYABLE = ['parked', 'uncertain', 'cancelled', 'expired'] as const satisfies readonly RegisterState[]

/** Still to be sent or handled, or given up: an operator can take them out of the way. */
export const CANCELLABLE = [
  'scheduled',
  'pending',
  'waiting',
  'retrying',
  'uncertain',
  'parked',
] as const satisfies readonly RegisterState[]

/** The filters of a selection: those of an id find it in both directions and at every consumer. */
export function filtersOf(selection: Selection): readonly RegisterFilter[] {
  if (typeof selection === 'string') return [{ id: selection }]
  if (isIds(selection)) return selection.map((id) => ({ id }))
  return [selection]
}

/** Whether it names messages by id, so that nothing can be in it by accident. */
export function namesIds(selection: Selection): boolean {
  return typeof selection === 'string' || isIds(selection) || selection.id !== undefined
}

/**
 * Every message of the selection, oldest first within each filter, read page by page.
 *
 * @param reading is asked before every page
 */
export async function* entriesOf(
  register: RegisterStore,
  filters: readonly RegisterFilter[],
  reading: () => RegisterReading,
): AsyncGenerator<RegisterEntry> {
  for (const filter of filters) {
    let after: string | null = null
    do {
      const page: Awaited<ReturnType<RegisterStore['list']>> = await register.list(filter, PAGE, after, reading())
      yield* page.entries
      after = page.next
    } while (after !== null)
  }
}

export function keyOf({ direction, consumer, id }: RegisterEntry): RegisterKey {
  return { direction, consumer, id }
}

/**
 * The one parked message of an id, at one consumer where several gave it up.
 *
 * @throws {SdkError} `not_found`, also when it could be several
 */
export async function parkedOf(
  register: RegisterStore,
  id: string,
  consumer: string | undefined,
): Promise<RegisterEntry & { readonly message: Message }> {
  const { entries } = await register.list(consumer === undefined ? { id } : { id, consumer }, PAGE, null, HEADS)
  const [parked, ...others] = entries.filter(({ state }) => state === 'parked')
  if (others.length > 0)
    throw new SdkError('not_found', `${id} is parked several times; name the consumer: ${places(entries)}`)
  const [entry] =
    parked === undefined ? [] : (await register.list({ ...keyOf(parked), state: 'parked' }, 1, null)).entries
  if (entry !== undefined && entry.message !== null) return { ...entry, message: entry.message }
  const there = entries.map(({ state }) => state).join(', ')
  throw new SdkError(
    'not_found',
    there === ''
      ? `there is no message ${id} in the register${consumer === undefined ? '' : ` of ${consumer}`}; what was sent and is not kept is gone from it`
      : `the message ${id} is ${there}; only a parked one can be edited`,
  )
}

function places(entries: readonly RegisterEntry[]): string {
  return entries.map(({ direction, consumer }) => (direction === 'out' ? '"" for the outbox' : consumer)).join(', ')
}

function isIds(selection: Selection): selection is readonly string[] {
  return Array.isArray(selection)
}
