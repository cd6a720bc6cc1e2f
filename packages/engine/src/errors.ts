/** What can be wrong in the domain. Closed: every front-end maps every code, or does not compile. */
export type EngineErrorCode =
  | 'vhost_not_found'
  | 'queue_not_found'
  | 'exchange_not_found'
  | 'user_not_found'
  /** Declared again with another meaning; `data.difference` says which. */
  | 'not_equivalent'
  /** A queue that belongs to another owner. */
  | 'owned_elsewhere'
  /** The queue has an exclusive consumer, or one was asked for beside others. */
  | 'exclusive_consumer'
  | 'queue_not_empty'
  | 'in_use'
  /** A name or object that clients may not make, change or delete. */
  | 'reserved'
  | 'access_refused'
  | 'invalid_argument'
  | 'limit_reached'
  /** The broker is stopping, or its storage has stopped taking messages. */
  | 'unavailable'

/** A fact of the domain that stops one request. Closes nothing by itself. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: EngineErrorCode
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: EngineErrorCode, message: string, data: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.code = code
    this.data = data
  }
}
