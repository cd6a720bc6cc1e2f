import { SdkError } from '../../errors.ts'
import type { Dialect, Failure } from './dialect.ts'

/** Errors of sockets and of clients' pools: nobody answered. */
const UNREACHABLE = /^(ECONN|EPIPE|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|PROTOCOL_CONNECTION_LOST)/

/** Of those only that a connection was there before. */
const LOST_WORDS = /(^| - )(Connection terminated|Client has encountered a connection error)/

/** What clients only say in words when a connection is gone: `pg` has no code for it. */
const UNREACHABLE_WORDS =
  /(^| - )(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|The database connection is not open|database is not open)/

/** What says that a connection is gone, and not that the database refuses: servers' codes for ending one, and sockets'. */
const LOST =
  /^(08|57P0[12]|25P03|E(CONNRESET|CONNABORTED|PIPE)|ETIMEDOUT|PROTOCOL_CONNECTION_LOST|CONNECTION_(CLOSED|ENDED|DESTROYED)|ER_CONNECTION_KILLED|1927|4031)/

/** How far wrappers of ORMs are opened. */
const WRAPPERS_MAX = 6

/**
 * The SDK's error for one of the database, with the original as its cause; anything else comes back as it is.
 *
 * @param own whether the store's own statement failed. What user code threw may come from anywhere: a socket that it
 *   could not open says nothing about the database, so that only the database's own codes count.
 */
export function translated(error: unknown, dialect: Dialect, own: boolean): unknown {
  if (error instanceof SdkError) return error
  const options = { retryable: true, cause: error }
  switch (failureIn(error, dialect, own)) {
    case 'conflict':
      return new SdkError('conflict', 'the database wants the transaction repeated: run it again', options)
    case 'duplicate':
      if (!own) return error
      return new SdkError('conflict', 'another transaction wrote the same row: run it again', options)
    case 'down':
      if (isLost(error)) return connectionLost(error)
      return new SdkError('store_down', isUnreachable(error) ? UNREACHED : REFUSES, options)
    case 'missing-table':
      if (!own) return error
      return new SdkError('not_migrated', 'the tables of the store are missing or old: run migrate()', { cause: error })
    case 'too-large':
      return own ? tooLarge(error, dialect) : error
    default:
      return error
  }
}

const UNREACHED = 'the database cannot be reached: see the cause'
const REFUSES = 'the database does not take what is written: see the cause'

/** What the database itself refuses, and often ends the connection for. */
function tooLarge(cause: unknown, { statementLimit }: Dialect): SdkError {
  const raise = statementLimit === undefined ? '' : `, or raise ${statementLimit.setting}`
  return new SdkError(
    'too_large',
    `a message is larger than the database takes, and nothing of its transaction is kept: store the data elsewhere and ` +
      `send where it is${raise}; see the cause`,
    { cause },
  )
}

/** A transaction's own connection is gone, which says nothing of others. */
export function connectionLost(cause: unknown): SdkError {
  return new SdkError('store_down', 'the connection to the database was lost: see the cause', {
    retryable: true,
    data: { connection: 'lost' },
    cause,
  })
}

function isLost(error: unknown): boolean {
  return layersOf(error).some(
    (layer) => [...codesOf(layer)].some((code) => LOST.test(code)) || LOST_WORDS.test(wordsOf(layer)),
  )
}

function isUnreachable(error: unknown): boolean {
  return layersOf(error).some(
    (layer) => [...codesOf(layer)].some((code) => UNREACHABLE.test(code)) || UNREACHABLE_WORDS.test(wordsOf(layer)),
  )
}

function failureIn(error: unknown, dialect: Dialect, own: boolean): Failure {
  for (const layer of layersOf(error)) {
    for (const code of codesOf(layer)) {
      const failure = dialect.failureOf(code)
      if (failure !== 'other') return failure
      if (own && UNREACHABLE.test(code)) return 'down'
    }
    if (own) {
      const words = wordsOf(layer)
      if (UNREACHABLE_WORDS.test(words)) return 'down'
      // SQLite has no code of its own for it.
      if (/(^| - )no such (table|column): /.test(words)) return 'missing-table'
    }
  }
  return 'other'
}

/** Whether an error of a client, or one that is wrapped in it, has one of these codes. */
export function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  return layersOf(error).some((layer) => [...codesOf(layer)].some((code) => codes.has(code)))
}

/** An error and what is wrapped in it. */
function layersOf(error: unknown): readonly object[] {
  const layers: object[] = []
  let layer = error
  while (layers.length < WRAPPERS_MAX && typeof layer === 'object' && layer !== null) {
    layers.push(layer)
    layer = inside(layer)
  }
  return layers
}

function* codesOf(layer: object): Iterable<string> {
  const { code, errno, errcode, originalCode } = layer as Readonly<Record<string, unknown>>
  for (const value of [code, errno, errcode, originalCode])
    if (typeof value === 'string' || typeof value === 'number') yield String(value)
}

/** Knex puts its statement before the client's words; Prisma has them beside its own. */
function wordsOf(layer: object): string {
  const { message, originalMessage } = layer as Readonly<Record<string, unknown>>
  const words = originalMessage ?? message
  return typeof words === 'string' ? words : ''
}

/** The next layer of a wrapped error: `cause` (Drizzle and others), `driverError` (TypeORM), `meta` (Prisma). */
function inside(layer: object): unknown {
  const { cause, driverError, originalError, meta, driverAdapterError } = layer as Readonly<Record<string, unknown>>
  return cause ?? driverError ?? originalError ?? meta ?? driverAdapterError
}
