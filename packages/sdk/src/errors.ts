/** What can go wrong, as stable words to branch on. Every one is a row of docs/sdk/errors.md. */
export type SdkErrorCode =
  // The program is wrong: found at start where that is possible.
  | 'not_a_transaction'
  | 'transaction_over'
  | 'invalid_declaration'
  | 'capability_missing'
  | 'peer_missing'
  | 'peer_unusable'
  | 'not_started'
  // The data is wrong.
  | 'invalid_data'
  | 'unknown_contract'
  | 'malformed_message'
  | 'unknown_key'
  | 'too_large'
  | 'unroutable'
  | 'refused'
  // The surroundings do not answer.
  | 'transport_down'
  | 'directory_unreadable'
  | 'store_down'
  | 'lease_lost'
  | 'conflict'
  | 'overloaded'
  | 'timeout'
  | 'unreachable'
  | 'expired'
  | 'cancelled'
  | 'not_found'
  | 'not_migrated'

/** What an {@link SdkError} has besides code and message. */
export interface SdkErrorOptions {
  /** Whether the same call may succeed later without a change of program or data. Default: false. */
  readonly retryable?: boolean
  /** Fields that a program may want: ids, limits, names. */
  readonly data?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** Every error that the SDK raises itself. What handlers throw is theirs and passes through untouched. */
export class SdkError extends Error {
  override readonly name = 'SdkError'
  readonly code: SdkErrorCode
  readonly retryable: boolean
  readonly data: Readonly<Record<string, unknown>>

  /** @param message names the thing and the remedy */
  constructor(code: SdkErrorCode, message: string, options: SdkErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = options.retryable ?? false
    this.data = options.data ?? {}
  }
}
