import type { Random } from '../random.ts'
import type { Runtime } from '../runtime.ts'
import type { Service } from '../service.ts'
import type { Store } from '../store/port.ts'
import type { MemoryEngine } from '../transport/memory/index.ts'
import type { Chronicle } from './chronicle.ts'
import { Faults, type Decide } from './faults.ts'
import { injectStore } from './inject-store.ts'
import { injectTransport } from './inject-transport.ts'
import type { VirtualTime } from './virtual-time.ts'

/** What the processes of a test share. */
export interface Ground {
  readonly time: VirtualTime
  readonly engine: MemoryEngine
  readonly random: Random
  readonly chronicle: Chronicle
  /** What goes wrong in the process of that name. */
  readonly decide: (process: string) => Decide
  /** How long a call takes that is delayed. */
  readonly pause: () => Promise<void>
}

/** A running process of a service, which can be ended at any moment. */
export class TestProcess<Tx> {
  /** `shop#1`: the service and a number. */
  readonly name: string
  readonly runtime: Runtime<Tx>
  readonly #faults: Faults
  readonly #died: Promise<void>
  /** Why it could not start. */
  #failure: { readonly error: unknown } | null = null

  constructor(name: string, service: Service<Tx>, store: Store<Tx>, ground: Ground) {
    const { time, engine, random, chronicle } = ground
    this.name = name
    this.#faults = new Faults(ground.decide(name), ground.pause)
    this.#died = new Promise((resolve) => this.#faults.onCrash(resolve))
    this.runtime = service.replace({
      store: injectStore(chronicle.store(store), this.#faults),
      transport: injectTransport(chronicle.transport(engine.transport()), this.#faults),
      clock: time.clock(false, () => !this.#faults.crashed),
      random,
    })
  }

  /** It died, or could not start. */
  get gone(): boolean {
    return this.#faults.crashed || this.#failure !== null
  }

  get idle(): boolean {
    return this.gone || this.runtime.surroundings.activity.idle
  }

  /** Resolves when it has started, or died before. @throws what it could not start because of */
  async start(): Promise<void> {
    const starting = this.runtime.start().catch((error: unknown) => {
      this.#failure = { error }
    })
    await Promise.race([starting, this.#died])
    if (this.#failure !== null && !this.#faults.crashed) throw this.#failure.error
  }

  /** Ends it without any goodbye. */
  crash(): void {
    this.#faults.crash()
  }

  async stop(): Promise<void> {
    if (!this.gone) await this.runtime.stop(0)
    this.crash()
  }
}
