import { SdkError } from '../../../errors.ts'
import { boundValues } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { SingleConnection, takeWriteLock } from './single-connection.ts'
import { transactionOver } from './ended-transactions.ts'
import { sqlStore, type SqlStoreOptions } from '../sql-store.ts'
import type { SqlDriver, SqlRow, SqlSession } from '../driver.ts'
import type { Store } from '../../port.ts'

/** A TypeORM data source, as far as it is used: any version from 0.3. */
export interface TypeOrmLike {
  readonly options: { readonly type: string }
  readonly manager: object
  createQueryRunner(): TypeOrmQueryRunner
}

interface TypeOrmQueryRunner {
  readonly manager: object
  readonly isReleased: boolean
  readonly isTransactionActive: boolean
  startTransaction(isolation?: 'READ COMMITTED'): Promise<void>
  commitTransaction(): Promise<void>
  rollbackTransaction(): Promise<void>
  release(): Promise<void>
  query(text: string, values: unknown[], structured: true): Promise<{ readonly records: readonly unknown[] }>
}

/** TypeORM's own `EntityManager`. */
export type TypeOrmManager<Db extends TypeOrmLike> = Db['manager']
/** TypeORM's own `QueryRunner`. */
export type TypeOrmRunner<Db extends TypeOrmLike> = ReturnType<Db['createQueryRunner']>

type TypeOrmOptions = AdapterOptions & SqlStoreOptions

/**
 * A store in the database of a data source, which is initialized and stays the user's to close. A transaction is known by
 * its entity manager; with `handle: 'query-runner'` by its query runner, which no root handle can be taken for. On SQLite
 * TypeORM has one connection: while the application has a transaction of its own open there, the store's statements outside
 * of it fail with `conflict`, to be repeated.
 */
export function fromTypeOrm<Db extends TypeOrmLike>(
  dataSource: Db,
  options?: TypeOrmOptions & { readonly handle?: 'manager' },
): Store<TypeOrmManager<Db>>
export function fromTypeOrm<Db extends TypeOrmLike>(
  dataSource: Db,
  options: TypeOrmOptions & { readonly handle: 'query-runner' },
): Store<TypeOrmRunner<Db>>
export function fromTypeOrm<Db extends TypeOrmLike>(
  dataSource: Db,
  options: TypeOrmOptions & { readonly handle?: 'manager' | 'query-runner' } = {},
): Store<TypeOrmManager<Db>> | Store<TypeOrmRunner<Db>> {
  return options.handle === 'query-runner'
    ? sqlStore(
        typeOrmDriver<TypeOrmRunner<Db>>(dataSource, (runner) => runner, options),
        options,
      )
    : sqlStore(
        typeOrmDriver<TypeOrmManager<Db>>(dataSource, (runner) => runner.manager, options),
        options,
      )
}

export function typeOrmDriver<Tx extends object>(
  dataSource: TypeOrmLike,
  handleOf: (runner: TypeOrmQueryRunner) => object,
  options: AdapterOptions = {},
): SqlDriver<Tx> {
  const dialect = dialectNamed(dataSource.options.type, 'TypeORM', options)
  const single = dialect === 'sqlite' ? new SingleConnection() : undefined

  async function withRunner<T>(work: (runner: TypeOrmQueryRunner) => Promise<T>): Promise<T> {
    const runner = dataSource.createQueryRunner()
    if (runner.isTransactionActive)
      throw new SdkError('conflict', 'the application has a transaction open on the only connection: run it again', {
        retryable: true,
      })
    try {
      return await work(runner)
    } finally {
      await runner.release()
    }
  }

  const alone = <T>(work: (runner: TypeOrmQueryRunner) => Promise<T>): Promise<T> =>
    single === undefined ? withRunner(work) : single.alone(() => withRunner(work))

  return {
    name: `${dialect} via typeorm`,
    dialect,
    query: (text, values) => alone((runner) => sessionOf(runner).query(text, values)),
    transaction: <T>(work: (tx: Tx) => Promise<T>) =>
      alone(async (runner): Promise<T> => {
        await runner.startTransaction(dialect === 'sqlite' ? undefined : 'READ COMMITTED')
        try {
          if (dialect === 'sqlite') await takeWriteLock(sessionOf(runner))
          const result = await work(handleOf(runner) as Tx)
          await runner.commitTransaction()
          return result
        } catch (error) {
          // The first error says what happened, whatever becomes of a connection that may be gone.
          await runner.rollbackTransaction().catch(() => {})
          throw error
        }
      }),
    bind(tx) {
      const runner = runnerOf(tx)
      return {
        async query(text, values) {
          if (runner === undefined || !isOpen(runner)) throw transactionOver()
          return sessionOf(runner).query(text, values)
        },
      }
    },
    isTransaction(handle): handle is Tx {
      const runner = runnerOf(handle)
      return runner !== undefined && isOpen(runner) && sourceOf(runner) === dataSource
    },
    close: () => Promise.resolve(),
  }
}

/** The query runner that a handle is or has; a root manager has none. */
function runnerOf(handle: unknown): TypeOrmQueryRunner | undefined {
  if (typeof handle !== 'object' || handle === null) return undefined
  const inside = (handle as { readonly queryRunner?: object }).queryRunner ?? handle
  return 'isTransactionActive' in inside ? (inside as TypeOrmQueryRunner) : undefined
}

const isOpen = (runner: TypeOrmQueryRunner): boolean => runner.isTransactionActive && !runner.isReleased

/** Called `connection` before version 1. */
function sourceOf(runner: TypeOrmQueryRunner): unknown {
  const { dataSource, connection } = runner as { readonly dataSource?: unknown; readonly connection?: unknown }
  return dataSource ?? connection
}

function sessionOf(runner: TypeOrmQueryRunner): SqlSession {
  return {
    async query(text, values) {
      // Structured: otherwise the shape of the result follows from the kind of the statement.
      return (await runner.query(text, boundValues(values), true)).records as readonly SqlRow[]
    },
  }
}
