import { SdkError } from '../errors.ts'
import type { RegisterEntry, RegisterFilter, RegisterKey, RegisterState, RegisterStore } from '../store/port.ts'

/** Which messages: one by its id, several by theirs, or all that a filter lets through. */
export type Selection = string | readonly string[] | RegisterFilter

/** Messages that are read at once. */
export const PAGE = 500

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

/** Every message of the selection, oldest first within each filter, read page by page. */
export async function* entriesOf(
  register: RegisterStore,
  filters: readonly RegisterFilter[],
): AsyncGenerator<RegisterEntry> {
  for (const filter of filters) {
    let after: string | null = null
    do {
      const page: Awaited<ReturnType<RegisterStore['list']>> = await register.list(filter, PAGE, after)
      yield* page.entries
      after = page.next
    } while (after !== null)
  }
}

export function keyOf({ direction, consumer, id }: RegisterEntry): RegisterKey {
  return { direction, consumer, id }
}

/**
 * The one message of an id, of one consumer where several received it.
 *
 * @throws {SdkError} `not_found`, also when it could be several
 */
export async function oneOf(register: RegisterStore, id: string, consumer: string | undefined): Promise<RegisterEntry> {
  const { entries } = await register.list(consumer === undefined ? { id } : { id, consumer }, PAGE, null)
  const [entry, ...others] = entries
  if (entry === undefined)
    throw new SdkError(
      'not_found',
      `there is no message ${id} in the register${consumer === undefined ? '' : ` of ${consumer}`}; what was sent and is not kept is gone from it`,
    )
  if (others.length === 0) return entry
  const places = entries.map((each) => (each.direction === 'out' ? 'the outbox ("")' : each.consumer)).join(', ')
  throw new SdkError('not_found', `the message ${id} is in the register several times; name the consumer: ${places}`)
}

function isIds(selection: Selection): selection is readonly string[] {
  return Array.isArray(selection)
}
