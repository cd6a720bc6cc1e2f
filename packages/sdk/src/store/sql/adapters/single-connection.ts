import type { SqlSession } from '../driver.ts'

/**
 * Turns on a connection that everybody shares, as libraries have it for SQLite: a statement that belongs to no transaction
 * must not run in the middle of one, nor a transaction within another.
 */
export class SingleConnection {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `work` when all that was asked for before is over. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => {})
    return turn
  }
}

/**
 * Makes of a transaction that a library has just begun with `begin` one that has SQLite's write lock, as `begin immediate`
 * would have. One that first reads and then writes fails at once where another process writes, without waiting.
 */
export async function takeWriteLock(session: SqlSession): Promise<void> {
  await session.query('rollback', [])
  try {
    await session.query('begin immediate', [])
  } catch (error) {
    // The library will roll back, and would report that there is nothing to roll back instead of this error.
    await session.query('begin', [])
    throw error
  }
}
