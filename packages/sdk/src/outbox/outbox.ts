import type { Surroundings } from '../surroundings.ts'
import type { Timer } from '../time/clock.ts'
import type { SendOptions } from './outgoing.ts'
import type { RelayOptions } from './relay-options.ts'
import { Cleaner, type Retention } from './cleaner.ts'
import { depthGauges } from './depth-gauges.ts'
import { DepthLimit, type OutboxLimit } from './depth-limit.ts'
import { DepthLook } from './depth-look.ts'
import { OutgoingBuffer } from './outgoing-buffer.ts'
import { OutgoingFactory } from './outgoing.ts'
import { relaySettings } from './relay-options.ts'
import { Relay } from './relay.ts'
import { immediateScope, type Added, type Scope } from './scope.ts'
import { StoreTime } from './store-time.ts'
import { Timers } from './timers.ts'

export interface OutboxOptions {
  /** `false` for processes that only write: others send what they publish. */
  readonly relay?: RelayOptions | false
  readonly retention?: Retention
  /** Default: none. */
  readonly limit?: OutboxLimit
}

/** Most transactions commit within this time after the last message was added to them: until then nobody is told, in ms. */
const COMMIT_MS = 1
/** While transactions follow each other, others are told no more often than this, in ms. */
const TOLD_EVERY_MS = 25

/** All that a service has for sending: the way in for applications and handlers, and what works behind it. */
export class Outbox<Tx> {
  /** The store's time, for whoever else has to judge deadlines. */
  readonly time: StoreTime<Tx>
  readonly #surroundings: Surroundings<Tx>
  readonly #factory: OutgoingFactory
  readonly #relay: Relay<Tx> | null
  readonly #timers: Timers<Tx>
  readonly #cleaner: Cleaner<Tx>
  readonly #look: DepthLook
  readonly #limit: DepthLimit | null
  #endGauges: () => void = () => {}
  #telling: Timer | null = null
  #toldAt = Number.NEGATIVE_INFINITY

  /** @throws {SdkError} `invalid_declaration` */
  constructor(surroundings: Surroundings<Tx>, options: OutboxOptions = {}) {
    this.#surroundings = surroundings
    this.time = new StoreTime(surroundings.store, surroundings.clock)
    this.#factory = new OutgoingFactory(surroundings as Surroundings<never>, this.time)
    const settings = relaySettings(options.relay === false ? {} : options.relay)
    this.#relay = options.relay === false ? null : new Relay(surroundings, settings, this.time)
    this.#timers = new Timers(surroundings, this.time, settings.pollMs, () =>
      this.committed({ messages: 1, dueAt: null }),
    )
    this.#look = new DepthLook(surroundings.store.outbox, surroundings.clock)
    this.#limit =
      options.limit === undefined
        ? null
        : new DepthLimit(surroundings as Surroundings<never>, this.#look, options.limit)
    this.#cleaner = new Cleaner(surroundings, this.time, options.retention)
  }

  /** For how long the inbox remembers what was handled. */
  get rememberedMs(): number {
    return this.#cleaner.rememberedMs
  }

  /**
   * Adds messages to the application's own transaction: they are sent if it commits, and only then.
   *
   * @throws {SdkError} `not_a_transaction`
   */
  in(tx: Tx): Scope {
    const make: OutgoingFactory['make'] = async (contract, data, options, cause) => {
      // Within the transaction: its connection may be the only one, and a service that only writes may never be started.
      if (goesByTime(options)) await this.time.refresh(tx)
      return this.#factory.make(contract, data, options, cause)
    }
    return immediateScope(this.#surroundings.store, tx, { make }, (added) => this.#expect(added), this.#limit)
  }

  /** Collects the messages of handlers that share a transaction. A full outbox takes none of them; they do not wait. */
  buffer(tx: Tx): OutgoingBuffer<Tx> {
    return this.#buffer(tx, this.#limit)
  }

  /** Collects messages that are few, and would be missed: a full outbox takes them, too. */
  unlimitedBuffer(tx: Tx): OutgoingBuffer<Tx> {
    return this.#buffer(tx, null)
  }

  /**
   * To be waited for before a transaction begins that is going to send: asks the store for its time, and waits for room
   * where that was declared, because nothing is locked yet. @returns what collects its messages
   *
   * @throws {SdkError} `overloaded`
   */
  async prepare(): Promise<(tx: Tx) => OutgoingBuffer<Tx>> {
    // While the transaction is open it could not be asked for, where there is one connection.
    await this.time.refresh()
    if (this.#limit?.blocks !== true) return (tx) => this.buffer(tx)
    await this.#limit.admit(1, false)
    return (tx) => this.unlimitedBuffer(tx)
  }

  #buffer(tx: Tx, limit: DepthLimit | null): OutgoingBuffer<Tx> {
    return new OutgoingBuffer(this.#surroundings.store, tx, this.#factory, (added) => this.committed(added), limit)
  }

  /**
   * Asks the store for its time and begins to send.
   *
   * @throws {SdkError} `invalid_declaration` when another service sends what is in the same outbox over another engine
   */
  async start(): Promise<void> {
    await this.#relay?.checkCompany()
    await this.time.refresh()
    await this.#limit?.start()
    this.#endGauges()
    this.#endGauges = depthGauges(this.#surroundings as Surroundings<never>, this.time, this.#look)
    if (this.#relay === null) return
    this.#relay.start()
    this.#timers.start()
    this.#cleaner.start()
  }

  /** Finishes what is being sent. What is left is sent by other processes, or after the next start. */
  async stop(): Promise<void> {
    this.#endGauges()
    this.#limit?.stop()
    this.#telling?.cancel()
    this.#telling = null
    await Promise.all([this.#cleaner.stop(), this.#timers.stop()])
    await this.#relay?.stop()
  }

  /**
   * Sends all that is due now, without having been started: for programs that end after each piece of work.
   *
   * @throws {SdkError} as {@link start}
   */
  async drain(): Promise<void> {
    await this.#relay?.checkCompany()
    await this.time.refresh()
    await this.#timers.drain()
    await this.#relay?.drain()
  }

  /** Nobody tells when an application's own transaction commits: the relay looks often for a moment. */
  #expect(added: Added): void {
    if (added.messages > 0) this.#relay?.expect()
    if (added.dueAt !== null) this.#timers.expect(added.dueAt)
    if (added.messages > 0) this.#tellOthersSoon()
  }

  /** To be called when a transaction has committed messages: has them sent at once. */
  committed(added: Added): void {
    if (added.messages > 0) this.#relay?.wake()
    if (added.dueAt !== null) this.#timers.expect(added.dueAt)
    if (added.messages > 0) this.#tellOthers()
  }

  /** They hear of it before the commit or after it, nobody knows, and look again and again for a moment. */
  #tellOthersSoon(): void {
    if (this.#telling !== null || this.#relay?.alone === true) return
    const { clock } = this.#surroundings
    const pauseMs = Math.max(COMMIT_MS, this.#toldAt + TOLD_EVERY_MS - clock.monotonic())
    this.#telling = clock.after(pauseMs, () => {
      this.#telling = null
      this.#toldAt = clock.monotonic()
      this.#tellOthers()
    })
  }

  #tellOthers(): void {
    if (this.#relay?.alone === true) return
    const { store, log } = this.#surroundings
    store.notify().catch((error: unknown) => log.debug({ err: error }, 'others could not be told; they will look'))
  }
}

/** Whether the time counts at which a message is made: nothing else is worth a question to the store. */
function goesByTime({ delay, at, ttl }: SendOptions = {}): boolean {
  return delay !== undefined || at !== undefined || ttl !== undefined
}
