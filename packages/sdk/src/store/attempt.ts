/** One failed attempt. The newest 20 of a message are kept. */
export interface Attempt {
  /** ms since 1970. */
  readonly at: number
  readonly attempt: number
  /** The error's class, or its code. */
  readonly name: string
  readonly message: string
  readonly stack?: string
  /** The same for errors that an operator would call the same; see `fingerprintOf`. */
  readonly fingerprint: string
  /** Host and process that tried. */
  readonly by: string
  /** Of its program, where the service says one. */
  readonly version?: string
}
