import type { Message } from '../message/message.ts'

/** A message as bytes with headers. */
export interface Wired {
  /** Names and values as text; transports put them where their protocol has headers. */
  readonly headers: Readonly<Record<string, string>>
  readonly contentType: string
  readonly body: Uint8Array
}

/** How messages are written for the wire: what strangers see who do not use this SDK. */
export interface WireForm {
  readonly name: string
  encode(message: Message): Wired
  /** @throws {SdkError} `malformed_message` naming what is missing or wrong */
  decode(wired: Wired): Message
}
