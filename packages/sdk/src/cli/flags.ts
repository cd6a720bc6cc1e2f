import { parseArgs } from 'node:util'
import type { Pace } from '../register/pace.ts'
import type { RegisterFilter, RegisterState } from '../store/port.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import { UsageError } from './usage-error.ts'

const OPTIONS = {
  app: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  'dry-run': { type: 'boolean' },
  direction: { type: 'string' },
  state: { type: 'string', multiple: true },
  contract: { type: 'string', multiple: true },
  consumer: { type: 'string' },
  key: { type: 'string' },
  'external-id': { type: 'string' },
  fingerprint: { type: 'string' },
  'older-than': { type: 'string' },
  'younger-than': { type: 'string' },
  limit: { type: 'string' },
  page: { type: 'string' },
  rate: { type: 'string' },
  data: { type: 'string' },
  against: { type: 'string', multiple: true },
  mode: { type: 'string' },
  stored: { type: 'boolean' },
  short: { type: 'boolean' },
  manifest: { type: 'string', multiple: true },
  engine: { type: 'string' },
  'engine-file': { type: 'string' },
} as const

export type Flags = ReturnType<typeof parse>['values']

export type Flag = keyof typeof OPTIONS

/** Flags that say which messages. */
export const FILTER = [
  'direction',
  'state',
  'contract',
  'consumer',
  'key',
  'external-id',
  'fingerprint',
  'older-than',
  'younger-than',
] as const satisfies readonly Flag[]

/** Flags that say how many are shown. */
export const PAGES = ['limit', 'page'] as const satisfies readonly Flag[]

/** Flags that say how many are changed. */
export const BULK = ['dry-run', 'rate'] as const satisfies readonly Flag[]

/** Flags of every command. */
const COMMON: readonly Flag[] = ['app', 'json', 'help']

/**
 * A flag that a command would not look at is refused: what it was to spare would be changed, too.
 *
 * @throws {UsageError}
 */
export function checkFlags(command: string, flags: Flags, taken: readonly Flag[]): void {
  const idle = Object.keys(flags).find((flag) => ![...COMMON, ...taken].includes(flag as Flag))
  if (idle === undefined) return
  const takes =
    taken.length === 0 ? 'has no options of its own' : `takes ${taken.map((each) => `--${each}`).join(', ')}`
  throw new UsageError(`\`${command}\` does not look at --${idle}; it ${takes}`)
}

const STATES: readonly RegisterState[] = [
  'scheduled',
  'pending',
  'sent',
  'done',
  'waiting',
  'retrying',
  'running',
  'uncertain',
  'parked',
  'cancelled',
  'expired',
]

/** @throws {UsageError} for options that there are none of, or that have no value */
export function flagsOf(argv: readonly string[]): { readonly flags: Flags; readonly words: readonly string[] } {
  try {
    const { values, positionals } = parse(argv)
    return { flags: values, words: positionals }
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split('. ', 1)[0]! : String(cause)
    throw new UsageError(`${message}; \`stathmos app --help\` shows the options`, { cause })
  }
}

/** What the flags say of messages. */
export function filterOf(flags: Flags, now: number): RegisterFilter {
  const states = statesOf(flags)
  const [contract, ...others] = flags.contract ?? []
  if (others.length > 0) throw new UsageError('--contract is given several times; use a pattern, like "ticket.*"')
  return {
    ...(flags.direction === undefined ? {} : { direction: directionOf(flags.direction) }),
    ...(states === undefined ? {} : { state: states }),
    ...(contract === undefined ? {} : { contract }),
    ...(flags.consumer === undefined ? {} : { consumer: flags.consumer }),
    ...(flags.key === undefined ? {} : { key: flags.key }),
    ...(flags['external-id'] === undefined ? {} : { externalId: flags['external-id'] }),
    ...(flags.fingerprint === undefined ? {} : { fingerprint: flags.fingerprint }),
    ...(flags['older-than'] === undefined ? {} : { before: now - durationOf('--older-than', flags['older-than']) }),
    ...(flags['younger-than'] === undefined
      ? {}
      : { after: now - durationOf('--younger-than', flags['younger-than']) }),
  }
}

function statesOf(flags: Flags): readonly RegisterState[] | undefined {
  return flags.state
    ?.flatMap((each) => each.split(','))
    .map((state) => {
      const known = STATES.find((name) => name === state)
      if (known === undefined) throw new UsageError(`"${state}" is no state; there are ${STATES.join(', ')}`)
      return known
    })
}

/** How a bulk change is done. */
export function bulkOf(flags: Flags): { readonly rate?: Pace; readonly dryRun: boolean } {
  return { ...(flags.rate === undefined ? {} : { rate: flags.rate as Pace }), dryRun: flags['dry-run'] ?? false }
}

export function limitOf(flags: Flags, otherwise: number): number {
  const limit = flags.limit === undefined ? otherwise : Number(flags.limit)
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1000) return limit
  throw new UsageError(`--limit is ${flags.limit}; it is a whole number from 1 to 1000`)
}

export function durationOf(flag: string, value: string): number {
  try {
    return milliseconds(value as Duration)
  } catch (cause) {
    throw new UsageError(`${flag} is "${value}"; write 30s, 5m, 4h or 14d`, { cause })
  }
}

function directionOf(value: string): 'in' | 'out' {
  if (value === 'in' || value === 'out') return value
  throw new UsageError(`--direction is "${value}"; it is in or out`)
}

function parse(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true, strict: true })
}
