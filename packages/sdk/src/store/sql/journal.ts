import { SdkError } from '../../errors.ts'
import { hasCode } from './failure.ts'
import type { SqlRow } from './driver.ts'

const BEGINS = /^\s*(?:begin|start\s+transaction)\b/i
/** `rollback to` a savepoint ends nothing. */
const ENDS = /^\s*(?:commit|end|abort|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b/i

const DEADLOCK: ReadonlySet<string> = new Set(['ER_LOCK_DEADLOCK', '1213'])
const LOCK_TIMEOUT: ReadonlySet<string> = new Set(['ER_LOCK_WAIT_TIMEOUT', '1205'])

/**
 * Where a connection is between begin and end, by what it is *asked* for: clients answer later, and what is asked for in
 * between would run after the end. Begins within a transaction whose begin nobody saw.
 */
export class Journal {
  #open = true
  #lost = false
  #number = 0
  /** The store began the transaction, and commits it. */
  own = false

  /** A number of its own for each transaction of the connection; null when none is open. */
  get transaction(): number | null {
    return this.#open ? this.#number : null
  }

  /** Notes a statement that is asked for now. */
  note(text: string): void {
    if (BEGINS.test(text)) this.begin()
    else if (ENDS.test(text)) this.end()
  }

  begin(): void {
    this.#open = true
    this.#lost = false
    this.#number++
  }

  end(): void {
    this.#open = false
    this.own = false
  }

  /** @throws {SdkError} `transaction_over` when it is not open any more, `conflict` when the database rolled it back */
  refuse(transaction: number | null = this.#number): void {
    if (!this.#open || transaction !== this.#number) throw transactionOver()
    if (this.#lost)
      throw new SdkError('conflict', 'the database rolled the transaction back after a deadlock: run it again', {
        retryable: true,
      })
  }

  /**
   * MySQL rolls back all of a transaction that is in a deadlock, and whoever catches the error goes on without one, each
   * statement committed by itself. In a transaction of the store's, another is begun at once, which will be rolled back.
   *
   * Never rejects.
   *
   * @param ask runs a statement on the connection, unnoted, ahead of whatever is asked for after the error is known
   */
  async failed(error: unknown, ask: (text: string) => Promise<readonly SqlRow[]>): Promise<void> {
    if (!this.#open || this.#lost) return
    try {
      if (hasCode(error, LOCK_TIMEOUT)) {
        // Only a server that is set so rolls back more than the statement.
        const [row] = await ask('select @@innodb_rollback_on_timeout as lost')
        if (Number(row?.['lost']) !== 1) return
      } else if (!hasCode(error, DEADLOCK)) return
      this.#lost = true
      if (this.own) await ask('start transaction')
    } catch {
      // Nothing more comes over a connection on which not even that can be asked.
    }
  }
}

export function transactionOver(cause?: unknown): SdkError {
  return new SdkError(
    'transaction_over',
    'the transaction has ended; await all that is done in it before it ends',
    cause === undefined ? {} : { cause },
  )
}
