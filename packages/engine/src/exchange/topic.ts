import type { Bound, Finder, Matcher, Routable } from './matcher.ts'
import { TopicTree } from './topic-tree.ts'

/** A binding's key is a pattern of words; it matches when one of the message's routing keys fits (see {@link TopicTree}). */
export class TopicMatcher<B extends Bound> implements Matcher<B> {
  readonly #tree = new TopicTree<B>()

  add(bound: B): void {
    this.#tree.add(bound.binding.key, bound)
  }

  remove(bound: B): void {
    this.#tree.remove(bound.binding.key, bound)
  }

  match(message: Routable, finder: Finder<B>): void {
    this.#tree.match(message.key, finder)
    if (message.moreKeys === null) return
    for (const key of message.moreKeys) this.#tree.match(key, finder)
  }
}
