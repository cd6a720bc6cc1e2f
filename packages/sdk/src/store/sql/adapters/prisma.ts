import { SdkError } from '../../../errors.ts'
import { sqlStore, type SqlStoreOptions } from '../sql-store.ts'
import { boundValues, hasRows } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { takeWriteLock } from './single-connection.ts'
import { transactionOver } from '../journal.ts'
import type { SqlDriver, SqlRow, SqlSession, SqlValue } from '../driver.ts'
import type { Store } from '../../port.ts'

/** A Prisma client, as far as it is used: any version from 5. */
export interface PrismaLike {
  $connect(): Promise<void>
  $transaction(
    work: (tx: unknown) => Promise<unknown>,
    options?: { maxWait?: number; timeout?: number; isolationLevel?: never },
  ): Promise<unknown>
}

/** Prisma's own `Prisma.TransactionClient`. */
export type PrismaTransaction<Db extends PrismaLike> = Parameters<Parameters<Db['$transaction']>[0]>[0]

export interface PrismaOptions extends AdapterOptions, SqlStoreOptions {
  /** Longest time that a handler's transaction may take, in ms; Prisma rolls it back then. Default: 60 000. */
  readonly timeoutMs?: number
  /** Longest time that a transaction waits for a connection, in ms. Default: 10 000. */
  readonly maxWaitMs?: number
}

/** A client or a transaction as it is at run time. */
interface Client {
  readonly _activeProvider?: string
  readonly _engine?: object
  $connect?(): unknown
  $queryRawUnsafe(text: string, ...values: readonly unknown[]): Promise<readonly SqlRow[]>
  $executeRawUnsafe(text: string, ...values: readonly unknown[]): Promise<number>
}

/** What Prisma says when a transaction cannot be begun or used (P2028), or no connection is free (P2024). */
const TRANSACTION_FAULT = 'P2028'
const NO_CONNECTION = 'P2024'

/**
 * A store in the database of a Prisma client, which stays the user's to disconnect. A client can be handed to what asks for
 * a transaction client and still compile; here it is refused at run time.
 */
export function fromPrisma<Db extends PrismaLike>(
  prisma: Db,
  options: PrismaOptions = {},
): Store<PrismaTransaction<Db>> {
  return sqlStore(prismaDriver(prisma, options), options)
}

export function prismaDriver<Db extends PrismaLike>(
  prisma: Db,
  options: PrismaOptions = {},
): SqlDriver<PrismaTransaction<Db>> {
  type Tx = PrismaTransaction<Db>
  const client = prisma as unknown as Client
  const { _activeProvider: provider, _engine: engine } = client
  const dialect = dialectNamed(provider, 'Prisma', options)
  const limits = { timeout: options.timeoutMs ?? 60_000, maxWait: options.maxWaitMs ?? 10_000 }
  const isolation = dialect === 'sqlite' ? {} : { isolationLevel: 'ReadCommitted' as never }
  const root = sessionOf(client)
  return {
    name: `${dialect} via prisma`,
    dialect,
    // Prisma has one connection to SQLite, and what is asked of the client runs in whatever transaction is open on it.
    query: dialect === 'sqlite' ? alone : (text, values) => root.query(text, values),
    async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
      let begun = false
      const run = async (tx: unknown): Promise<T> => {
        if (dialect === 'sqlite') await takeWriteLock(sessionOf(tx as Client))
        begun = true
        return work(tx)
      }
      try {
        return (await prisma.$transaction(run, { ...limits, ...isolation })) as T
      } catch (error) {
        if (!begun && (codeOf(error) === TRANSACTION_FAULT || codeOf(error) === NO_CONNECTION))
          throw new SdkError('store_down', 'Prisma had no connection for a transaction in time: see the cause', {
            retryable: true,
            cause: error,
          })
        throw error
      }
    },
    bind(tx) {
      const session = sessionOf(tx as Client)
      return {
        async query(text, values) {
          try {
            return await session.query(text, values)
          } catch (error) {
            throw codeOf(error) === TRANSACTION_FAULT ? transactionOver(error) : error
          }
        },
      }
    },
    isTransaction(handle): handle is Tx {
      if (typeof handle !== 'object' || handle === null) return false
      const { $queryRawUnsafe: query, $connect: connect, _engine: same } = handle as Partial<Client>
      // Of all that a client can do, connecting is what a transaction never could, in any version.
      return typeof query === 'function' && typeof connect !== 'function' && same === engine
    },
    close: () => Promise.resolve(),
  }

  async function alone(text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]> {
    return (await prisma.$transaction((tx) => sessionOf(tx as Client).query(text, values), limits)) as readonly SqlRow[]
  }
}

function sessionOf(client: Client): SqlSession {
  return {
    async query(text, values) {
      if (hasRows(text)) return client.$queryRawUnsafe(text, ...boundValues(values))
      await client.$executeRawUnsafe(text, ...boundValues(values))
      return []
    },
  }
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}
