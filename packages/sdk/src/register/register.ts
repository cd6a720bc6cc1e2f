import type { Contract } from '../contract/contract.ts'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import { isStorable } from '../message/storable-text.ts'
import type { Purge, RegisterEntry, RegisterFilter, RegisterPage } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import { bulk, groupsOf, type BulkOptions, type BulkResult } from './bulk.ts'
import type { Pace } from './pace.ts'
import { SUBMISSIONS } from './submission.ts'
import {
  CANCELLABLE,
  filtersOf,
  keyOf,
  namesIds,
  PAGE,
  PAGE_BYTES_MAX,
  parkedOf,
  RETRYABLE,
  type Selection,
} from './selection.ts'

/** Which part of a list. */
export interface ListOptions {
  /** Entries of a page, at most 1000. Default 100. A page of large messages has fewer: it ends at 16 MiB. */
  readonly limit?: number
  /** Whether the messages themselves are read; otherwise `message` is null. Default true. */
  readonly bodies?: boolean
  /** `next` of the page before. */
  readonly after?: string | null
}

/** A message with what it says. */
export interface Inspected extends RegisterEntry {
  /** The data as a handler would get it; undefined when it cannot be read. */
  readonly data: unknown
  /** Why it cannot be read; null when it can. */
  readonly unreadable: string | null
}

/** Which of several copies of a message is meant. */
export interface EditOptions {
  /** Which consumer's message, where several received it; `''` for the one in the outbox. */
  readonly consumer?: string
}

/** What is deleted: one state, from an age on. */
export interface PurgeOptions {
  readonly state: Purge['state']
  /** Only what is at least so old. */
  readonly olderThan: Duration
  /** Only of these contracts, by their exact names. Default: of all. */
  readonly contracts?: readonly string[]
  readonly dryRun?: boolean
}

/** What a redrive does when nobody says how fast: a pace that a service beside its usual work can take. */
const REDRIVE_PACE: Pace = '50/s'
const LIMIT_MAX = 1000

const PURGEABLE = ['sent', 'done', 'parked', 'cancelled', 'expired'] as const satisfies readonly Purge['state'][]

/**
 * The messages that a service has to send, has sent, has received: for operators, their tools, and the service itself. It
 * shows what the store knows now; what others change meanwhile is left to them.
 */
export class Register<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #contractOf: (name: string) => Contract | undefined
  readonly #changed: () => void

  /**
   * @param contractOf the contracts that the program declares, by name
   * @param changed called when messages became due, to wake those who look for them
   */
  constructor(
    surroundings: Surroundings<Tx>,
    contractOf: (name: string) => Contract | undefined,
    changed: () => void = () => {},
  ) {
    this.#surroundings = surroundings
    this.#contractOf = contractOf
    this.#changed = changed
  }

  /** Oldest first; there is more as long as `next` is not null. @throws {SdkError} `invalid_declaration` */
  async list(filter: RegisterFilter = {}, options: ListOptions = {}): Promise<RegisterPage> {
    const { limit = 100, bodies = true, after = null } = options
    if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX)
      throw new SdkError('invalid_declaration', `limit is ${limit}; it must be a whole number from 1 to ${LIMIT_MAX}`)
    // Whatever somebody asks for over HTTP: nothing can have this id, and PostgreSQL would not look for it.
    if (filter.id !== undefined && !isStorable(filter.id)) return { entries: [], next: null }
    const reading = { bodies, bytesMax: PAGE_BYTES_MAX }
    return this.#surroundings.store.register.list(received(filter), limit, after, reading)
  }

  async count(filter: RegisterFilter = {}): Promise<number> {
    return this.#surroundings.store.register.count(received(filter))
  }

  /**
   * What the filter lets through, counted by direction, consumer, contract, state and last error, the largest group first.
   * No message is read, however many there are.
   */
  async groups(filter: RegisterFilter = {}): Promise<Pick<BulkResult, 'matched' | 'groups'>> {
    return groupsOf(this.#surroundings.store.register, received(filter))
  }

  /** Everything of that id, with its data: in the outbox, and at every consumer that received it. Empty when there is nothing. */
  async inspect(id: string): Promise<readonly Inspected[]> {
    if (!isStorable(id)) return []
    const { entries } = await this.#surroundings.store.register.list({ id }, PAGE, null)
    return Promise.all(entries.map((entry) => this.#read(entry)))
  }

  /**
   * Has messages that were given up tried again, now, in their places in their keys. By id it takes whatever is `parked`,
   * `uncertain`, `cancelled` or `expired`; by a filter without a state only what is `parked`, so that nothing is done again
   * that somebody took out of the way. Messages that come later are not touched.
   */
  async retry(selection: Selection, options: BulkOptions = {}): Promise<BulkResult> {
    return this.#bulk(selection, options, namesIds(selection) ? RETRYABLE : ['parked'], RETRYABLE, (keys) =>
      this.#surroundings.store.register.retry(keys),
    )
  }

  /** {@link retry} of many: at most 50 in a second, unless another rate is given. */
  async redrive(filter: RegisterFilter = {}, options: BulkOptions = {}): Promise<BulkResult> {
    return this.retry(filter, { rate: REDRIVE_PACE, ...options })
  }

  /**
   * Takes messages that are not sent, done or running out of the way, and frees their keys. By a filter it has to be said
   * which: one that lets everything through is refused.
   *
   * @throws {SdkError} `invalid_declaration`
   */
  async cancel(selection: Selection, options: BulkOptions = {}): Promise<BulkResult> {
    if (!namesIds(selection) && Object.values(selection).every((value) => value === undefined))
      throw new SdkError(
        'invalid_declaration',
        'everything would be cancelled; say which messages, by id or by a filter',
      )
    return this.#bulk(selection, options, CANCELLABLE, CANCELLABLE, (keys) =>
      this.#surroundings.store.register.cancel(keys),
    )
  }

  /**
   * Replaces the data of a parked message: a new message takes its place in its key, with the old one as its cause, and is
   * due now; the old one is cancelled and stays as it was.
   *
   * @param data as a sender of the contract would give it
   * @returns the new message's id
   * @throws {SdkError} `not_found` when there is no such parked message, `invalid_data`, `unknown_contract` when the
   *   program does not declare its contract, `refused` when the data is about another key
   */
  async edit(id: string, data: unknown, { consumer }: EditOptions = {}): Promise<string> {
    const { store, newId } = this.#surroundings
    const entry = await parkedOf(store.register, id, consumer)
    const { message, type } = entry
    const contract = this.#contractOf(type)
    if (contract === undefined)
      throw new SdkError('unknown_contract', `${id} is a "${type}", which this program does not declare`)
    // The contract itself says whether it is what a sender may give.
    const editedId = newId()
    const encoded = await contract.encode(data as never, editedId)
    if (contract.keyed && encoded.key !== message.key)
      throw new SdkError(
        'refused',
        `the data is about ${JSON.stringify(encoded.key)} and the message ${id} about ${JSON.stringify(message.key)}; cancel it and send a new one`,
      )
    const edited: Message = {
      ...message,
      id: editedId,
      version: encoded.version,
      contentType: encoded.contentType,
      body: encoded.body,
      metadata: { ...message.metadata, causationId: id },
    }
    await store.register.replace(keyOf(entry), edited)
    this.#changed()
    return edited.id
  }

  /**
   * Deletes messages that nothing more will happen to. Those that are `done` are a consumer's memory: what is delivered
   * again after that is handled again.
   *
   * @returns how many were deleted, or would be
   * @throws {SdkError} `invalid_declaration` for another state, or a pattern in place of a contract's name
   */
  async purge({ state, olderThan, contracts, dryRun = false }: PurgeOptions): Promise<number> {
    const { register } = this.#surroundings.store
    // Programs without types ask as well, and what was not sent yet must not be lost by a slip.
    if (!(PURGEABLE as readonly string[]).includes(state))
      throw new SdkError(
        'invalid_declaration',
        `what is "${state}" is not deleted, because something has still to happen to it; ${PURGEABLE.join(', ')} messages are`,
      )
    const pattern = contracts?.find((contract) => contract.includes('*'))
    if (pattern !== undefined)
      throw new SdkError(
        'invalid_declaration',
        `"${pattern}" is a pattern, by which nothing is deleted; name each contract`,
      )
    const before = (await this.#surroundings.store.now()) - milliseconds(olderThan)
    if (dryRun) {
      if (contracts === undefined) return register.count({ state, before })
      let count = 0
      for (const contract of new Set(contracts)) count += await register.count({ state, before, contract })
      return count
    }
    const what = { state, before, ...(contracts === undefined ? {} : { contracts: { only: contracts } }) }
    let purged = 0
    for (let last = PAGE; last >= PAGE; purged += last) last = await register.purge(what, PAGE)
    return purged
  }

  async #bulk(
    selection: Selection,
    options: BulkOptions,
    states: readonly (typeof CANCELLABLE | typeof RETRYABLE)[number][],
    allowed: readonly string[],
    change: Parameters<typeof bulk>[0]['change'],
  ): Promise<BulkResult> {
    const { store, clock } = this.#surroundings
    // What becomes due by this, fails and comes back is not taken up again, and neither is what comes meanwhile.
    const until = (await store.now()) + 1
    const filters = filtersOf(selection).map((filter) => ({
      ...filter,
      state: [filter.state ?? states].flat().filter((state) => allowed.includes(state)),
      before: Math.min(filter.before ?? until, until),
    }))
    const result = await bulk({
      register: store.register,
      clock,
      filters,
      options,
      contractOf: this.#contractOf,
      change: async (keys) => {
        const changed = await change(keys)
        if (changed > 0) this.#changed()
        return changed
      },
    })
    return result
  }

  async #read(entry: RegisterEntry): Promise<Inspected> {
    const contract = this.#contractOf(entry.type)
    if (entry.message === null) return { ...entry, data: undefined, unreadable: 'its body is no longer kept' }
    if (contract === undefined)
      return { ...entry, data: undefined, unreadable: `this program declares no contract "${entry.type}"` }
    try {
      return { ...entry, data: await contract.decode(entry.message), unreadable: null }
    } catch (error) {
      return { ...entry, data: undefined, unreadable: error instanceof Error ? error.message : String(error) }
    }
  }
}

/** That something was submitted is remembered beside what consumers received, and is none of it: shown to who names it. */
function received(filter: RegisterFilter): RegisterFilter {
  const { consumer, id, externalId } = filter
  return (consumer ?? id ?? externalId) !== undefined ? filter : { ...filter, notConsumer: SUBMISSIONS }
}
