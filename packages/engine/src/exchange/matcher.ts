import type { Headers } from '../message/headers.ts'
import type { Binding } from './binding.ts'

/** What routing may look at in a message. */
export interface Routable {
  readonly key: string
  /** Further routing keys, each as good as the first; null when there are none. */
  readonly moreKeys: readonly string[] | null
  /** The headers, decoded when first asked for. */
  headers(): Headers
}

/** Takes matches one by one, so that matching makes no garbage. */
export interface Finder<T> {
  /** May be called more than once with the same match. Must not call the matcher again. */
  found(match: T): void
}

/** Something that was bound by a binding: in an exchange, an edge of the routing graph. */
export interface Bound {
  readonly binding: Binding
}

/** The rule of one exchange type: keeps bindings and finds those that a message matches. */
export interface Matcher<B extends Bound> {
  /**
   * @param bound not in the matcher yet
   * @throws {EngineError} `invalid_argument` when the arguments make no sense for the type; nothing is added then
   */
  add(bound: B): void
  /** @param bound the same object that was added */
  remove(bound: B): void
  match(message: Routable, finder: Finder<B>): void
}
