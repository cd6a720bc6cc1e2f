import type { Binding, Destination } from './binding.ts'
import { bindingIdentity } from './binding.ts'
import { DirectMatcher } from './direct.ts'
import { FanoutMatcher } from './fanout.ts'
import { HeadersMatcher } from './headers.ts'
import type { Matcher } from './matcher.ts'
import { TopicMatcher } from './topic.ts'

export type ExchangeType = 'direct' | 'fanout' | 'topic' | 'headers'

/** What an exchange is. Immutable: to change it, delete the exchange and declare another. */
export interface ExchangeDefinition {
  readonly name: string
  readonly type: ExchangeType
  readonly durable: boolean
  /** Goes with its last binding; until it is first bound, it stays. */
  readonly autoDelete: boolean
  /** Takes messages from other exchanges only. Whoever publishes asks; routing does not. */
  readonly internal: boolean
  /** Its messages may ask to be routed later. Whoever publishes asks; routing does not. */
  readonly delayed: boolean
  /** Name of the exchange that takes what matches no binding here. It need not exist. */
  readonly alternate?: string
  /** Whatever the declarer wants to be told again. Never read here. */
  readonly opaque: string
}

/** What routing leads to: a queue, known by nothing but its name. */
export interface RoutingTarget {
  readonly name: string
}

/** A queue or an exchange as a place in the routing graph. */
export class Vertex<Q extends RoutingTarget> {
  /** Exactly one of the two is set. */
  readonly queue: Q | null
  readonly exchange: Exchange<Q> | null
  readonly incoming = new Set<Edge<Q>>()
  /** The last traversal that came here, so that each comes once. */
  round = 0

  constructor(queue: Q | null, exchange: Exchange<Q> | null) {
    this.queue = queue
    this.exchange = exchange
  }
}

/** A binding between two places of the routing graph. */
export interface Edge<Q extends RoutingTarget> {
  readonly binding: Binding
  readonly source: Exchange<Q>
  readonly target: Vertex<Q>
}

/** A place that messages are published to, and the bindings that lead on from it. */
export class Exchange<Q extends RoutingTarget> {
  readonly definition: ExchangeDefinition
  readonly name: string
  readonly type: ExchangeType
  readonly internal: boolean
  readonly delayed: boolean
  /** Once true it stays true, and nothing is routed here any more. */
  deleted = false
  readonly vertex: Vertex<Q>
  readonly matcher: Matcher<Edge<Q>>
  readonly #edges = new Map<string, Edge<Q>>()
  /** The edges that lead to exchanges: few, where those to queues may be many. */
  readonly #onward = new Set<Edge<Q>>()

  constructor(definition: ExchangeDefinition) {
    this.definition = definition
    this.name = definition.name
    this.type = definition.type
    this.internal = definition.internal
    this.delayed = definition.delayed
    this.vertex = new Vertex<Q>(null, this)
    this.matcher = matcherOf(definition.type)
  }

  /** How many bindings lead on from here. */
  get bindingCount(): number {
    return this.#edges.size
  }

  /** The edges to other exchanges. */
  get onward(): Iterable<Edge<Q>> {
    return this.#onward
  }

  get edges(): Iterable<Edge<Q>> {
    return this.#edges.values()
  }

  /**
   * Adds a binding that leads to `target`.
   *
   * @returns false when the same binding was there already
   * @throws {EngineError} `invalid_argument` when the arguments make no sense for the exchange's type
   */
  bind(destination: Destination, target: Vertex<Q>, key: string, args: Binding['args']): boolean {
    const binding: Binding = { source: this.name, destination, key, args }
    const identity = bindingIdentity(binding)
    if (this.#edges.has(identity)) return false
    const edge: Edge<Q> = { binding, source: this, target }
    // First the matcher, which may refuse.
    this.matcher.add(edge)
    this.#edges.set(identity, edge)
    target.incoming.add(edge)
    if (target.exchange !== null) this.#onward.add(edge)
    return true
  }

  /** @returns the binding that was removed, or undefined when there was none like it */
  unbind(binding: Binding): Binding | undefined {
    const identity = bindingIdentity(binding)
    const edge = this.#edges.get(identity)
    if (edge === undefined) return undefined
    this.matcher.remove(edge)
    this.#edges.delete(identity)
    edge.target.incoming.delete(edge)
    this.#onward.delete(edge)
    return edge.binding
  }

  *bindings(): IterableIterator<Binding> {
    for (const edge of this.#edges.values()) yield edge.binding
  }
}

function matcherOf<Q extends RoutingTarget>(type: ExchangeType): Matcher<Edge<Q>> {
  switch (type) {
    case 'direct':
      return new DirectMatcher()
    case 'fanout':
      return new FanoutMatcher()
    case 'topic':
      return new TopicMatcher()
    case 'headers':
      return new HeadersMatcher()
  }
}
