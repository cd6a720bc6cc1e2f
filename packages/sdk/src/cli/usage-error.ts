/** The command line cannot be used as it is; the message says what to write instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
