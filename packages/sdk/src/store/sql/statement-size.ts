import { SdkError } from '../../errors.ts'
import type { StatementLimit } from './dialect.ts'
import type { SqlRow, SqlValue } from './driver.ts'

/** What every server takes as it is set up: nobody has to be asked. */
const TAKEN_BYTES = 256 * 1024

/** What a client adds to a statement before it is sent. */
const AROUND_BYTES = 64

/**
 * Where clients write or read a binary as a text of two digits a byte: one that is longer than Node's longest text, 2^29
 * characters, could be stored by some and read by none.
 */
const BINARY_BYTES_MAX = 250 * 1024 * 1024

/** @throws {SdkError} `too_large` for a binary that would be too long as text */
export function checkBinaries(values: readonly SqlValue[]): void {
  for (const value of values)
    if (value instanceof Uint8Array && value.byteLength > BINARY_BYTES_MAX)
      throw new SdkError(
        'too_large',
        `a body of ${value.byteLength} bytes could not be read back, nothing of it was written; at most ` +
          `${BINARY_BYTES_MAX} fit: store the data elsewhere and send where it is`,
        { data: { bytes: value.byteLength, max: BINARY_BYTES_MAX } },
      )
}

/**
 * Refuses statements that are larger than the server takes, before they are sent. Sent, they would cost the connection,
 * and the transaction with it, and sometimes look as if the server had gone away.
 */
export class StatementSize {
  readonly #limit: StatementLimit
  #taken = TAKEN_BYTES

  constructor(limit: StatementLimit) {
    this.#limit = limit
  }

  /** Whether the statement is so large that {@link check} has to be asked. */
  isDoubtful(text: string, values: readonly SqlValue[]): boolean {
    let most = text.length
    for (const value of values)
      if (typeof value === 'string') most += 2 * value.length
      else if (value instanceof Uint8Array) most += 2 * value.byteLength
    return most > this.#taken / 2 && this.#bytesOf(text, values) > this.#taken
  }

  /**
   * Asks for the limit, which somebody may have raised since.
   *
   * @param ask runs a statement where the large one is to be run
   * @throws {SdkError} `too_large`
   */
  async check(
    text: string,
    values: readonly SqlValue[],
    ask: (text: string) => Promise<readonly SqlRow[]>,
  ): Promise<void> {
    const { bytesSql, setting } = this.#limit
    const [row] = await ask(`select ${bytesSql} as bytes_max`)
    const max = Number(row?.['bytes_max'])
    const bytes = this.#bytesOf(text, values)
    if (bytes <= max) this.#taken = Math.max(this.#taken, max)
    else
      throw new SdkError(
        'too_large',
        `a statement of ${bytes} bytes is needed, and the database takes ${max} (${setting}), so that nothing of it was ` +
          `written: store the data elsewhere and send where it is, or raise ${setting}; a body takes twice its bytes`,
        { data: { bytes, max } },
      )
  }

  #bytesOf(text: string, values: readonly SqlValue[]): number {
    return values.reduce<number>((sum, value) => sum + this.#limit.bytesOf(value), text.length + AROUND_BYTES)
  }
}
