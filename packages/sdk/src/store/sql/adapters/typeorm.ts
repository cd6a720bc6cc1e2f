import { SdkError } from '../../../errors.ts'
import { boundValues } from './bound-values.ts'
import { dialectNamed, type AdapterOptions } from './dialect-name.ts'
import { SingleConnection, takeWriteLock } from './single-connection.ts'
import { connectionLost } from '../failure.ts'
import { Journal, transactionOver } from '../journal.ts'
import { sqlStore, type SqlStoreOptions } from '../sql-store.ts'
import type { SqlDriver, SqlRow, SqlSession } from '../driver.ts'
import type { Store } from '../../port.ts'

/** A TypeORM data source, as far as it is used: any version from 0.3. */
export interface TypeOrmLike {
  readonly options: { readonly type: string }
  readonly manager: object
  readonly subscribers: object[]
  createQueryRunner(): TypeOrmQueryRunner
}

interface TypeOrmQueryRunner {
  readonly manager: object
  readonly isReleased: boolean
  readonly isTransactionActive: boolean
  /** 1 outside of nested transactions; not in TypeORM's types. */
  readonly transactionDepth?: number
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
  const journals = new Journals(dialect === 'mysql' || dialect === 'mariadb')

  async function withRunner<T>(work: (runner: TypeOrmQueryRunner) => Promise<T>): Promise<T> {
    journals.attach(dataSource)
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
          const journal = journals.of(runner)
          journal.own = true
          const result = await work(handleOf(runner) as Tx)
          journal.refuse()
          await runner.commitTransaction()
          return result
        } catch (error) {
          // The first error says what happened, whatever becomes of a connection that may be gone.
          await runner.rollbackTransaction().catch(() => {})
          // TypeORM gives a connection back that is lost.
          throw runner.isReleased ? connectionLost(error) : error
        }
      }),
    bind(tx) {
      const runner = runnerOf(tx)
      return {
        async query(text, values) {
          if (runner === undefined || !isOpen(runner)) throw transactionOver()
          journals.of(runner).refuse()
          return sessionOf(runner).query(text, values)
        },
      }
    },
    isTransaction(handle): handle is Tx {
      const runner = runnerOf(handle)
      if (runner === undefined || !isOpen(runner) || sourceOf(runner) !== dataSource) return false
      // From here on its end is noticed, whoever asks for it.
      journals.attach(dataSource)
      return journals.of(runner).transaction !== null
    },
    close() {
      journals.detach()
      return Promise.resolve()
    },
  }
}

interface RunnerEvent {
  readonly queryRunner: TypeOrmQueryRunner
}

/** Journals of query runners, kept by a subscriber of the data source: it hears of an end before the database does. */
class Journals {
  readonly #journals = new WeakMap<object, Journal>()
  readonly #subscriber: object
  readonly #sources: TypeOrmLike['subscribers'][] = []

  constructor(isMysql: boolean) {
    const ends = ({ queryRunner }: RunnerEvent): void => {
      if ((queryRunner.transactionDepth ?? 1) <= 1) this.of(queryRunner).end()
    }
    this.#subscriber = {
      beforeTransactionStart: ({ queryRunner }: RunnerEvent) => {
        if ((queryRunner.transactionDepth ?? 0) === 0) this.of(queryRunner).begin()
      },
      beforeTransactionCommit: ends,
      beforeTransactionRollback: ends,
      ...(isMysql
        ? {
            // Whoever asked hears of the error after this.
            afterQuery: async ({ queryRunner, success, error }: RunnerEvent & { success: boolean; error: unknown }) => {
              if (!success) await this.of(queryRunner).failed(error, (text) => sessionOf(queryRunner).query(text, []))
            },
          }
        : {}),
    }
  }

  /** Once for each list of subscribers: initializing a data source makes a new one. */
  attach({ subscribers }: TypeOrmLike): void {
    if (subscribers.includes(this.#subscriber)) return
    subscribers.push(this.#subscriber)
    this.#sources.push(subscribers)
  }

  detach(): void {
    for (const subscribers of this.#sources.splice(0)) subscribers.splice(subscribers.indexOf(this.#subscriber), 1)
  }

  of(runner: TypeOrmQueryRunner): Journal {
    const known = this.#journals.get(runner)
    if (known !== undefined) return known
    const journal = new Journal()
    this.#journals.set(runner, journal)
    return journal
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
