import { isDeepStrictEqual } from 'node:util'
import type { Declarations } from './declarations.ts'
import type { Schedules as SchedulesOf } from './schedule/schedules.ts'
import type { Surroundings } from './surroundings.ts'
import type { Topology } from './transport/port.ts'
import type { WireForm } from './wire/wire-form.ts'
import { Consumer } from './inbox/consumer.ts'
import { Outbox, type OutboxOptions } from './outbox/outbox.ts'
import { CleanUp } from './register/clean-up.ts'
import { Register } from './register/register.ts'
import { Submission } from './register/submission.ts'
import type { SettingsDirectory } from './register/message-settings.ts'
import { Answerer } from './request/answerer.ts'
import { Asker, type AskerOptions } from './request/asker.ts'
import { Schedules } from './schedule/schedules.ts'
import { topologyOf } from './topology.ts'

export interface RuntimeOptions {
  readonly form: WireForm
  readonly outbox: OutboxOptions
  readonly asks: AskerOptions
  readonly settings: SettingsDirectory
}

/**
 * The parts of one running service, put together: made of what was declared, in given surroundings. It is started once
 * and stopped once; whoever wants to start again makes another one of the same declarations.
 */
export class Runtime<Tx> {
  readonly outbox: Outbox<Tx>
  readonly register: Register<Tx>
  readonly submission: Submission<Tx>
  readonly asker: Asker
  readonly surroundings: Surroundings<Tx>
  readonly #declarations: Declarations<Tx>
  readonly #form: WireForm
  readonly #cleanUp: CleanUp<Tx>
  #consumers: readonly Consumer<Tx>[] = []
  #answerers: readonly Answerer[] = []
  #schedules: SchedulesOf<Tx> | null = null
  #opened = false
  #opening: Promise<void> | null = null
  #closing: Promise<void> | null = null
  /** What is there at the engine, since it was opened last. */
  #made: Topology | null = null
  /** Whether the transport stays open until {@link stop}; otherwise it is closed when nobody declares any more. */
  #stays = false
  #declaring = 0

  /** @throws {SdkError} `invalid_declaration` */
  constructor(declarations: Declarations<Tx>, surroundings: Surroundings<Tx>, options: RuntimeOptions) {
    this.#declarations = declarations
    this.surroundings = surroundings
    this.#form = options.form
    this.outbox = new Outbox(surroundings, options.settings.outboxOptions(options.outbox))
    this.asker = new Asker(this.#timed, options.asks)
    this.submission = new Submission(surroundings, this.outbox, options.settings)
    this.register = new Register(
      surroundings,
      (name) => declarations.contract(name),
      () => this.wake(),
    )
    this.#cleanUp = new CleanUp(surroundings, options.settings.cleanUps)
  }

  /** Whether the transport is open. */
  get opened(): boolean {
    return this.#opened
  }

  /**
   * Checks the store, connects, makes what is needed at the engine, and begins: when it resolves, messages are sent and
   * handled. What fails leaves nothing running.
   *
   * @throws {SdkError} `not_migrated`, `store_down`, `transport_down`, `capability_missing`, `peer_missing`
   */
  async start(): Promise<void> {
    const { store, activity } = this.surroundings
    await activity.during(async () => {
      try {
        await store.check()
        await this.#openToStay()
        await this.outbox.start()
        await this.#startHandlers()
        await this.#startSchedules()
        this.#cleanUp.start()
      } catch (error) {
        await this.stop()
        throw error
      }
    })
  }

  /**
   * Takes nothing new, finishes what is under way and what is being sent, and disconnects: handlers first, because they
   * ask and send, and the way out last.
   *
   * @param graceMs after this time the signals of handlers that still run are aborted
   * @param patienceMs after this time more, those that do not heed them are left behind: they hold nothing up, and what
   * they handle is delivered again when their transactions have ended, or the process has
   */
  async stop(graceMs = Infinity, patienceMs = Infinity): Promise<void> {
    await Promise.all([this.#schedules?.stop(), this.#cleanUp.stop()])
    await this.#within(graceMs + patienceMs, this.#stopHandlers(graceMs))
    await this.outbox.stop()
    this.#stays = false
    await this.#close()
  }

  async #stopHandlers(graceMs: number): Promise<void> {
    await Promise.all([
      ...this.#consumers.map((consumer) => consumer.stop(graceMs)),
      ...this.#answerers.map((answerer) => answerer.stop(graceMs)),
    ])
    await this.asker.stop()
  }

  /** As `work`, but no longer than `ms`. */
  async #within(ms: number, work: Promise<void>): Promise<void> {
    if (ms === Infinity) return work
    const { clock, log } = this.surroundings
    let over = (): void => {}
    const timer = clock.after(ms, () => {
      log.error({ afterMs: ms }, 'handlers did not end when the service stopped, and are left behind')
      over()
    })
    await Promise.race([work, new Promise<void>((resolve) => (over = resolve))])
    timer.cancel()
  }

  /** Sends all that is due without starting anything, for programs that end after each piece of work. */
  async drain(): Promise<void> {
    await this.surroundings.activity.during(async () => {
      await this.#openToStay()
      await this.outbox.drain()
    })
  }

  /**
   * Makes what is needed at the engine, and starts nothing; disconnects when nobody else here needs the connection. The
   * store is not asked.
   *
   * @throws {SdkError} `transport_down`, `capability_missing`, `peer_missing`, `invalid_declaration`: what {@link start}
   *   would find out about the declarations and the transport
   */
  async declare(): Promise<void> {
    await this.surroundings.activity.during(async () => {
      await this.#readSchedules().check()
      this.#declaring++
      try {
        await this.#open()
      } finally {
        if (--this.#declaring === 0 && !this.#stays) await this.#close()
      }
    })
  }

  /** What is needed at the engine. @throws {SdkError} `capability_missing`, `invalid_declaration` */
  get topology(): Topology {
    const { service, transport } = this.surroundings
    return topologyOf(service, this.#declarations, transport)
  }

  /** Has everybody look for work that somebody else made due. */
  wake(): void {
    this.outbox.committed({ messages: 1, dueAt: null })
    for (const consumer of this.#consumers) consumer.wake()
  }

  /** Deadlines of requests go by the store's clock: an asker and an answerer whose hosts disagree would never meet. */
  get #timed(): Surroundings<Tx> {
    const { clock } = this.surroundings
    return {
      ...this.surroundings,
      clock: {
        now: () => this.outbox.time.now(),
        monotonic: () => clock.monotonic(),
        after: (delayMs, fire) => clock.after(delayMs, fire),
      },
    }
  }

  /** Connects until {@link stop}. */
  async #openToStay(): Promise<void> {
    this.#stays = true
    try {
      await this.#open()
    } catch (error) {
      if (!this.#opened) this.#stays = false
      throw error
    }
  }

  /** Connects once, whoever asks for it at the same time. What fails is tried anew by the next one. */
  async #open(): Promise<void> {
    await this.#closing?.catch(() => {})
    this.#opening ??= this.#connect().finally(() => (this.#opening = null))
    await this.#opening
  }

  async #connect(): Promise<void> {
    const { service, transport, clock, random, log } = this.surroundings
    // What cannot be is found before anybody is asked for it.
    const { topology } = this
    if (this.#opened) {
      // More may have been declared since.
      if (!isDeepStrictEqual(topology, this.#made)) await transport.declare(topology)
    } else {
      await transport.open({ service, form: this.#form, clock, random, log })
      this.#opened = true
      await transport.declare(topology).catch(async (error: unknown) => {
        await this.#close()
        throw error
      })
    }
    this.#made = topology
  }

  async #close(): Promise<void> {
    if (!this.#opened) return this.#closing ?? undefined
    this.#opened = false
    this.#closing = this.surroundings.transport.close().finally(() => (this.#closing = null))
    await this.#closing
  }

  async #startHandlers(): Promise<void> {
    const { handlers, answers } = this.#declarations
    this.#consumers = handlers.map((declaration) => new Consumer(this.surroundings, this.outbox, declaration))
    this.#answerers = answers.map(
      ({ contract, options, handler }) => new Answerer(this.#timed, this.asker, contract, options, handler),
    )
    for (const part of [...this.#answerers, ...this.#consumers]) await part.start()
  }

  async #startSchedules(): Promise<void> {
    this.#schedules = this.#readSchedules()
    await this.#schedules.start()
  }

  #readSchedules(): SchedulesOf<Tx> {
    const { service } = this.surroundings
    const { handlers, schedules } = this.#declarations
    const read = new Schedules(this.surroundings, this.outbox, (type) =>
      handlers.filter(({ contract }) => contract.name === type).map(({ name }) => `${service}.${name}`),
    )
    for (const { expression, options, contract, dataAt } of schedules)
      read.every(expression, options, contract, dataAt as (at: Date) => never)
    return read
  }
}
