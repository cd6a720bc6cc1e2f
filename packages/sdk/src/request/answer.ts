import type { Payload, RequestContract, UNDECLARED_ERRORS } from '../contract/request-contract.ts'

/** What comes with each error that a request declares, by the error's name. */
export type ErrorPayloads = Readonly<Record<string, Payload>>

/** What an answerer gives, and what an asker gets. */
export type GivenOf<P> = P extends Payload<infer In> ? In : never
export type GotOf<P> = P extends Payload<never, infer Out> ? Out : never

/**
 * What came of a request; never thrown. Of the errors that no contract declares, each lets the asker conclude one thing:
 *
 * - `unreachable`: nobody has it, and nobody ever will. Asking again is safe.
 * - `overloaded`: the same, because too many requests are out already. Asking again is safe, later.
 * - `timeout`: the time is over. It may have been handled, may be handled now, or not at all.
 * - `failed`: an answerer took it and threw something, or could not read it; what it had done by then is not known.
 */
export type Answer<Value = unknown, Errors extends ErrorPayloads = ErrorPayloads> =
  | { readonly ok: true; readonly value: Value }
  | DeclaredAnswer<Errors>
  | UndeclaredAnswer

type DeclaredAnswer<Errors extends ErrorPayloads> = {
  readonly [E in keyof Errors & string]: { readonly ok: false; readonly error: E; readonly value: GotOf<Errors[E]> }
}[keyof Errors & string]

/** What may come of every request: {@link Answer} says what each lets the asker conclude. */
export interface UndeclaredAnswer {
  readonly ok: false
  readonly error: UndeclaredError
  /** Says what happened, for people. */
  readonly message: string
}

/** The errors that every request has without declaring them. */
export type UndeclaredError = (typeof UNDECLARED_ERRORS)[number]

/** What asking a contract resolves with. */
export type AnswerOf<C extends RequestContract> = Answer<GotOf<C['answer']>, C['errors']>
