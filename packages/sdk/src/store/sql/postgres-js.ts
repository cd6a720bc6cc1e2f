import { EndedTransactions } from './ended-transactions.ts'
import { hasCode } from './failure.ts'
import { transactionOver } from './journal.ts'
import type { SqlDriver, SqlRow, SqlSession } from './driver.ts'

/** What both the root and a transaction of `postgres` (postgres.js) can do, as far as it is used. */
interface PostgresSession {
  unsafe(text: string, values: never[], options?: { readonly prepare?: boolean }): PromiseLike<readonly unknown[]>
}

/** A transaction of postgres.js: `TransactionSql`. */
export interface PostgresTransaction extends PostgresSession {
  savepoint(...names: never[]): unknown
}

/** The root handle of postgres.js: `Sql`. */
export interface PostgresSql extends PostgresSession {
  begin(options: string, work: (sql: PostgresTransaction) => Promise<unknown>): Promise<unknown>
  listen(
    channel: string,
    notified: (payload: string) => void,
    listening?: () => void,
  ): PromiseLike<{ readonly unlisten: () => Promise<void> }>
  notify(channel: string, payload: string): PromiseLike<unknown>
}

/** What `begin` hands to its callback: `TransactionSql`, with all that it can do for its users. */
export type PostgresTransactionOf<Sql extends PostgresSql> = Sql extends {
  begin: (options: string, work: (sql: infer Tx extends PostgresTransaction) => never) => unknown
}
  ? Tx
  : PostgresTransaction

/** The client `postgres`: a transaction is the `sql` that `begin` hands to its callback. */
export function postgresJsDriver(
  sql: PostgresSql,
  { prepare, listen }: { readonly prepare: boolean; readonly listen: boolean },
): SqlDriver<PostgresTransaction> {
  const ending = new Set<() => void>()
  const ended = new EndedTransactions()
  /** Transactions whose end the store asks for itself: what was asked for before it comes before it. */
  const own = new WeakSet<object>()
  const session = (to: PostgresSession): SqlSession => ({
    query: async (text, values) => (await to.unsafe(text, [...values] as never[], { prepare })) as readonly SqlRow[],
  })
  return {
    name: 'postgres via postgres.js',
    dialect: 'postgres',
    // `begin` rejects when any statement in it failed, whoever caught that.
    tellsRollback: true,
    query: (text, values) => session(sql).query(text, values),
    async transaction<T>(work: (tx: PostgresTransaction) => Promise<T>): Promise<T> {
      // Arrays that the work resolves with would be taken as queries to wait for.
      const boxed = await untilLost<PostgresTransaction, { readonly result: T }>(
        (body) => sql.begin('isolation level read committed', body) as Promise<{ readonly result: T }>,
        async (tx) => {
          own.add(tx)
          return { result: await ended.during(tx, work) }
        },
        (tx) => ended.end(tx),
      )
      return boxed.result
    },
    bind(tx) {
      const inside = own.has(tx) ? session(tx) : insideOnly(tx, { prepare })
      return {
        async query(text, values) {
          ended.refuse(tx)
          return inside.query(text, values)
        },
      }
    },
    isTransaction: (handle): handle is PostgresTransaction => typeof handle === 'function' && 'savepoint' in handle,
    ...(listen ? { watch: (channel: string, changed: () => void) => listening(sql, channel, changed, ending) } : {}),
    async notify(channel) {
      await sql.notify(channel, '')
    },
    close() {
      for (const end of ending) end()
      return Promise.resolve()
    },
  }
}

/**
 * Runs `work` in what `begin` begins. postgres.js rejects at once when the connection is lost, while `work` is still under
 * way, and would then end the transaction on a connection that it has no socket for, which ends the process. So it never
 * learns of the end of such a `work`, and whoever asked for the transaction learns of the loss when `work` has ended.
 *
 * @param lost is told of the loss: nothing more may be asked for in that transaction
 */
export async function untilLost<Tx, T>(
  begin: (body: (tx: Tx) => Promise<T>) => Promise<T>,
  work: (tx: Tx) => Promise<T>,
  lost: (tx: Tx) => void,
): Promise<T> {
  let over = false
  let current: { readonly tx: Tx; readonly working: Promise<unknown> } | null = null
  const body = async (tx: Tx): Promise<T> => {
    const working = work(tx)
    current = { tx, working }
    try {
      return await working
    } finally {
      if (over) await new Promise<never>(() => {})
    }
  }
  try {
    return await begin(body)
  } catch (error) {
    over = true
    const begun = current as { readonly tx: Tx; readonly working: Promise<unknown> } | null
    if (begun !== null) {
      lost(begun.tx)
      await Promise.allSettled([begun.working])
    }
    throw error
  }
}

/** The setting that is there for as long as a transaction is. */
const INSIDE = 'stathmos.inside'

/**
 * Statements that PostgreSQL itself refuses outside of a transaction: `begin` keeps for itself what it asks for at the end,
 * and statements are sent without waiting for answers, so that one may come after the end whoever looks before. What goes
 * with it, in the same flight, leaves a mark that outside of a transaction is gone again at once.
 */
export function insideOnly(tx: PostgresSession, options: { readonly prepare: boolean }): SqlSession {
  return {
    async query(text, values) {
      // Both at once: nothing comes between them.
      const mark = tx.unsafe(`select set_config('${INSIDE}', 'yes', true)`, [], options)
      const rows = tx.unsafe(guarded(text), [...values] as never[], options)
      try {
        await mark
        return (await rows) as readonly SqlRow[]
      } catch (error) {
        await Promise.resolve(rows).catch(() => {})
        if (hasCode(error, NO_NUMBER) && (error as Error).message.includes(OVER)) throw transactionOver(error)
        throw error
      }
    },
  }
}

const OVER = 'stathmos: the transaction is over'
/** What PostgreSQL says of a text that is to be a number and is none. */
const NO_NUMBER: ReadonlySet<string> = new Set(['22P02'])

/** Every change that the store makes needs the first text that goes with it. */
function guarded(text: string): string {
  const over = `('${OVER}' || coalesce(current_setting('${INSIDE}', true), ''))::integer::text`
  return text.replace(
    /\$\d+::text/,
    (value) => `(case when current_setting('${INSIDE}', true) = 'yes' then ${value} else ${over} end)`,
  )
}

/** The client connects again by itself, and says so. */
function listening(sql: PostgresSql, channel: string, changed: () => void, ending: Set<() => void>): () => void {
  let ended = false
  const heard = (): void => {
    if (!ended) changed()
  }
  const listener = Promise.resolve(sql.listen(channel, heard, heard)).catch(() => null)
  const end = (): void => {
    if (ended) return
    ended = true
    ending.delete(end)
    void listener.then((listens) => listens?.unlisten()).catch(() => {})
  }
  ending.add(end)
  return end
}
