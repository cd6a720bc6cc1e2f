import type { ErrorPayloads, GivenOf } from './answer.ts'

/** Thrown by `fail`, so that it ends a handler from any depth; the answerer turns it into a reply. */
export class Declined extends Error {
  override readonly name = 'Declined'
  readonly error: string
  readonly value: unknown

  constructor(error: string, value: unknown) {
    super(`the request is answered with "${error}"; whoever catches this has to throw it on`)
    this.error = error
    this.value = value
  }
}

/**
 * Answers with a declared error, and ends the handler. What comes with the error may be left out where its contract takes
 * undefined.
 */
export type Fail<Errors extends ErrorPayloads> = <E extends keyof Errors & string>(
  error: E,
  ...value: undefined extends GivenOf<Errors[E]> ? [value?: GivenOf<Errors[E]>] : [value: GivenOf<Errors[E]>]
) => never

/** A `fail`, whatever the errors are: what may be given to it is its type's affair. */
export function fail(error: string, ...[value]: readonly unknown[]): never {
  throw new Declined(error, value)
}
