import type { Message } from '../message/message.ts'
import type { Contract, Encoded } from './contract.ts'

/** How one kind of data is validated, written and read: a request has several of them, for what comes back. */
export interface Payload<In = never, Out = unknown> {
  /**
   * @param id the reply's
   * @throws {SdkError} `invalid_data` with the validator's issues
   */
  readonly encode: (data: In, id?: string) => Promise<Omit<Encoded, 'key'>>
  /** @throws {SdkError} `unknown_contract` for a version that this program does not know, `invalid_data`, `malformed_message` */
  readonly decode: (
    written: Pick<Message, 'version' | 'contentType' | 'body'> & Partial<Pick<Message, 'id'>>,
  ) => Promise<Out>
}

/** The errors that a request declares, by name, with what comes with each. */
export type DeclaredErrors = Readonly<Record<string, Payload>>

/** What is asked, what is answered, and which errors may be answered instead. Made by `request`. */
export interface RequestContract<
  Name extends string = string,
  In = never,
  Out = unknown,
  AnswerIn = never,
  AnswerOut = unknown,
  Errors extends DeclaredErrors = DeclaredErrors,
> extends Contract<'request', Name, In, Out> {
  readonly answer: Payload<AnswerIn, AnswerOut>
  readonly errors: Errors
}

/**
 * What may come of any request without being declared; no declared error has one of these names. docs/sdk/requests.md
 * says what each lets an asker conclude.
 */
export const UNDECLARED_ERRORS = ['timeout', 'unreachable', 'overloaded', 'failed'] as const
