import { SdkError } from '../errors.ts'
import { retryPolicy, type RetryOptions } from '../retry/retry-policy.ts'
import type { OutboxOptions } from '../outbox/outbox.ts'
import type { Purge } from '../store/port.ts'
import { milliseconds, type Duration } from '../time/duration.ts'

/** States whose messages are deleted by age; what is `done` is remembered by the service's own retention. */
export type CleanUpState = Exclude<Purge['state'], 'done'>

/** How messages to or from one external system are treated, as its operators agreed. */
export interface MessageSettings {
  /** The external system's name: `erp`, `sms-gateway`. */
  readonly system: string
  /** The contracts that are exchanged with it; a contract belongs to one system. */
  readonly contracts: readonly { readonly name: string }[]
  /** For the handler that calls the system. */
  readonly retry?: RetryOptions
  /** How many calls the system takes, from all handlers together. */
  readonly rate?: { readonly limit: number; readonly per: Duration }
  /** How long one call may take. */
  readonly timeout?: Duration
  /** After this time nobody needs a message any more. */
  readonly ttl?: Duration
  /** Bytes of a body; larger messages are refused when they are created. */
  readonly bodyBytesMax?: number
  /** Whether sent messages stay in the register, until `cleanUp.sent` or the service's retention. Default: as the relay does. */
  readonly keepSent?: boolean
  /** At what age messages of a state are deleted. What is left out follows the service's retention. */
  readonly cleanUp?: Readonly<Partial<Record<CleanUpState, Duration | 'never'>>>
}

/** What is declared, as `describe` lists it; ages and times in ms. */
export interface DescribedSettings {
  readonly system: string
  readonly contracts: readonly string[]
  readonly retry: RetryOptions | null
  readonly rate: { readonly limit: number; readonly perMs: number } | null
  readonly timeoutMs: number | null
  readonly ttlMs: number | null
  readonly bodyBytesMax: number | null
  /** Null: as the relay does. */
  readonly keepSent: boolean | null
  readonly cleanUpMs: Readonly<Partial<Record<CleanUpState, number | 'never'>>>
}

/** What a handler that calls an external system is declared with. */
export interface Handling extends Pick<MessageSettings, 'retry' | 'timeout'> {
  /** Named by the system, so that all its handlers share it. */
  readonly rate?: NonNullable<MessageSettings['rate']> & { readonly name: string }
}

/** One rule of deleting by age. */
export interface CleanUpRule {
  readonly state: CleanUpState
  readonly ageMs: number
  readonly contracts: NonNullable<Purge['contracts']>
}

const STATES: readonly CleanUpState[] = ['sent', 'parked', 'cancelled', 'expired']

/** The settings of all external systems that a service speaks to. Immutable, checked when it is made. */
export class SettingsDirectory {
  readonly #systems = new Map<string, MessageSettings>()
  readonly #byContract = new Map<string, MessageSettings>()

  /** @throws {SdkError} `invalid_declaration` for what makes no sense, or twice the same system or contract */
  constructor(settings: readonly MessageSettings[] = []) {
    for (const each of settings) {
      check(each)
      if (this.#systems.has(each.system)) refuse(each, 'is declared twice')
      this.#systems.set(each.system, each)
      for (const { name } of each.contracts) {
        const other = this.#byContract.get(name)
        if (other !== undefined) refuse(each, `declares "${name}", which belongs to "${other.system}" already`)
        this.#byContract.set(name, each)
      }
    }
  }

  /** Of a contract; undefined when it is exchanged with no external system that was declared. */
  of(contract: string): MessageSettings | undefined {
    return this.#byContract.get(contract)
  }

  /**
   * Of a system: what its handler is to be declared with, as in `effect(contract, { name, ...settings.handling('erp') }, …)`.
   *
   * @throws {SdkError} `invalid_declaration` when there is no such system
   */
  handling(system: string): Handling {
    const settings = this.#systems.get(system)
    if (settings === undefined) {
      const names = [...this.#systems.keys()].join(', ')
      throw new SdkError(
        'invalid_declaration',
        `there are no settings for "${system}"; ${names === '' ? 'none are declared' : `declared are ${names}`}`,
      )
    }
    const { retry, rate, timeout } = settings
    return {
      ...(retry === undefined ? {} : { retry }),
      ...(rate === undefined ? {} : { rate: { ...rate, name: system } }),
      ...(timeout === undefined ? {} : { timeout }),
    }
  }

  /** What is deleted at an age of its own; everything else follows the service's retention. */
  get cleanUps(): readonly CleanUpRule[] {
    return STATES.flatMap((state) =>
      this.#withAge(state).flatMap(({ contracts, cleanUp }) => {
        const age = cleanUp?.[state] ?? 'never'
        const only = contracts.map(({ name }) => name)
        return age === 'never' ? [] : [{ state, ageMs: milliseconds(age), contracts: { only } }]
      }),
    )
  }

  /** What the outbox has to be opened with: whose sent messages are kept, and what the service's own retention leaves alone. */
  outboxOptions(options: OutboxOptions = {}): OutboxOptions {
    const { relay = {}, retention = {} } = options
    const except = Object.fromEntries(
      STATES.map((state) => [
        state,
        this.#withAge(state).flatMap(({ contracts }) => contracts.map(({ name }) => name)),
      ]),
    )
    if (relay === false || this.#systems.size === 0) return { ...options, retention: { ...retention, except } }
    const { keepSent: others = false } = relay
    const keepSent = (contract: string): boolean =>
      this.of(contract)?.keepSent ?? (typeof others === 'boolean' ? others : others(contract))
    return { ...options, relay: { ...relay, keepSent }, retention: { ...retention, except } }
  }

  /** Systems with an age of their own. */
  #withAge(state: CleanUpState): readonly MessageSettings[] {
    return [...this.#systems.values()].filter(({ cleanUp }) => cleanUp?.[state] !== undefined)
  }

  describe(): readonly DescribedSettings[] {
    return [...this.#systems.values()].map((each) => ({
      system: each.system,
      contracts: each.contracts.map(({ name }) => name),
      retry: each.retry ?? null,
      rate: each.rate === undefined ? null : { limit: each.rate.limit, perMs: milliseconds(each.rate.per) },
      timeoutMs: each.timeout === undefined ? null : milliseconds(each.timeout),
      ttlMs: each.ttl === undefined ? null : milliseconds(each.ttl),
      bodyBytesMax: each.bodyBytesMax ?? null,
      keepSent: each.keepSent ?? null,
      cleanUpMs: Object.fromEntries(
        Object.entries(each.cleanUp ?? {}).map(([state, age]) => [state, age === 'never' ? age : milliseconds(age)]),
      ),
    }))
  }
}

function check(settings: MessageSettings): void {
  const { system, retry, rate, timeout, ttl, bodyBytesMax, cleanUp } = settings
  if (system === '') refuse(settings, 'has no name')
  if (system.length > 100) refuse(settings, `has a name of ${system.length} characters; 100 fit`)
  if (retry !== undefined) retryPolicy(retry)
  if (rate !== undefined && (!Number.isInteger(rate.limit) || rate.limit < 1 || milliseconds(rate.per) === 0))
    refuse(
      settings,
      `has a rate of ${rate.limit} per ${rate.per}; the limit is a whole number from 1, the time above 0`,
    )
  if (bodyBytesMax !== undefined && (!Number.isInteger(bodyBytesMax) || bodyBytesMax < 1))
    refuse(settings, `has bodyBytesMax ${bodyBytesMax}; it is a whole number from 1`)
  for (const duration of [timeout, ttl, ...Object.values(cleanUp ?? {})])
    if (duration !== undefined && duration !== 'never') milliseconds(duration)
  // What was never sent or decided is no leftover, however old it is.
  for (const state of Object.keys(cleanUp ?? {}))
    if (!(STATES as readonly string[]).includes(state))
      refuse(settings, `cleans up what is "${state}"; only ${STATES.join(', ')} messages are deleted by age`)
}

function refuse({ system }: MessageSettings, what: string): never {
  throw new SdkError('invalid_declaration', `the external system "${system}" ${what}`)
}
