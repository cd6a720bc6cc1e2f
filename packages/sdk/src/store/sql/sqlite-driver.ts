import { Buffer } from 'node:buffer'
import { SdkError } from '../../errors.ts'
import type { Clock } from '../../time/clock.ts'
import type { SqlDriver, SqlRow, SqlSession, SqlValue } from './driver.ts'

/** A prepared statement of better-sqlite3 or node:sqlite, as far as it is used. */
export interface SqliteStatement {
  /** Of better-sqlite3: whether it returns rows. */
  readonly reader?: boolean
  all(...values: never[]): unknown[]
  run(...values: never[]): unknown
}

/** A connection of better-sqlite3 or node:sqlite, as far as it is used. */
export interface SqliteHandle {
  prepare(text: string): SqliteStatement
  exec(text: string): unknown
  /** better-sqlite3. */
  readonly inTransaction?: boolean
  /** node:sqlite, from Node 22.16. */
  readonly isTransaction?: boolean
}

/** How long a statement is tried again while another connection writes, and the pauses in between. */
const BUSY_MS_MAX = 5000
const BUSY_PAUSE_MS = 1
const BUSY_PAUSE_MS_MAX = 50

/** Pause between two looks whether another connection has committed. A look is a few microseconds. */
const LOOK_MS = 20

/** Prepared statements that are kept. */
const STATEMENTS_MAX = 500

/**
 * One connection for the store's own transactions, one after the other: SQLite knows one transaction per connection, and
 * whatever runs on it meanwhile is part of it. Another connection's lock is waited for without blocking the process.
 *
 * @param db the user's connection, in which they have their own transactions
 * @param own the connection for the store's own; the same as `db` when there is only one
 */
export function sqliteDriver<Db extends SqliteHandle>(db: Db, own: Db, clock: Clock): SqlDriver<Db> {
  const runs = new Map([db, own].map((handle) => [handle, runnerOf(handle)]))
  const run = runs.get(own)!
  const watching = new Set<() => void>()
  let last: Promise<unknown> = Promise.resolve()
  /** The transaction of the store that is under way. */
  let current: symbol | null = null

  /** Has `work` wait for its turn on the store's connection. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work)
    last = turn.catch(() => {})
    return turn
  }
  /** Tries a statement outside of any transaction until no other connection is in its way. */
  const patiently = async (attempt: () => readonly SqlRow[]): Promise<readonly SqlRow[]> => {
    const giveUpAt = clock.monotonic() + BUSY_MS_MAX
    for (let pauseMs = BUSY_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, BUSY_PAUSE_MS_MAX)) {
      // What is open now was begun by the user on this connection: the statement would be part of it.
      if (!inTransaction(own)) {
        try {
          return withoutBlocking(run, attempt)
        } catch (error) {
          if (!isBusy(error) || clock.monotonic() > giveUpAt) throw error
        }
      } else if (clock.monotonic() > giveUpAt) throw occupied()
      await new Promise<void>((resolve) => clock.after(pauseMs, resolve))
    }
  }
  return {
    name: 'sqlite',
    dialect: 'sqlite',
    query: (text, values) => inTurn(() => patiently(() => run(text, values))),
    transaction: (work) =>
      inTurn(async () => {
        await patiently(() => run('begin immediate', []))
        current = Symbol('transaction')
        try {
          const result = await work(own)
          run('commit', [])
          return result
        } catch (error) {
          // Some errors end the transaction by themselves (disk full, out of memory).
          if (inTransaction(own)) run('rollback', [])
          throw error
        } finally {
          current = null
        }
      }),
    bind(tx): SqlSession {
      const bound = tx === own ? current : null
      const runIn = runs.get(tx) ?? runnerOf(tx)
      return {
        // Not async: in a synchronous transaction of the user the first statement is run before it ends.
        query(text, values) {
          if (!inTransaction(tx) || (tx === own && bound !== current)) return Promise.reject(over())
          try {
            return Promise.resolve(runIn(text, values))
          } catch (error) {
            return Promise.reject(error)
          }
        },
      }
    },
    isTransaction: (handle): handle is Db => (handle === db || handle === own) && inTransaction(handle as Db),
    watch(_channel, changed) {
      let version = dataVersion(run)
      let timer = clock.after(LOOK_MS, look)
      function look(): void {
        const now = dataVersion(run)
        if (now !== version) changed()
        version = now
        timer = clock.after(LOOK_MS, look)
      }
      const end = (): void => {
        timer.cancel()
        watching.delete(end)
      }
      watching.add(end)
      return end
    },
    async close() {
      for (const end of watching) end()
      await last
    },
  }
}

type Run = (text: string, values: readonly SqlValue[]) => readonly SqlRow[]

function runnerOf(handle: SqliteHandle): Run {
  const statements = new Map<string, SqliteStatement>()
  return (text, values) => {
    let statement = statements.get(text)
    if (statement === undefined) {
      statement = handle.prepare(text)
      if (statements.size < STATEMENTS_MAX) statements.set(text, statement)
    }
    const bound = values.map((value) =>
      value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value,
    ) as never[]
    if (statement.reader !== false) return statement.all(...bound) as readonly SqlRow[]
    statement.run(...bound)
    return []
  }
}

/** SQLite's own waiting blocks the process, and with it whoever would give the lock back. */
function withoutBlocking<T>(run: Run, attempt: () => T): T {
  const [before] = run('pragma busy_timeout', [])
  run('pragma busy_timeout = 0', [])
  try {
    return attempt()
  } finally {
    run(`pragma busy_timeout = ${Number(before?.['timeout'] ?? 0)}`, [])
  }
}

function dataVersion(run: Run): number {
  return Number(run('pragma data_version', [])[0]!['data_version'])
}

/** Handles that cannot tell are believed. */
function inTransaction(handle: SqliteHandle): boolean {
  return handle.inTransaction ?? handle.isTransaction ?? true
}

function isBusy(error: unknown): boolean {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  return (typeof code === 'string' && code.startsWith('SQLITE_BUSY')) || errcode === 5 || errcode === 517
}

function over(): SdkError {
  return new SdkError(
    'transaction_over',
    'the transaction is over: a synchronous transaction of SQLite ends before anything that is awaited; use the ' +
      "store's own transaction, or await everything between begin and commit",
  )
}

function occupied(): SdkError {
  return new SdkError(
    'conflict',
    'the connection is in a transaction of its own: give the store a second connection to the same file (own)',
    { retryable: true },
  )
}
