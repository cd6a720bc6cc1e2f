import { transactionOver } from './journal.ts'

/** The transactions that an adapter ran and that are over, for libraries whose handles do not tell. */
export class EndedTransactions {
  readonly #ended = new WeakSet<object>()

  /** Runs `work` with the handle, which is over afterwards. */
  async during<Tx extends object, T>(tx: Tx, work: (tx: Tx) => Promise<T>): Promise<T> {
    try {
      return await work(tx)
    } finally {
      this.end(tx)
    }
  }

  end(tx: object): void {
    this.#ended.add(tx)
  }

  /** @throws {SdkError} `transaction_over` */
  refuse(tx: object): void {
    if (this.#ended.has(tx)) throw transactionOver()
  }
}
