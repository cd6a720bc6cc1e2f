import type { Message, MessageKind } from '../message/message.ts'

/** Data of a contract, ready to be sent. */
export interface Encoded {
  readonly version: number
  readonly contentType: string
  readonly body: Uint8Array
  /** What `.key()` says of the data; null without one. */
  readonly key: string | null
}

/**
 * What two services share about a message: its name, its versions, what it is about. A value, made by `event`, `command`
 * or `request`.
 *
 * `In` is what a sender gives; `Out` is what a handler gets: always of the newest version this program knows.
 */
export interface Contract<
  Kind extends MessageKind = MessageKind,
  Name extends string = string,
  In = never,
  Out = unknown,
> {
  readonly kind: Kind
  readonly name: Name
  /** The newest version, which is the one that is sent: 1, 2, 3 … */
  readonly version: number
  /** Whether messages of it are about something: whether `.key()` was given. */
  readonly keyed: boolean
  /**
   * Validates the data and writes it in the newest version.
   *
   * @throws {SdkError} `invalid_data` with the validator's issues
   */
  encode(data: In): Promise<Encoded>
  /**
   * Reads a message of any version up to this one, validates it and brings it to the newest version.
   *
   * @throws {SdkError} `unknown_contract` for a version that this program does not know, `invalid_data`, `malformed_message`
   */
  decode(message: Message): Promise<Out>
}
