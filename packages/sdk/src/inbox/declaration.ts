import type { Contract } from '../contract/contract.ts'
import { SdkError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Message } from '../message/message.ts'
import { isStorable } from '../message/storable-text.ts'
import { retryPolicy, type RetryOptions, type RetryPolicy } from '../retry/retry-policy.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import type { Scope } from '../outbox/scope.ts'

/**
 * What happens to a message whose attempts are used up, or that cannot be read: `park-key` keeps it and everything later
 * of its key until an operator decides; `park-message` keeps it and lets later ones pass; `drop` forgets it, with an
 * error in the log. What cannot be read is never dropped.
 */
export type OnExhausted = 'park-key' | 'park-message' | 'drop'

/** What every handler may say about itself. */
export interface ConsumerOptions {
  /**
   * The consumer's name within the service. What was received is remembered under it: another name handles everything
   * again, so it is chosen once.
   */
  readonly name: string
  /** Runs at a time in this process. Default 4 with a transaction each, 10 without. */
  readonly concurrency?: number
  /** Messages of one key are handled one after the other, and none while an earlier one is not done. Default: has the contract a key. */
  readonly ordered?: boolean
  /** Queues that the keys are spread over, 1 to 64: as many processes can share the work. Default 8 when ordered, else 1. */
  readonly partitions?: number
  /** Messages that this process holds at most, running ones included. */
  readonly prefetch?: number
  readonly retry?: RetryOptions
  /** Default: `park-key` when ordered, else `park-message`. */
  readonly onExhausted?: OnExhausted
  /** Errors that no retry can help; such a message is exhausted at once. */
  readonly giveUp?: (error: unknown) => boolean
  /** How long a stored message belongs to a process that does not say that it is alive. Default 30s. */
  readonly lease?: Duration
}

/** How messages are handled in a transaction. */
export interface OnOptions extends ConsumerOptions {
  /**
   * When the context's `signal` is aborted. A handler with a transaction is waited for nevertheless: its connection
   * cannot be taken from under it. Default: never.
   */
  readonly timeout?: Duration
  /** Messages of a backlog that share one transaction at most; 1 for never. Default 32. */
  readonly group?: number
}

/** What a handler with a transaction gets besides the data. */
export interface HandlerContext<Tx> extends Scope {
  /** Commits together with the memory that the message was handled, and with everything that is published and sent. */
  readonly tx: Tx
  readonly message: Message
  /** 1 for the first. Attempts that were lost to deadlocks or to a store that went away do not count. */
  readonly attempt: number
  /** Aborted when the time is over, when the claim was lost, and when the service cannot wait for its end any longer. */
  readonly signal: AbortSignal
  readonly log: Log
}

/**
 * Handles a message in a transaction, which is rolled back when it rejects. It may run more often than it takes
 * effect.
 */
export type OnHandler<Tx, Out> = (data: Out, context: HandlerContext<Tx>) => Promise<void> | void

/** How several messages are handled in one transaction. */
export interface BatchOptions extends ConsumerOptions {
  readonly timeout?: Duration
  readonly batch: {
    /** Messages in one run at most. */
    readonly size: number
    /** How long the first of a batch waits for others. Default: not at all. */
    readonly wait?: Duration
  }
}

/** One message of a batch. What is published through it continues its conversation. */
export interface BatchItem<Out> extends Scope {
  readonly data: Out
  readonly message: Message
  readonly attempt: number
}

/** What a batch handler gets besides the messages. */
export interface BatchContext<Tx> {
  readonly tx: Tx
  readonly signal: AbortSignal
  readonly log: Log
}

/** What became of one item. */
export type ItemResult = 'done' | { readonly failed: unknown }

/**
 * Handles several messages in one transaction. One that rejects is called again with halves of them until those are
 * found that fail alone; one that returns results for its items, in their order, is called again without those that failed.
 */
export type BatchHandler<Tx, Out> = (
  items: readonly BatchItem<Out>[],
  context: BatchContext<Tx>,
) => Promise<readonly ItemResult[] | void> | readonly ItemResult[] | void

/** How the outside world is called because of a message. */
export interface EffectOptions<Out = never> extends ConsumerOptions {
  /**
   * Calls per time over all processes of the service. `key` makes a limit of its own for each value; handlers that give the
   * same `name` share one, as the calls of one external system do.
   */
  readonly rate?: {
    readonly limit: number
    readonly per: Duration
    readonly key?: (data: Out) => string
    readonly name?: string
  }
  /**
   * How long an attempt may take. After it `signal` is aborted, the attempt has failed, and what it did is unknown; a
   * handler that goes on regardless may overlap with its next attempt. Default 30s.
   */
  readonly timeout?: Duration
  /** Asked before an attempt that follows one whose outcome is unknown: has the effect happened? */
  readonly verify?: (data: Out, context: EffectContext) => Promise<EffectState> | EffectState
  /** What to do when nobody knows: `retry` with the same idempotency key (default), or `park` until an operator decides. */
  readonly onUncertain?: 'retry' | 'park'
  /** `at-most-once` forgets the message before the handler is called, and never retries it. */
  readonly level?: 'at-least-once' | 'at-most-once'
}

/** What `verify` found out: the effect has happened, it has certainly not, or nobody can tell. */
export type EffectState = 'done' | 'not-done' | 'unknown'

/** What a handler without a transaction gets besides the data. */
export interface EffectContext {
  /** The same for every attempt, in every process: `<service>.<name>:<message id>`. */
  readonly idempotencyKey: string
  readonly message: Message
  readonly attempt: number
  readonly signal: AbortSignal
  readonly log: Log
}

/** What it returns is not looked at; a promise is waited for. */
export type EffectHandler<Out> = (data: Out, context: EffectContext) => unknown

/** Thrown by a handler that does not know whether its effect has happened: a request without an answer. */
export class Uncertain extends Error {
  override readonly name = 'Uncertain'
  readonly code = 'uncertain'
}

/** A handler as it was declared, with everything decided that was left open. */
export type Declaration<Tx> = OnDeclaration<Tx> | BatchDeclaration<Tx> | EffectDeclaration

interface Declared {
  readonly name: string
  readonly contract: Contract
  readonly concurrency: number
  readonly ordered: boolean
  readonly partitions: number
  readonly prefetch: number
  readonly retry: RetryPolicy
  readonly onExhausted: OnExhausted
  readonly giveUp: (error: unknown) => boolean
  readonly leaseMs: number
  /** Infinity for none. */
  readonly timeoutMs: number
}

export interface OnDeclaration<Tx> extends Declared {
  readonly kind: 'on'
  readonly groupMax: number
  readonly handler: OnHandler<Tx, unknown>
}

export interface BatchDeclaration<Tx> extends Declared {
  readonly kind: 'batch'
  readonly groupMax: number
  readonly waitMs: number
  readonly handler: BatchHandler<Tx, unknown>
}

/** Calls per time, as they were declared. */
export interface DeclaredRate {
  readonly limit: number
  readonly perMs: number
  readonly key?: (data: unknown) => string
  /** Null for a limit of the handler's own. */
  readonly sharedAs: string | null
}

export interface EffectDeclaration extends Declared {
  readonly kind: 'effect'
  readonly rate: DeclaredRate | null
  readonly verify: ((data: unknown, context: EffectContext) => Promise<EffectState> | EffectState) | null
  readonly onUncertain: 'retry' | 'park'
  readonly level: 'at-least-once' | 'at-most-once'
  readonly handler: EffectHandler<unknown>
}

type Consumable<Name extends string, Out> = Contract<'event' | 'command', Name, never, Out>

const GROUP_MAX = 32
const CONCURRENCY_TRANSACTIONS = 4
const CONCURRENCY_EFFECTS = 10
const PARTITIONS = 8
/** With a key behind it, it is one name of the store's. */
const RATE_NAME_CHARS_MAX = 100

/** @throws {SdkError} `invalid_declaration` */
export function declareOn<Tx, Name extends string, Out>(
  contract: Consumable<Name, Out>,
  options: OnOptions,
  handler: OnHandler<Tx, Out>,
): OnDeclaration<Tx> {
  const groupMax = whole(options.group ?? GROUP_MAX, 'group', options.name)
  const declared = declare(contract, options, CONCURRENCY_TRANSACTIONS, 2 * groupMax)
  return {
    ...declared,
    kind: 'on',
    groupMax,
    timeoutMs: options.timeout === undefined ? Infinity : milliseconds(options.timeout),
    handler: handler as OnHandler<Tx, unknown>,
  }
}

/** @throws {SdkError} `invalid_declaration` */
export function declareBatch<Tx, Name extends string, Out>(
  contract: Consumable<Name, Out>,
  options: BatchOptions,
  handler: BatchHandler<Tx, Out>,
): BatchDeclaration<Tx> {
  const groupMax = whole(options.batch.size, 'batch.size', options.name)
  const declared = declare(contract, options, CONCURRENCY_TRANSACTIONS, 2 * groupMax)
  if (declared.prefetch < groupMax)
    throw invalid(options.name, `prefetch is ${declared.prefetch}; a batch of ${groupMax} needs at least as many`)
  return {
    ...declared,
    kind: 'batch',
    groupMax,
    waitMs: milliseconds(options.batch.wait ?? 0),
    timeoutMs: options.timeout === undefined ? Infinity : milliseconds(options.timeout),
    handler: handler as BatchHandler<Tx, unknown>,
  }
}

/** @throws {SdkError} `invalid_declaration` */
export function declareEffect<Name extends string, Out>(
  contract: Consumable<Name, Out>,
  options: EffectOptions<Out>,
  handler: EffectHandler<Out>,
): EffectDeclaration {
  const { rate, level = 'at-least-once', verify } = options
  const declared = declare(contract, options, CONCURRENCY_EFFECTS, options.concurrency ?? CONCURRENCY_EFFECTS)
  if (level === 'at-most-once' && (verify !== undefined || options.retry !== undefined))
    throw invalid(options.name, 'at-most-once neither retries nor verifies; leave out retry and verify')
  return {
    ...declared,
    kind: 'effect',
    level,
    timeoutMs: milliseconds(options.timeout ?? '30s'),
    rate: rate === undefined ? null : declareRate(rate, options.name),
    verify: (verify as EffectDeclaration['verify'] | undefined) ?? null,
    onUncertain: options.onUncertain ?? 'retry',
    handler: handler as EffectHandler<unknown>,
  }
}

function declareRate<Out>(
  { limit, per, key, name }: NonNullable<EffectOptions<Out>['rate']>,
  handler: string,
): DeclaredRate {
  if (name !== undefined && (name.length === 0 || name.length > RATE_NAME_CHARS_MAX || !isStorable(name)))
    throw invalid(handler, `rate.name is a text of 1 to ${RATE_NAME_CHARS_MAX} characters`)
  return {
    limit: whole(limit, 'rate.limit', handler),
    perMs: positive(milliseconds(per), 'rate.per', handler),
    ...(key === undefined ? {} : { key: key as (data: unknown) => string }),
    sharedAs: name ?? null,
  }
}

function declare(
  contract: Consumable<string, unknown>,
  options: ConsumerOptions,
  concurrencyDefault: number,
  buffer: number,
): Omit<Declared, 'timeoutMs'> {
  const { name } = options
  if (!/^[\w.-]{1,100}$/.test(name))
    throw invalid(name, 'a name is 1 to 100 letters, digits, dots, hyphens and underscores')
  const concurrency = whole(options.concurrency ?? concurrencyDefault, 'concurrency', name)
  const ordered = options.ordered ?? contract.keyed
  const partitions = whole(options.partitions ?? (ordered ? PARTITIONS : 1), 'partitions', name)
  if (ordered && !contract.keyed)
    throw invalid(name, `it is ordered, but ${contract.name} has no key; give the contract one, or leave out ordered`)
  if (partitions > 64) throw invalid(name, `partitions is ${partitions}; at most 64`)
  return {
    name,
    contract: contract,
    concurrency,
    ordered,
    partitions,
    prefetch: whole(options.prefetch ?? concurrency + buffer, 'prefetch', name),
    retry: retryPolicy(options.retry),
    onExhausted: options.onExhausted ?? (ordered ? 'park-key' : 'park-message'),
    giveUp: decidedBy(options.giveUp),
    leaseMs: positive(milliseconds(options.lease ?? '30s'), 'lease', name),
  }
}

function whole(value: number, option: string, name: string): number {
  if (Number.isInteger(value) && value >= 1) return value
  throw invalid(name, `${option} is ${value}; it must be a whole number from 1`)
}

function positive(value: number, option: string, name: string): number {
  if (value > 0) return value
  throw invalid(name, `${option} is ${value}; it must be more than nothing`)
}

function invalid(name: string, why: string): SdkError {
  return new SdkError('invalid_declaration', `the handler "${name}": ${why}`)
}

/** Whoever fails over an error's details has not decided against another attempt. */
function decidedBy(giveUp: ((error: unknown) => boolean) | undefined): (error: unknown) => boolean {
  return (error) => {
    try {
      return giveUp?.(error) === true
    } catch {
      return false
    }
  }
}
