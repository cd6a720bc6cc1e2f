import type { Bound, Finder, Matcher, Routable } from './matcher.ts'

/** Every binding matches every message. */
export class FanoutMatcher<B extends Bound> implements Matcher<B> {
  readonly #all = new Set<B>()

  add(bound: B): void {
    this.#all.add(bound)
  }

  remove(bound: B): void {
    this.#all.delete(bound)
  }

  match(_message: Routable, finder: Finder<B>): void {
    for (const bound of this.#all) finder.found(bound)
  }
}
