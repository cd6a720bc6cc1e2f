import type { Headers } from '../message/headers.ts'
import { NO_HEADERS } from '../message/headers.ts'
import type { Edge, Exchange, RoutingTarget, Vertex } from './exchange.ts'
import type { Finder, Routable } from './matcher.ts'

/** What a traversal asks of the table it walks. */
export interface Places<Q extends RoutingTarget> {
  exchange(name: string): Exchange<Q> | undefined
  /** The place of the queue of that name, for the default exchange. */
  queueVertex(name: string): Vertex<Q> | undefined
}

const NOWHERE: readonly never[] = Object.freeze([])

/**
 * Walks the routing graph from one exchange and collects the queues that a message reaches. One object serves a
 * whole table, one call at a time; vertices carry the number of the round that saw them last, so that neither
 * cycles nor duplicates need a set per message.
 */
export class Traversal<Q extends RoutingTarget> implements Routable, Finder<Edge<Q>> {
  readonly #places: Places<Q>
  #round = 0
  readonly #exchanges: Exchange<Q>[] = []
  #reached: Q[] = []
  #matched = false

  // The message of this round.
  key = ''
  moreKeys: readonly string[] | null = null
  #headerSource: (() => Headers) | null = null
  #headers: Headers | null = null

  constructor(places: Places<Q>) {
    this.#places = places
  }

  /** The distinct queues reached, in the order in which they were. */
  resolve(
    start: Exchange<Q>,
    key: string,
    moreKeys: readonly string[] | null,
    headers: (() => Headers) | null,
  ): readonly Q[] {
    this.#begin(start)
    this.key = key
    this.moreKeys = moreKeys
    this.#headerSource = headers
    try {
      for (let at = 0; at < this.#exchanges.length; at++) this.#visit(this.#exchanges[at]!)
      return this.#reached.length === 0 ? NOWHERE : this.#reached
    } finally {
      this.#end()
    }
  }

  /** Whether an exchange that looks at headers may be reached from `start`, by bindings or as an alternate. */
  dependsOnHeaders(start: Exchange<Q>): boolean {
    this.#begin(start)
    try {
      for (let at = 0; at < this.#exchanges.length; at++) {
        const exchange = this.#exchanges[at]!
        if (exchange.type === 'headers') return true
        for (const edge of exchange.onward) this.#enter(edge.target.exchange)
        this.#enterAlternate(exchange)
      }
      return false
    } finally {
      this.#end()
    }
  }

  /** Decoded at most once per message, however many exchanges ask. */
  headers(): Headers {
    this.#headers ??= this.#headerSource === null ? NO_HEADERS : this.#headerSource()
    return this.#headers
  }

  found(edge: Edge<Q>): void {
    this.#reach(edge.target)
  }

  #begin(start: Exchange<Q>): void {
    this.#round++
    this.#enter(start)
  }

  /** Lets go of the message and the result: they belong to the caller. */
  #end(): void {
    this.#exchanges.length = 0
    this.#reached = []
    this.moreKeys = null
    this.#headerSource = null
    this.#headers = null
  }

  #visit(exchange: Exchange<Q>): void {
    this.#matched = false
    if (exchange.name === '') this.#byName()
    else exchange.matcher.match(this, this)
    // The alternate takes what matched no binding here. What matched a binding to an exchange that then leads
    // nowhere is that exchange's affair, and its alternate's.
    if (!this.#matched) this.#enterAlternate(exchange)
  }

  /** The default exchange: each queue is bound to it by its own name. */
  #byName(): void {
    this.#reachQueue(this.key)
    if (this.moreKeys === null) return
    for (const key of this.moreKeys) this.#reachQueue(key)
  }

  #reachQueue(name: string): void {
    const vertex = this.#places.queueVertex(name)
    if (vertex !== undefined) this.#reach(vertex)
  }

  #reach(vertex: Vertex<Q>): void {
    this.#matched = true
    if (vertex.queue === null) {
      this.#enter(vertex.exchange)
    } else if (vertex.round !== this.#round) {
      vertex.round = this.#round
      this.#reached.push(vertex.queue)
    }
  }

  #enter(exchange: Exchange<Q> | null): void {
    if (exchange === null || exchange.deleted || exchange.vertex.round === this.#round) return
    exchange.vertex.round = this.#round
    this.#exchanges.push(exchange)
  }

  #enterAlternate(exchange: Exchange<Q>): void {
    const name = exchange.definition.alternate
    if (name !== undefined) this.#enter(this.#places.exchange(name) ?? null)
  }
}
