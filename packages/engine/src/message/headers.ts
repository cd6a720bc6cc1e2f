/** A moment, ms since 1970-01-01 UTC, kept apart from plain numbers. */
export class Timestamp {
  readonly ms: number
  constructor(ms: number) {
    this.ms = ms
  }
}

/** What a header may hold, neutral to every protocol. Integers beyond 2^53 are bigints. */
export type HeaderValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Timestamp
  | readonly HeaderValue[]
  | Headers

/** The typed headers of a message, or the arguments of a binding. Never a plain object: names are the client's. */
export type Headers = ReadonlyMap<string, HeaderValue>

export const NO_HEADERS: Headers = new Map()
