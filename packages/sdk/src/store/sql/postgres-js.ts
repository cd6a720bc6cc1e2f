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
      const boxed = await sql.begin('isolation level read committed', async (tx: PostgresTransaction) => ({
        result: await work(tx),
      }))
      return (boxed as { readonly result: T }).result
    },
    bind: session,
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
