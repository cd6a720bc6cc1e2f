import { SdkError } from '../../errors.ts'
import type { Clock, Timer } from '../../time/clock.ts'
import { connectionLost } from './failure.ts'
import { insideOnly } from './postgres-js.ts'
import type { SqlDriver, SqlRow, SqlSession, SqlValue } from './driver.ts'

interface PgQuery {
  readonly text: string
  readonly values: unknown[]
  readonly name?: string
}

/** A connection of `pg`, as far as it is used. */
export interface PgClient {
  query(query: PgQuery): Promise<{
    readonly rows: readonly unknown[]
    /** What the server says that it did: the answer to `commit` is `ROLLBACK` when a statement before had failed. */
    readonly command?: string
  }>
  release(error?: Error | boolean): void
  on(event: 'notification', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end', listener: () => void): unknown
  removeListener(event: string, listener: (error?: Error) => void): unknown
  /** Newer versions of `pg`: what the server last said, `I` outside of a transaction. */
  getTransactionStatus?(): string | null
  /** Newer versions: it sends without waiting for answers. */
  readonly pipeline?: boolean
}

/** A pool of `pg`, as far as it is used. */
export interface PgPool {
  connect(): Promise<PgClient>
  query(query: PgQuery): Promise<{ readonly rows: readonly unknown[] }>
  readonly totalCount: number
  readonly options?: { readonly max?: number | undefined }
  on?(event: 'error', listener: (error: Error) => void): unknown
  removeListener?(event: 'error', listener: (error: Error) => void): unknown
}

/** What a pool's `connect` resolves with: `PoolClient`, with all that it can do for its users. */
export type PgClientOf<Pool extends PgPool> = Pool extends {
  connect: { (): Promise<infer Client extends PgClient>; (callback: never): unknown }
}
  ? Client
  : PgClient

export interface PgOptions {
  readonly prepare: boolean
  readonly listen: boolean
  readonly clock: Clock
}

/** Pause before listening again after the connection was lost. */
const LISTEN_AGAIN_MS = 1000

/** Longest text whose digest is remembered; others are the work of long lists and come once. */
const NAMES_MAX = 500

/** The client `pg`: a transaction is a `PoolClient` between `begin` and `commit`. */
export function pgDriver(pool: PgPool, { prepare, listen, clock }: PgOptions): SqlDriver<PgClient> {
  const names = new Map<string, string>()
  const ending = new Set<() => void>()
  const nameOf = (text: string): { name?: string } => {
    if (!prepare) return {}
    const known = names.get(text)
    if (known !== undefined) return { name: known }
    if (names.size >= NAMES_MAX) return {}
    const name = `stathmos_${digest(text)}`
    names.set(text, name)
    return { name }
  }
  const run = async (text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]> => {
    const { rows } = await pool.query({ text, values: [...values], ...nameOf(text) })
    return rows as readonly SqlRow[]
  }
  // The pool replaces idle connections that are lost; without anybody who hears of it, the process would end.
  pool.on?.('error', replaced)
  const isTransaction = (handle: unknown): handle is PgClient =>
    isClient(handle) && !('totalCount' in handle) && inTransaction(handle)
  return {
    name: 'postgres',
    dialect: 'postgres',
    tellsRollback: true,
    query: run,
    async transaction(work) {
      const client = await pool.connect()
      const command = (text: string): ReturnType<PgClient['query']> => client.query({ text, values: [] })
      let broken: Error | undefined
      // Without anybody who hears it, the loss of a connection that nothing is asked of at the moment ends the process.
      const lost = (error = new Error('the connection was lost')): void => {
        broken = error
      }
      client.on('error', lost)
      try {
        await command('begin isolation level read committed')
        try {
          const result = await work(client)
          if ((await command('commit')).command === 'ROLLBACK') throw rolledBack()
          return result
        } catch (error) {
          await command('rollback').catch(lost)
          if (broken === undefined) throw error
          throw connectionLost(error)
        }
      } finally {
        client.removeListener('error', lost)
        // A connection that could not be rolled back is in nobody knows which state.
        client.release(broken)
      }
    },
    bind: (tx) => ({
      async query(text, values) {
        if (!inTransaction(tx)) throw over()
        return inItsTurn(tx, { text, values: [...values], ...nameOf(text) })
      },
    }),
    isTransaction,
    // The only connection of a pool cannot listen all the time: nothing else could be done.
    ...(listen && pool.options?.max !== 1
      ? { watch: (channel, changed) => listening(pool, channel, changed, clock, ending) }
      : {}),
    async notify(channel) {
      await run('select pg_notify($1::text, $2::text)', [channel, ''])
    },
    close() {
      for (const end of ending) end()
      pool.removeListener?.('error', replaced)
      return Promise.resolve()
    },
  }

  function replaced(): void {}
}

/** A connection of the pool that listens until it is ended, and again when it was lost. */
function listening(
  pool: PgPool,
  channel: string,
  changed: () => void,
  clock: Clock,
  ending: Set<() => void>,
): () => void {
  let ended = false
  let client: PgClient | null = null
  let again: Timer | null = null
  const give = (error?: Error): void => {
    if (client === null) return
    const given = client
    client = null
    given.removeListener('notification', changed)
    given.removeListener('error', lost)
    given.removeListener('end', lost)
    // It has more to it than other connections of the pool: it is closed, not reused.
    given.release(error ?? true)
  }
  const lost = (error?: Error): void => {
    give(error)
    if (!ended) again = clock.after(LISTEN_AGAIN_MS, () => void connect())
  }
  const connect = async (): Promise<void> => {
    try {
      client = await pool.connect()
      client.on('notification', changed)
      client.on('error', lost)
      client.on('end', lost)
      if (ended) return give()
      await client.query({ text: `listen "${channel}"`, values: [] })
      // Something may have been said while nobody listened.
      if (!ended) changed()
    } catch (error) {
      lost(error instanceof Error ? error : undefined)
    }
  }
  const end = (): void => {
    ended = true
    again?.cancel()
    ending.delete(end)
    give()
  }
  ending.add(end)
  void connect()
  return end
}

function isClient(handle: unknown): handle is PgClient {
  return (
    typeof handle === 'object' &&
    handle !== null &&
    'query' in handle &&
    typeof handle.query === 'function' &&
    'release' in handle &&
    typeof handle.release === 'function'
  )
}

/** A client that sends without waiting for answers does not know where it is; the database has to tell. */
function pipelined(client: PgClient): SqlSession {
  const unsafe = async (text: string, values: unknown[]): Promise<readonly unknown[]> =>
    (await client.query({ text, values })).rows
  return insideOnly({ unsafe }, { prepare: false })
}

/** A query of `pg` as it waits for its turn. */
interface Waiting {
  callback: (error: unknown, result?: { readonly rows: readonly unknown[] }) => void
  submit(connection: unknown): unknown
}

/**
 * Runs a statement if the transaction is still open when its turn comes. A client queues what it is asked for, and only
 * the answer to what came before tells whether that was the end.
 */
async function inItsTurn(client: PgClient, query: PgQuery): Promise<readonly SqlRow[]> {
  const Query = (client.constructor as { readonly Query?: new (query: PgQuery) => Waiting }).Query
  if (client.pipeline === true) return pipelined(client).query(query.text, query.values as SqlValue[])
  if (Query === undefined || client.getTransactionStatus === undefined)
    return (await client.query(query)).rows as readonly SqlRow[]
  return new Promise((resolve, reject) => {
    const waiting = new Query(query)
    const submit = waiting.submit.bind(waiting)
    waiting.submit = (connection) => (inTransaction(client) ? submit(connection) : over())
    waiting.callback = (error, result) =>
      error
        ? reject(error instanceof Error ? error : new Error('the client failed', { cause: error }))
        : resolve(result!.rows as SqlRow[])
    // As it is, a query of its own: the client hands back the same, and tells the callback.
    void (client as unknown as { query(query: Waiting): unknown }).query(waiting)
  })
}

/** Clients that cannot tell are believed. */
function inTransaction(client: PgClient): boolean {
  const status = client.getTransactionStatus?.() ?? null
  return status === null || status !== 'I'
}

function rolledBack(): SdkError {
  return new SdkError(
    'transaction_over',
    'a statement of the transaction failed, and PostgreSQL rolled all of it back: let the error through, or have the statement in a savepoint',
    { retryable: true },
  )
}

function over(): SdkError {
  return new SdkError(
    'transaction_over',
    'the transaction is over: await what is sent in it before commit, and hand in a client after begin',
  )
}

/** FNV-1a, twice with different starts: names of statements only have to differ from each other. */
function digest(text: string): string {
  let [left, right] = [0x811c9dc5, 0x01000193]
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    left = Math.imul(left ^ unit, 0x01000193) >>> 0
    right = Math.imul(right ^ unit, 0x85ebca6b) >>> 0
  }
  return left.toString(36) + right.toString(36)
}
