import { SdkError } from '../../../errors.ts'

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

export function transactionOver(cause?: unknown): SdkError {
  return new SdkError(
    'transaction_over',
    'the transaction has ended; await all that is done in it before it ends',
    cause === undefined ? {} : { cause },
  )
}
