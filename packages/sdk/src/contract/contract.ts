import type { Message, MessageKind } from '../message/message.ts'
import type { Digest } from './version-chain.ts'

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
 * `In` is what a sender gives; `Out` is what a handler gets: always of the newest version this program knows. A verb that
 * takes a contract and data is to be declared as `send<C extends Contract<'command'>>(contract: C, data: DataOf<C>)`, so
 * that the contract alone decides what the data may be.
 */
export interface Contract<
  Kind extends MessageKind = MessageKind,
  Name extends string = string,
  In = never,
  Out = unknown,
> {
  readonly kind: Kind
  readonly name: Name
  /** The newest version: 1, 2, 3 … It is the one that is sent, unless `sendAs` says otherwise; {@link Encoded} tells. */
  readonly version: number
  /** Whether messages of it are about something: whether `.key()` was given. */
  readonly keyed: boolean
  /**
   * Validates the data and writes it.
   *
   * @param id the message's; some forms of bodies cannot be written without it: they are for that message and no other
   * @throws {SdkError} `invalid_data` with the validator's issues
   */
  readonly encode: (data: In, id?: string) => Promise<Encoded>
  /**
   * By what the data is known again, without a message being made of it. Validates as {@link encode} does.
   *
   * @param known an earlier digest that this one is to be compared with
   * @throws {SdkError} as {@link encode}
   */
  readonly digest: (data: In, known?: string) => Promise<Digest>
  /**
   * Reads a message of any version up to this one, validates it and brings it to the newest version.
   *
   * @throws {SdkError} `unknown_contract` for a version that this program does not know, `invalid_data`, `malformed_message`
   */
  readonly decode: (message: Message) => Promise<Out>
}

/** What a sender gives to a contract. */
export type DataOf<C> = C extends Contract<MessageKind, string, infer In> ? In : never

/** What a handler gets of a contract. */
export type ReceivedOf<C> = C extends Contract<MessageKind, string, never, infer Out> ? Out : never
