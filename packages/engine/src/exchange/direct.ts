import type { Bound, Finder, Matcher, Routable } from './matcher.ts'

/** A binding matches when its key is one of the message's routing keys. */
export class DirectMatcher<B extends Bound> implements Matcher<B> {
  readonly #byKey = new Map<string, Set<B>>()

  add(bound: B): void {
    const { key } = bound.binding
    const same = this.#byKey.get(key)
    if (same === undefined) this.#byKey.set(key, new Set([bound]))
    else same.add(bound)
  }

  remove(bound: B): void {
    const { key } = bound.binding
    const same = this.#byKey.get(key)
    if (same === undefined) return
    same.delete(bound)
    if (same.size === 0) this.#byKey.delete(key)
  }

  match(message: Routable, finder: Finder<B>): void {
    this.#matchKey(message.key, finder)
    if (message.moreKeys === null) return
    for (const key of message.moreKeys) this.#matchKey(key, finder)
  }

  #matchKey(key: string, finder: Finder<B>): void {
    const same = this.#byKey.get(key)
    if (same === undefined) return
    for (const bound of same) finder.found(bound)
  }
}
