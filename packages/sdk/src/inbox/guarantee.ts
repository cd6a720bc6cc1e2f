import type { Surroundings } from '../surroundings.ts'
import type { Declaration, OnExhausted } from './declaration.ts'

/** What a declared handler really has, as data: to be printed, compared and reviewed. */
export interface Guarantee {
  /** `<service>.<name>` */
  readonly consumer: string
  readonly contract: string
  readonly handler: 'on' | 'batch' | 'effect'
  /** How often what the handler does takes effect for one message. */
  readonly level: 'exactly-once' | 'at-least-once' | 'at-most-once'
  /** Of what the level is true; of nothing else. */
  readonly covers:
    | 'writes to the store and messages sent in the transaction'
    | 'calls with the idempotency key'
    | 'calls'
  /** Whether messages of one key are handled one after the other, none while an earlier one is not done. */
  readonly order: 'per key' | 'none'
  /** For how long a second delivery is recognised, in ms. */
  readonly rememberedMs: number
  /** What may be lost on the way here: nothing, or what the engine takes without confirming. */
  readonly loses: 'nothing' | 'what the engine does not confirm' | 'what is under way when a process ends'
  readonly attempts: number
  readonly exhausted: OnExhausted
  /** What follows a call whose outcome is unknown; null where no outcome can be. */
  readonly uncertain: 'verified' | 'repeated' | 'parked' | null
  /** Handlers that run at a time, in each process. */
  readonly concurrencyPerProcess: number
  /** Calls per time over all processes, for each of the rate's keys. */
  readonly rate: {
    readonly limit: number
    readonly perMs: number
    readonly keyed: boolean
    /** With all handlers that name the limit so; null for one of its own. */
    readonly sharedAs: string | null
  } | null
  /** What tells handlers apart, in one line. */
  readonly line: string
  /** All of it for people. */
  readonly sentence: string
}

type Facts = Omit<Guarantee, 'line' | 'sentence'>

/** What the guarantee follows from, besides the declaration. */
export interface Ground {
  readonly service: string
  readonly store: Pick<Surroundings<unknown>['store'], 'name'>
  readonly transport: Pick<Surroundings<unknown>['transport'], 'name' | 'capabilities'>
  /** For how long the inbox remembers what was handled: the service's retention. */
  readonly rememberedMs: number
}

/** Computes what a handler has from what it is made of. The same declaration in the same service always has the same. */
export function guaranteeOf<Tx>(declaration: Declaration<Tx>, ground: Ground): Guarantee {
  const { kind, contract, ordered, retry, onExhausted, concurrency } = declaration
  const isLossy = kind === 'effect' && declaration.level === 'at-most-once'
  const facts: Facts = {
    consumer: `${ground.service}.${declaration.name}`,
    contract: contract.name,
    handler: kind,
    level: kind === 'effect' ? declaration.level : 'exactly-once',
    covers: coverOf(declaration),
    order: ordered ? 'per key' : 'none',
    rememberedMs: ground.rememberedMs,
    loses: lossOf(isLossy, ground.transport.capabilities.confirm),
    attempts: isLossy ? 1 : retry.attempts,
    exhausted: isLossy ? 'drop' : onExhausted,
    uncertain: kind === 'effect' && !isLossy ? uncertaintyOf(declaration) : null,
    concurrencyPerProcess: concurrency,
    rate:
      kind === 'effect' && declaration.rate !== null
        ? {
            limit: declaration.rate.limit,
            perMs: declaration.rate.perMs,
            keyed: declaration.rate.key !== undefined,
            sharedAs: declaration.rate.sharedAs,
          }
        : null,
  }
  return { ...facts, line: lineOf(facts), sentence: sentenceOf(facts, ground) }
}

function coverOf<Tx>(declaration: Declaration<Tx>): Guarantee['covers'] {
  if (declaration.kind !== 'effect') return 'writes to the store and messages sent in the transaction'
  return declaration.level === 'at-most-once' ? 'calls' : 'calls with the idempotency key'
}

function lossOf(isLossy: boolean, confirms: boolean): Guarantee['loses'] {
  if (isLossy) return 'what is under way when a process ends'
  return confirms ? 'nothing' : 'what the engine does not confirm'
}

function uncertaintyOf({
  verify,
  onUncertain,
}: {
  verify: unknown
  onUncertain: 'retry' | 'park'
}): Guarantee['uncertain'] {
  if (verify !== null) return 'verified'
  return onUncertain === 'retry' ? 'repeated' : 'parked'
}

const EXHAUSTED: Readonly<Record<OnExhausted, string>> = {
  'park-key': 'the message and all later ones of its key wait for an operator',
  'park-message': 'the message waits for an operator and later ones go on',
  drop: 'the message is dropped',
}

const UNCERTAIN = {
  verified: 'A call whose outcome is unknown is verified before it is repeated.',
  repeated: 'A call whose outcome is unknown is repeated with the same key.',
  parked: 'A call whose outcome is unknown is left to an operator.',
} as const

function lineOf({ consumer, handler, contract, level, order, rate, attempts, exhausted }: Facts): string {
  const parts = [
    `${handler} ${contract}`,
    level.replaceAll('-', ' '),
    order === 'none' ? 'in any order' : `in order ${order}`,
    ...(rate === null ? [] : [rateOf(rate)]),
    ...(level === 'at-most-once' ? [] : [`${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, then ${exhausted}`]),
  ]
  return `${consumer}: ${parts.join(', ')}`
}

function sentenceOf(facts: Facts, ground: Ground): string {
  const { consumer, contract, level, order, rememberedMs, attempts, rate, uncertain, exhausted, loses } = facts
  const sentences = [
    facts.handler === 'effect'
      ? `${consumer} is called ${level.replaceAll('-', ' ')} for each ${contract}${level === 'at-least-once' ? ', always with the same idempotency key' : ''}.`
      : `What ${consumer} writes to ${ground.store.name} in its transaction, and what it sends there, takes effect exactly once for each ${contract}; whatever else it does may be repeated.`,
    order === 'per key'
      ? 'Messages of one key are handled one after the other, in the order in which their transactions committed.'
      : 'Messages are handled in any order.',
  ]
  sentences.push(`A second delivery is recognised for ${textOf(rememberedMs)}.`)
  if (uncertain !== null) sentences.push(UNCERTAIN[uncertain])
  if (rate !== null)
    sentences.push(
      `There are at most ${rate.limit} calls per ${textOf(rate.perMs)}${rate.keyed ? ' and key' : ''}, over all processes${rate.sharedAs === null ? '' : ` and all handlers of "${rate.sharedAs}"`}.`,
    )
  sentences.push(`At most ${facts.concurrencyPerProcess} run at a time in each process.`)
  if (level !== 'at-most-once')
    sentences.push(`After ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'} ${EXHAUSTED[exhausted]}.`)
  sentences.push(
    loses === 'nothing' ? `Nothing that ${ground.transport.name} has confirmed is lost.` : `Lost may be ${loses}.`,
  )
  return sentences.join(' ')
}

function rateOf({ limit, perMs, keyed, sharedAs }: NonNullable<Guarantee['rate']>): string {
  return `${limit} per ${textOf(perMs)}${keyed ? ' and key' : ''}${sharedAs === null ? '' : ` for all of ${sharedAs}`}`
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const

function textOf(ms: number): string {
  if (!Number.isFinite(ms)) return 'ever'
  const [unit, unitMs] = UNITS.find(([, size]) => ms >= size && ms % size === 0) ?? ['ms', 1]
  return `${ms / unitMs}${unit}`
}
