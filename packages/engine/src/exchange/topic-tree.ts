import type { Finder } from './matcher.ts'

const ONE_WORD = '*'
const ANY_WORDS = '#'

class Node<T> {
  readonly parent: Node<T> | null
  /** The word that leads here from the parent. */
  readonly word: string
  readonly children = new Map<string, Node<T>>()
  /** The two wildcard children, kept apart so that a word of a key is never taken for a wildcard. */
  oneWord: Node<T> | null = null
  anyWords: Node<T> | null = null
  readonly values = new Set<T>()
  /** The last step of a match that made this node active, so that it is active once per step. */
  step = 0

  constructor(parent: Node<T> | null, word: string) {
    this.parent = parent
    this.word = word
  }
}

/**
 * Values under patterns of dot-separated words. In a pattern `*` stands for exactly one word and `#` for any number
 * of words, none included; a wildcard is a whole word (`a*` is just a word). The empty string has no words at all,
 * so `#` fits it and `*` does not; other empty words count (`a.` is two words).
 *
 * Matching walks the key word by word and keeps the set of nodes that the words so far lead to, each at most once.
 * It therefore costs at most words × nodes, whatever the wildcards: `#.#.#.#` cannot blow up as it does when every
 * `#` tries each split in turn.
 */
export class TopicTree<T> {
  readonly #root = new Node<T>(null, '')
  #step = 0
  // The active nodes before and after a word; reused from match to match.
  #active: Node<T>[] = []
  #next: Node<T>[] = []

  /** @returns false when the pattern already held the value */
  add(pattern: string, value: T): boolean {
    let node = this.#root
    for (const word of words(pattern)) node = child(node, word) ?? grow(node, word)
    const before = node.values.size
    return node.values.add(value).size > before
  }

  /** @returns false when the pattern did not hold the value */
  remove(pattern: string, value: T): boolean {
    let node: Node<T> | null = this.#root
    for (const word of words(pattern)) {
      node = child(node, word)
      if (node === null) return false
    }
    if (!node.values.delete(value)) return false
    prune(node)
    return true
  }

  /** Finds the values of every pattern that `key` fits; a value under several fitting patterns is found for each. */
  match(key: string, finder: Finder<T>): void {
    this.#step++
    this.#activate(this.#root)
    this.#advance()
    if (key !== '') {
      let start = 0
      while (start <= key.length && this.#active.length > 0) {
        const dot = key.indexOf('.', start)
        const end = dot === -1 ? key.length : dot
        this.#take(key.slice(start, end))
        start = end + 1
      }
    }
    for (const node of this.#active) {
      for (const value of node.values) finder.found(value)
    }
    // Forget the nodes: an idle tree must not keep removed ones alive.
    this.#active.length = 0
  }

  /** Moves every active node along one word of the key. */
  #take(word: string): void {
    this.#step++
    for (const node of this.#active) {
      const literal = node.children.get(word)
      if (literal !== undefined) this.#activate(literal)
      if (node.oneWord !== null) this.#activate(node.oneWord)
      // `#` swallows the word and stays where it is.
      if (node.word === ANY_WORDS) this.#activate(node)
    }
    this.#advance()
  }

  /** A `#` below a node is active together with it, because it may stand for no word. */
  #activate(node: Node<T>): void {
    for (let at: Node<T> | null = node; at !== null && at.step !== this.#step; at = at.anyWords) {
      at.step = this.#step
      this.#next.push(at)
    }
  }

  #advance(): void {
    const spent = this.#active
    this.#active = this.#next
    spent.length = 0
    this.#next = spent
  }
}

function words(pattern: string): string[] {
  return pattern === '' ? [] : pattern.split('.')
}

function child<T>(node: Node<T>, word: string): Node<T> | null {
  if (word === ONE_WORD) return node.oneWord
  if (word === ANY_WORDS) return node.anyWords
  return node.children.get(word) ?? null
}

function grow<T>(parent: Node<T>, word: string): Node<T> {
  const node = new Node<T>(parent, word)
  if (word === ONE_WORD) parent.oneWord = node
  else if (word === ANY_WORDS) parent.anyWords = node
  else parent.children.set(word, node)
  return node
}

/** Cuts off what leads to no value any more, from the leaf upwards. */
function prune<T>(leaf: Node<T>): void {
  let node = leaf
  while (node.parent !== null && isBare(node)) {
    const { parent } = node
    if (node.word === ONE_WORD) parent.oneWord = null
    else if (node.word === ANY_WORDS) parent.anyWords = null
    else parent.children.delete(node.word)
    node = parent
  }
}

function isBare<T>(node: Node<T>): boolean {
  return node.values.size === 0 && node.children.size === 0 && node.oneWord === null && node.anyWords === null
}
