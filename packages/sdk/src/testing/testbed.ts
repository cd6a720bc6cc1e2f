import type { Contract, DataOf } from '../contract/contract.ts'
import type { SendOptions } from '../outbox/outgoing.ts'
import type { Scope } from '../outbox/scope.ts'
import type { AnswerOf } from '../request/answer.ts'
import type { RequestContract } from '../contract/request-contract.ts'
import type { AskOptions } from '../request/asker.ts'
import { seededRandom } from '../random.ts'
import { Register } from '../register/register.ts'
import type { Service } from '../service.ts'
import { memoryStore, type MemoryStore, type MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Store } from '../store/port.ts'
import type { Clock } from '../time/clock.ts'
import type { Duration } from '../time/duration.ts'
import { memoryEngine } from '../transport/memory/index.ts'
import type { Chaos } from '../transport/memory/index.ts'
import { Activity } from '../work/activity.ts'
import { Chronicle } from './chronicle.ts'
import type { Decide } from './faults.ts'
import { OutsideAsker } from './outside-asker.ts'
import { storyOf } from './story.ts'
import type { Ground } from './test-process.ts'
import { VirtualTime } from './virtual-time.ts'
import { World, type Party } from './world.ts'

/** What a testbed is made with. */
export interface TestbedOptions<Tx> {
  /** Of all that is left to chance: ids, pauses between retries, places of messages without a key. Default: 1. */
  readonly seed?: number
  /**
   * Where all services keep their messages; a function makes it of the test's clock. Default: a new store in memory for
   * each store in memory that the services were declared with, and the services' own store where it is a database.
   */
  readonly store?: Store<Tx> | ((clock: Clock) => Store<Tx>)
  /** Processes of each service. Default: 1. */
  readonly processes?: number
}

/** A clock that stands still until the test moves it on. */
export interface TestClock extends Clock {
  /**
   * Moves time on and lets everything happen that becomes due, in its order. Timers that a test sets by this clock fire at
   * their very times; the services' own looks at their stores are left out while there is nothing to be found.
   */
  advance(by: Duration): Promise<void>
}

/** What a test does as one of the services. It never dies, whatever becomes of the service's processes. */
export interface Actor<Tx> {
  /** Publishes an event, in a transaction of its own. @returns its id */
  publish<In>(event: Contract<'event', string, In>, data: NoInfer<In>, options?: SendOptions): Promise<string>
  /** Sends a command, in a transaction of its own. @returns its id */
  send<In>(command: Contract<'command', string, In>, data: NoInfer<In>, options?: SendOptions): Promise<string>
  /** Runs `work` in a transaction of the service's store; what it publishes is sent when it has committed. */
  transaction<T>(work: (tx: Tx, scope: Scope) => Promise<T>): Promise<T>
  readonly register: Register<Tx>
  /** Where the service keeps its messages now. */
  readonly store: Store<Tx>
  /** Rows of the user's own, where the store is one in memory. */
  table<T>(name: string): Rows<T>
}

/** The committed rows of one table of the user's own. They are copies. */
export interface Rows<T> {
  get(key: string): T | undefined
  list(): readonly T[]
}

/** What a testbed is made of, besides its services; for whoever lets things go wrong in it. */
export interface Interference {
  readonly decide: (process: string) => Decide
  readonly chaos: Chaos
  readonly pause: (clock: Clock) => Promise<void>
  /** For how long `settled` lets time go on, in ms. */
  readonly patienceMs: number
}

/** Services in a test: everything is real but what is around them. */
export class Testbed<Tx> implements Actor<Tx>, AsyncDisposable {
  readonly clock: TestClock
  readonly #world: World<Tx>
  readonly #chronicle: Chronicle
  readonly #asker: OutsideAsker
  readonly #actors: ReadonlyMap<Service<Tx>, Actor<Tx>>

  /** @see testbed */
  constructor(services: readonly Service<Tx>[], options: TestbedOptions<Tx>, interference: Interference | null) {
    const time = new VirtualTime()
    const clock = time.clock(true)
    const random = seededRandom(options.seed ?? 1)
    const handovers = new Activity()
    const chaos = interference === null ? {} : { chaos: interference.chaos }
    const engine = memoryEngine({ random, begin: () => handovers.begin(), ...chaos })
    this.#chronicle = new Chronicle()
    const ground: Ground = {
      time,
      engine,
      random,
      chronicle: this.#chronicle,
      decide: interference?.decide ?? (() => () => null),
      pause: async () => interference?.pause(clock),
    }
    const stores = storesOf(services, options.store, clock)
    const parties = services.map((service): Party<Tx> => ({ service, store: stores.get(service.store)! }))
    this.#actors = new Map(parties.map((party) => [party.service, this.#actorOf(party, ground)]))
    this.#world = new World(parties, ground, {
      processes: options.processes ?? 1,
      handovers,
      patienceMs: interference?.patienceMs ?? null,
    })
    this.#asker = new OutsideAsker(ground, clock, parties[0]?.store ?? { now: async () => clock.now() })
    this.clock = { ...clock, advance: (by) => this.#world.advance(by) }
  }

  /** @throws what a service's `start` throws */
  async start(): Promise<void> {
    await this.#world.start()
  }

  /** Lets time go on wherever `scenario` waits, until it ends. @see World.drive */
  async drive(scenario: Promise<void>, withinMs: number): Promise<void> {
    await this.#world.drive(scenario, withinMs)
  }

  /** What the test does as another service than the first. */
  as(service: Service<Tx>): Actor<Tx> {
    const actor = this.#actors.get(service)
    if (actor === undefined) throw new Error(`the service ${service.name} is not in this testbed; hand it to testbed()`)
    return actor
  }

  publish<In>(event: Contract<'event', string, In>, data: NoInfer<In>, options?: SendOptions): Promise<string> {
    return this.#first.publish(event, data, options)
  }

  send<In>(command: Contract<'command', string, In>, data: NoInfer<In>, options?: SendOptions): Promise<string> {
    return this.#first.send(command, data, options)
  }

  transaction<T>(work: (tx: Tx, scope: Scope) => Promise<T>): Promise<T> {
    return this.#first.transaction(work)
  }

  get register(): Register<Tx> {
    return this.#first.register
  }

  get store(): Store<Tx> {
    return this.#first.store
  }

  table<T>(name: string): Rows<T> {
    return this.#first.table<T>(name)
  }

  /** Asks as a service that is not there otherwise. What is never answered needs time to be moved on. */
  ask<C extends RequestContract>(contract: C, data: DataOf<C>, options?: AskOptions): Promise<AnswerOf<C>> {
    return this.#asker.ask(contract, data, options)
  }

  /**
   * Resolves when nothing is left that could be done without time going on.
   *
   * @throws {Error} that names what does not end
   */
  settled(): Promise<void> {
    return this.#world.settled()
  }

  /** Moves time on until nothing is owed any more: retries, what processes that died had begun. Timers are not waited for. */
  rested(within: Duration = '1h'): Promise<void> {
    return this.#world.rested(within)
  }

  /**
   * Ends the running processes without any goodbye, and starts new ones: what was delivered to them comes again at once,
   * and what they had leased when time has gone on.
   *
   * @param service only this one's. Default: all
   */
  crash(service?: Service<Tx>): Promise<void> {
    return this.#world.crash(service)
  }

  /**
   * What happened, as a tree: each message with the handlers that got it, what became of it there, and what they sent
   * because of it. The same test gives the same text: messages have numbers, times are counted from the test's beginning.
   *
   * @param id only the tree in which this message is
   */
  story(id?: string): Promise<string> {
    return storyOf(this.#chronicle, this.#world.stores, this.#world.startedAt, id)
  }

  /** Stops the services. Stores that were handed in stay open. */
  async close(): Promise<void> {
    await this.#asker.close()
    await this.#world.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get #first(): Actor<Tx> {
    const [first] = this.#actors.values()
    if (first === undefined) throw new Error('there is no service in this testbed; hand one to testbed()')
    return first
  }

  /** Assembled before the processes are: from then on the service itself is the process that started last. */
  #actorOf({ service, store }: Party<Tx>, { time, engine, random, chronicle }: Ground): Actor<Tx> {
    const { outbox, surroundings } = service.replace({
      store: chronicle.store(store),
      transport: engine.transport(),
      clock: time.clock(false),
      random,
    })
    const wake = (): void => this.#world.wake(service)
    const transaction: Actor<Tx>['transaction'] = async (work) => {
      const result = await surroundings.store.transaction((tx) => work(tx, outbox.in(tx)))
      wake()
      return result
    }
    return {
      transaction,
      publish: (event, data, options) => transaction((_, scope) => scope.publish(event, data, options)),
      send: (command, data, options) => transaction((_, scope) => scope.send(command, data, options)),
      register: new Register(surroundings, (name) => service.contracts.find((other) => other.name === name), wake),
      store,
      table<T>(name: string) {
        if (!('table' in store))
          throw new Error(`the store ${store.name} has no table "${name}" to look at; ask the database itself`)
        return (store as unknown as MemoryStore).table<T>(name)
      },
    }
  }
}

/**
 * Starts services of a program in a test, without a change of the program: with their real handlers, on an engine in
 * memory, a clock that the test moves, and chance that comes from a seed. Several services share engine and clock.
 *
 * A service that was declared with a store in memory gets a new, empty one, on the test's clock. One whose store is a
 * database keeps it, and what is due when is decided by the database's own clock, which `clock.advance` does not move; give
 * a `store` to do without the database. The services must not be running; when the testbed is closed they are as stopped.
 *
 * @throws what a service's `start` throws
 */
export async function testbed<Tx>(
  app: Service<Tx> | readonly Service<Tx>[],
  options: TestbedOptions<Tx> = {},
): Promise<Testbed<Tx>> {
  const bed = new Testbed(servicesOf(app), options, null)
  await bed.start()
  await bed.settled()
  return bed
}

export function servicesOf<Tx>(app: Service<Tx> | readonly Service<Tx>[]): readonly Service<Tx>[] {
  return Array.isArray(app) ? (app as readonly Service<Tx>[]) : [app as Service<Tx>]
}

/** The stores to be used in place of those that services were declared with. */
function storesOf<Tx>(
  services: readonly Service<Tx>[],
  store: TestbedOptions<Tx>['store'],
  clock: Clock,
): ReadonlyMap<Store<Tx>, Store<Tx>> {
  const given = typeof store === 'function' ? store(clock) : store
  const stores = new Map<Store<Tx>, Store<Tx>>()
  for (const { store: own } of services) {
    if (stores.has(own)) continue
    const inMemory = own.name === 'memory' ? (memoryStore({ clock }) as Store<MemoryTransaction>) : null
    stores.set(own, given ?? (inMemory as Store<Tx> | null) ?? own)
  }
  return stores
}
