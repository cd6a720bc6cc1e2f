import { assert } from '@stathmos/std'
import { EngineError } from '../errors.ts'
import type { Headers } from '../message/headers.ts'
import type { Binding, Destination } from './binding.ts'
import { Exchange, Vertex } from './exchange.ts'
import type { Edge, ExchangeDefinition, RoutingTarget } from './exchange.ts'
import { Traversal } from './traversal.ts'

/** Name of the exchange to which every queue is bound by its own name. It cannot be declared, bound or deleted. */
export const DEFAULT_EXCHANGE = ''

const DEFAULT_DEFINITION: ExchangeDefinition = {
  name: DEFAULT_EXCHANGE,
  type: 'direct',
  durable: true,
  autoDelete: false,
  internal: false,
  delayed: false,
  opaque: '',
}

const COMPARED_FIELDS = ['type', 'durable', 'autoDelete', 'internal', 'delayed', 'alternate'] as const

export interface ExchangeTableOptions<Q extends RoutingTarget> {
  /** The owner's queues by name. What it returns may be cached until {@link ExchangeTable.version} changes. */
  readonly queue: (name: string) => Q | undefined
  /** Exchanges that exist from the start and cannot be deleted. One named '' is passed over: it is always there. */
  readonly standardExchanges?: readonly ExchangeDefinition[]
  /** Called once for every exchange that goes, whether asked for or by auto-delete, when it is gone with its bindings. */
  readonly onDeleted?: (exchange: Exchange<Q>) => void
  /**
   * Called for every binding that goes as a consequence of something else: of the end of its queue or exchange. Not
   * for one removed by {@link ExchangeTable.unbind}.
   */
  readonly onUnbound?: (binding: Binding) => void
}

/** The exchanges and bindings of one vhost. In memory only: the owner persists what it is told. */
export class ExchangeTable<Q extends RoutingTarget> {
  readonly #queue: (name: string) => Q | undefined
  readonly #onDeleted: (exchange: Exchange<Q>) => void
  readonly #onUnbound: (binding: Binding) => void
  readonly #exchanges = new Map<string, Exchange<Q>>()
  readonly #reserved = new Set<string>([DEFAULT_EXCHANGE])
  /** Queues that a binding or a message has led to. */
  readonly #queues = new Map<string, Vertex<Q>>()
  readonly #traversal: Traversal<Q>
  readonly #headerDependence = new Map<Exchange<Q>, boolean>()
  #version = 1

  constructor(options: ExchangeTableOptions<Q>) {
    this.#queue = options.queue
    this.#onDeleted = options.onDeleted ?? (() => {})
    this.#onUnbound = options.onUnbound ?? (() => {})
    this.#traversal = new Traversal<Q>({
      exchange: (name) => this.#exchanges.get(name),
      queueVertex: (name) => this.#queueVertex(name),
    })
    this.#exchanges.set(DEFAULT_EXCHANGE, new Exchange<Q>(DEFAULT_DEFINITION))
    for (const definition of options.standardExchanges ?? []) {
      if (definition.name === DEFAULT_EXCHANGE) continue
      this.#exchanges.set(definition.name, new Exchange<Q>(definition))
      this.#reserved.add(definition.name)
    }
  }

  /** Grows with every change that may alter where any message goes. A result is good for one version. */
  get version(): number {
    return this.#version
  }

  /**
   * Makes the exchange, or finds the one that is there already.
   *
   * @throws {EngineError} `reserved` for the default exchange; `not_equivalent` with data `field`, `current` and
   *   `received` when an exchange of that name is something else. `opaque` is not compared: only the declarer can.
   */
  declare(definition: ExchangeDefinition): { exchange: Exchange<Q>; created: boolean } {
    if (definition.name === DEFAULT_EXCHANGE) throw reserved('the default exchange cannot be declared', '')
    const existing = this.#exchanges.get(definition.name)
    if (existing !== undefined) {
      requireEquivalent(existing.definition, definition)
      return { exchange: existing, created: false }
    }
    const exchange = new Exchange<Q>(definition)
    this.#exchanges.set(definition.name, exchange)
    // It may be an alternate that others have been waiting for.
    this.#changed()
    return { exchange, created: true }
  }

  get(name: string): Exchange<Q> | undefined {
    return this.#exchanges.get(name)
  }

  /** All exchanges, the default one first. */
  exchanges(): Iterable<Exchange<Q>> {
    return this.#exchanges.values()
  }

  /** Whether the exchange is one of those that cannot be deleted. */
  isReserved(exchange: Exchange<Q>): boolean {
    return this.#reserved.has(exchange.name)
  }

  /**
   * Deletes the exchange, every binding that leads from or to it, and the auto-delete exchanges that thereby lose
   * their last binding. Nothing happens when it is deleted already.
   *
   * @throws {EngineError} `reserved`; `in_use` when `ifUnused` is set and bindings lead on from it
   */
  delete(exchange: Exchange<Q>, { ifUnused = false }: { readonly ifUnused?: boolean } = {}): void {
    if (exchange.deleted) return
    assert(this.#exchanges.get(exchange.name) === exchange, `exchange "${exchange.name}" belongs to another table`)
    if (this.isReserved(exchange)) {
      throw reserved(`exchange "${exchange.name}" is built in and cannot be deleted`, exchange.name)
    }
    if (ifUnused && exchange.bindingCount > 0) {
      throw new EngineError(
        'in_use',
        `exchange "${exchange.name}" has bindings; remove them or delete it unconditionally`,
        {
          exchange: exchange.name,
        },
      )
    }
    this.#deleteAll([exchange])
  }

  /**
   * @returns false when the same binding was there already
   * @throws {EngineError} `reserved` for the default exchange on either side; `exchange_not_found` or
   *   `queue_not_found`; `invalid_argument` when the arguments make no sense for the exchange's type
   */
  bind(source: string, destination: Destination, key: string, args: Headers): boolean {
    refuseDefault(source, destination)
    const exchange = this.#exchanges.get(source)
    if (exchange === undefined) throw notFound('exchange', source)
    const target = this.#vertex(destination)
    if (target === undefined) throw notFound(destination.kind, destination.name)
    const added = exchange.bind(destination, target, key, args)
    if (added) this.#changed()
    return added
  }

  /**
   * @returns false when there is no such binding, be it that an end of it does not exist: whoever asks for a binding
   *   to be gone has what was asked for
   * @throws {EngineError} `reserved` for the default exchange on either side
   */
  unbind(source: string, destination: Destination, key: string, args: Headers): boolean {
    refuseDefault(source, destination)
    const exchange = this.#exchanges.get(source)
    if (exchange?.unbind({ source, destination, key, args }) === undefined) return false
    this.#changed()
    if (this.#isSpent(exchange)) this.#deleteAll([exchange])
    return true
  }

  /** Tells that a queue of the owner came to be: the default exchange leads to it from now on. */
  queueDeclared(): void {
    this.#changed()
  }

  /** Forgets a queue and every binding to it, and the auto-delete exchanges that thereby lose their last binding. */
  removeQueue(queue: Q): void {
    this.#changed()
    const vertex = this.#queues.get(queue.name)
    if (vertex === undefined) return
    assert(vertex.queue === queue, `queue "${queue.name}" was replaced before it was removed`)
    this.#queues.delete(queue.name)
    this.#deleteAll(this.#dropIncoming(vertex))
  }

  /** All bindings, without those of the default exchange, which are implied. */
  *bindings(): IterableIterator<Binding> {
    for (const exchange of this.#exchanges.values()) yield* exchange.bindings()
  }

  /** The bindings that lead straight to the queue, without the implied one of the default exchange. */
  bindingsOf(queue: Q): Binding[] {
    const vertex = this.#queues.get(queue.name)
    return vertex === undefined ? [] : Array.from(vertex.incoming, (edge) => edge.binding)
  }

  /** The bindings that lead straight to the exchange. */
  bindingsTo(exchange: Exchange<Q>): Binding[] {
    return Array.from(exchange.vertex.incoming, (edge) => edge.binding)
  }

  /**
   * The distinct queues that a message published to `exchange` reaches, by bindings from exchange to exchange and,
   * at an exchange where nothing matches, by its alternate. An exchange is passed once, so cycles end. The result
   * holds for this {@link version}, and for other headers only where {@link dependsOnHeaders} is false; it must not
   * be changed. Cost: the bindings that match, and the queues once each.
   *
   * @param moreKeys further routing keys, each as good as `key`
   * @param headers called at most once, and only when an exchange looks at headers; null: there are none
   */
  resolve(
    exchange: Exchange<Q>,
    key: string,
    moreKeys: readonly string[] | null,
    headers: (() => Headers) | null,
  ): readonly Q[] {
    return this.#traversal.resolve(exchange, key, moreKeys, headers)
  }

  /** Whether two messages with the same keys but other headers may end in other queues. Holds for this {@link version}. */
  dependsOnHeaders(exchange: Exchange<Q>): boolean {
    let depends = this.#headerDependence.get(exchange)
    if (depends === undefined) {
      depends = this.#traversal.dependsOnHeaders(exchange)
      this.#headerDependence.set(exchange, depends)
    }
    return depends
  }

  #changed(): void {
    this.#version++
    this.#headerDependence.clear()
  }

  #vertex(destination: Destination): Vertex<Q> | undefined {
    if (destination.kind === 'queue') return this.#queueVertex(destination.name)
    return this.#exchanges.get(destination.name)?.vertex
  }

  /** The place of a queue, made when first asked for; it goes with the queue. */
  #queueVertex(name: string): Vertex<Q> | undefined {
    const queue = this.#queue(name)
    if (queue === undefined) return undefined
    let vertex = this.#queues.get(name)
    if (vertex === undefined) {
      vertex = new Vertex<Q>(queue, null)
      this.#queues.set(name, vertex)
    }
    assert(vertex.queue === queue, `queue "${name}" was replaced before it was removed`)
    return vertex
  }

  #isSpent(exchange: Exchange<Q>): boolean {
    return exchange.definition.autoDelete && exchange.bindingCount === 0 && !this.isReserved(exchange)
  }

  /** Removes every binding to a place that goes; returns the auto-delete exchanges that this leaves without bindings. */
  #dropIncoming(vertex: Vertex<Q>): Exchange<Q>[] {
    const spent: Exchange<Q>[] = []
    for (const edge of vertex.incoming) {
      this.#dropEdge(edge)
      if (!edge.source.deleted && this.#isSpent(edge.source)) spent.push(edge.source)
    }
    return spent
  }

  #dropEdge(edge: Edge<Q>): void {
    edge.source.unbind(edge.binding)
    this.#onUnbound(edge.binding)
  }

  /** Deletes the exchanges and those that go as a consequence: a list, not recursion, since chains can be long. */
  #deleteAll(doomed: Exchange<Q>[]): void {
    for (let at = 0; at < doomed.length; at++) {
      const exchange = doomed[at]!
      if (exchange.deleted) continue
      exchange.deleted = true
      this.#exchanges.delete(exchange.name)
      this.#changed()
      for (const edge of exchange.edges) this.#dropEdge(edge)
      for (const spent of this.#dropIncoming(exchange.vertex)) doomed.push(spent)
      this.#onDeleted(exchange)
    }
  }
}

function requireEquivalent(current: ExchangeDefinition, received: ExchangeDefinition): void {
  for (const field of COMPARED_FIELDS) {
    if (current[field] === received[field]) continue
    throw new EngineError(
      'not_equivalent',
      `exchange "${current.name}" exists with ${field} ${current[field] ?? 'unset'}, not ${received[field] ?? 'unset'}; declare it as it is, or delete it first`,
      { exchange: current.name, field, current: current[field], received: received[field] },
    )
  }
}

function refuseDefault(source: string, destination: Destination): void {
  if (source === DEFAULT_EXCHANGE || (destination.kind === 'exchange' && destination.name === DEFAULT_EXCHANGE)) {
    throw reserved('the default exchange cannot be bound or unbound', '')
  }
}

function reserved(message: string, exchange: string): EngineError {
  return new EngineError('reserved', message, { exchange })
}

function notFound(kind: Destination['kind'], name: string): EngineError {
  const code = kind === 'queue' ? 'queue_not_found' : 'exchange_not_found'
  return new EngineError(code, `there is no ${kind} "${name}"; declare it first`, { [kind]: name })
}
