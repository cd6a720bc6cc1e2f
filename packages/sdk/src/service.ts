import { hostname } from 'node:os'
import type { Contract, DataOf } from './contract/contract.ts'
import type { RequestContract } from './contract/request-contract.ts'
import type { Log } from './log.ts'
import type { Random } from './random.ts'
import type { Manifest } from './schema/manifest.ts'
import type { Store } from './store/port.ts'
import type { Surroundings } from './surroundings.ts'
import type { Telemetry } from './telemetry/telemetry.ts'
import type { Clock } from './time/clock.ts'
import type { Transport } from './transport/port.ts'
import type { WireForm } from './wire/wire-form.ts'
import { Declarations } from './declarations.ts'
import { describe, type Description } from './description.ts'
import { http, type HttpHandlers } from './http/http.ts'
import type { IntakeOptions, IntakeService } from './http/intake.ts'
import { SdkError } from './errors.ts'
import {
  declareBatch,
  declareEffect,
  declareOn,
  type BatchHandler,
  type BatchOptions,
  type EffectHandler,
  type EffectOptions,
  type OnHandler,
  type OnOptions,
} from './inbox/declaration.ts'
import { silentLog, standardErrorLog, unfailing } from './log.ts'
import { uuidV7 } from './message/message-id.ts'
import type { OutboxLimit } from './outbox/depth-limit.ts'
import type { RelayOptions } from './outbox/relay-options.ts'
import type { Retention } from './outbox/cleaner.ts'
import type { Sendable, SendOptions } from './outbox/outgoing.ts'
import type { Scope } from './outbox/scope.ts'
import { programVersion } from './program-version.ts'
import { systemRandom } from './random.ts'
import { SettingsDirectory, type MessageSettings } from './register/message-settings.ts'
import type { Register } from './register/register.ts'
import type { SendableContract, SendNowOptions, SentNow, SubmitOptions, Submitted } from './register/submission.ts'
import type { AnswerOf } from './request/answer.ts'
import type { AnswerHandler, AnswerOptions } from './request/answerer.ts'
import type { AskerOptions, AskOptions } from './request/asker.ts'
import { Runtime } from './runtime.ts'
import type { ScheduleOptions } from './schedule/declaration.ts'
import { serviceManifest } from './service-manifest.ts'
import { silentTelemetry } from './telemetry/telemetry.ts'
import { systemClock } from './time/clock.ts'
import { milliseconds, type Duration } from './time/duration.ts'
import { Activity } from './work/activity.ts'
import { cloudEvents } from './wire/cloud-events.ts'

/** What a service is put together from: only the store and the transport have to be said. */
export interface ServiceOptions<Tx> {
  /** Where messages are kept: in the database of the service's own data. */
  readonly store: Store<Tx>
  /** What moves them to other services. */
  readonly transport: Transport
  /** How they are written for strangers. Default: CloudEvents. */
  readonly form?: WireForm
  /** Contracts that the service sends and no handler of it names: they have a place at the engine from its first start. */
  readonly sends?: readonly Contract[]
  /** How the outbox is sent; `false` leaves it to other processes. */
  readonly relay?: RelayOptions | false
  /** How many messages may wait to be sent. Default: as many as the database holds. */
  readonly outbox?: OutboxLimit
  /** How long what is done with is kept. */
  readonly retention?: Retention
  /** Of the program, like `1.4.2`: error histories say which one failed. Default: none. */
  readonly version?: string
  /** How messages to and from external systems are treated. */
  readonly settings?: readonly MessageSettings[]
  readonly asks?: AskerOptions
  /** Where messages for the operator go. Default: warnings and errors as lines of JSON to the standard error. */
  readonly log?: Log
  readonly telemetry?: Telemetry
  readonly clock?: Clock
  readonly random?: Random
}

/** For how long a service that stops waits for what still runs. */
export interface StopOptions {
  /** After this time the signals of handlers that still run are aborted. Default 20s. */
  readonly grace?: Duration
  /**
   * For how long handlers are waited for that do not heed their signals; then they are left behind, so that the process can
   * end. Their messages are not lost: they come again. Default 5s.
   */
  readonly patience?: Duration
}

/** What of its surroundings a test may replace. */
export type Replaced<Tx> = Partial<
  Pick<Surroundings<Tx>, 'store' | 'transport' | 'clock' | 'random' | 'log' | 'telemetry'>
>

/** Together less than the half minute after which platforms kill. */
const GRACE: Duration = '20s'
const PATIENCE: Duration = '5s'

/** Characters of a service's name: queues and consumers are named by it. */
const NAME_PATTERN = /^[a-z][a-z0-9._-]{0,62}$/

/**
 * A service: what it handles is declared first, then it is started. Messages can be added to transactions at any time.
 *
 * `Tx` is the transaction handle of the service's own database client.
 */
export class Service<Tx> {
  readonly name: string
  /** How messages to and from external systems are treated. */
  readonly settings: SettingsDirectory
  readonly #options: ServiceOptions<Tx>
  readonly #declarations = new Declarations<Tx>()
  #runtime: Runtime<Tx> | null = null
  #starting: Promise<void> | null = null
  #stopping: Promise<void> | null = null
  #state: 'new' | 'started' | 'stopped' = 'new'

  /** @throws {SdkError} `invalid_declaration` */
  constructor(name: string, options: ServiceOptions<Tx>) {
    if (!NAME_PATTERN.test(name))
      throw new SdkError(
        'invalid_declaration',
        `${JSON.stringify(name)} cannot name a service; a name is up to 63 lower-case letters, digits, dots, hyphens and underscores, a letter first`,
      )
    programVersion(options.version)
    this.name = name
    this.#options = options
    this.settings = new SettingsDirectory(options.settings)
    for (const contract of options.sends ?? []) this.#declarations.addContract(contract)
  }

  /** The contracts that the service knows: those that it handles, answers, schedules, or said that it sends. */
  get contracts(): readonly Contract[] {
    return this.#declarations.contracts
  }

  get store(): Store<Tx> {
    return this.runtime.surroundings.store
  }

  /** The messages that the service has to send, has sent, has received. */
  get register(): Register<Tx> {
    return this.runtime.register
  }

  /** The parts that are running, or would be; for tests and tools. */
  get runtime(): Runtime<Tx> {
    this.#runtime ??= this.#assemble({})
    return this.#runtime
  }

  /* ------------------------------------------------------------ sending */

  /**
   * Adds messages to the application's own transaction: they are sent if it commits, and only then.
   *
   * @throws {SdkError} `not_a_transaction`
   */
  in(tx: Tx): Scope {
    return this.runtime.outbox.in(tx)
  }

  /**
   * Runs `work` in a transaction of the store. What it publishes is written in one go at the end, also what it did not wait
   * for, and sent the moment the transaction has committed; nothing is committed when one of its messages cannot be made.
   */
  async transaction<T>(work: (tx: Tx, scope: Scope) => Promise<T>): Promise<T> {
    const { outbox, surroundings } = this.runtime
    const buffer = await outbox.prepare()
    const done = await surroundings.store.transaction(async (tx) => {
      const outgoing = buffer(tx)
      try {
        const result = await work(tx, outgoing.scopeOf(null))
        await outgoing.flush()
        return { result, outgoing }
      } catch (error) {
        outgoing.abandon()
        throw error
      }
    })
    done.outgoing.committed()
    return done.result
  }

  /** Stores a message in a transaction of its own, to be sent as soon as can be. @returns its id */
  async createMessage<C extends SendableContract>(
    contract: C,
    data: DataOf<C>,
    options?: SendOptions,
  ): Promise<string> {
    return this.runtime.submission.createMessage(contract, data, options)
  }

  /** Stores a message for an external system, once for each of the names that the system has. */
  async submit<C extends SendableContract>(contract: C, data: DataOf<C>, options: SubmitOptions): Promise<Submitted> {
    return this.runtime.submission.submit(contract, data, options)
  }

  /** Stores a message and waits until the engine has it; what is not sent in time stays stored and is sent later. */
  async sendNow<C extends SendableContract>(contract: C, data: DataOf<C>, options?: SendNowOptions): Promise<SentNow> {
    return this.runtime.submission.sendNow(contract, data, options)
  }

  /**
   * Asks, and resolves with what came of it; only what is the program's own fault is thrown.
   *
   * @throws {SdkError} `not_started`, `invalid_data`, `too_large`, `capability_missing`
   */
  async ask<C extends RequestContract>(contract: C, data: DataOf<C>, options?: AskOptions): Promise<AnswerOf<C>> {
    // Nobody would ever connect, and the request wait for its whole time.
    if (this.#state === 'new' && !this.runtime.opened)
      throw new SdkError('not_started', `${this.name} is not started; ask after start()`)
    return this.runtime.asker.ask(contract, data, options)
  }

  /* ------------------------------------------------------------ declaring */

  /** Handles several messages at once in one transaction. */
  on<Name extends string, Out>(
    contract: Contract<'event' | 'command', Name, never, Out>,
    options: BatchOptions,
    handler: BatchHandler<Tx, Out>,
  ): this
  /**
   * Handles an event or a command in a transaction: what the handler writes, the memory that the message was handled, and
   * what it publishes and sends commit together or not at all.
   */
  on<Name extends string, Out>(
    contract: Contract<'event' | 'command', Name, never, Out>,
    options: OnOptions,
    handler: OnHandler<Tx, Out>,
  ): this
  on<Name extends string, Out>(
    contract: Contract<'event' | 'command', Name, never, Out>,
    options: OnOptions | BatchOptions,
    handler: OnHandler<Tx, Out> | BatchHandler<Tx, Out>,
  ): this {
    this.#declarations.addHandler(
      'batch' in options
        ? declareBatch(contract, options, handler as BatchHandler<Tx, Out>)
        : declareOn(contract, options, handler as OnHandler<Tx, Out>),
    )
    return this
  }

  /** Calls the outside world because of an event or a command: no transaction is held, and an idempotency key is given. */
  effect<Name extends string, Out>(
    contract: Contract<'event' | 'command', Name, never, Out>,
    options: EffectOptions<Out>,
    handler: EffectHandler<Out>,
  ): this {
    this.#declarations.addHandler(declareEffect(contract, options, handler))
    return this
  }

  /** Answers requests. */
  answer<C extends RequestContract>(contract: C, handler: AnswerHandler<C>, options: AnswerOptions = {}): this {
    this.#declarations.addAnswer({ contract, options, handler: handler as unknown as AnswerHandler<RequestContract> })
    return this
  }

  /** Sends a message at each occurrence of a schedule, however many processes declare it. */
  every<In>(
    expression: string,
    options: ScheduleOptions,
    contract: Sendable<In>,
    dataAt: (at: Date) => NoInfer<In> | Promise<NoInfer<In>>,
  ): this {
    this.#declarations.addSchedule({ expression, options, contract, dataAt })
    return this
  }

  /**
   * A way in for other systems: handlers for Node's own server and for frameworks that take a `Request`. What they post is
   * stored once for each idempotency key.
   */
  http(options: IntakeOptions): HttpHandlers {
    for (const contract of options.accept) this.#declarations.addContract(contract)
    // Asked for at each call: a test may have put the service into other surroundings since.
    const behind: IntakeService = {
      log: this.#options.log ?? standardErrorLog,
      submit: (contract, data, submitOptions) => this.submit(contract, data as never, submitOptions),
      createMessage: (contract, data) => this.createMessage(contract, data as never),
      find: async (id) => (await this.register.list({ id }, { limit: 1000, bodies: false })).entries,
    }
    return http(behind, options)
  }

  /** What the service is made of, and per handler the guarantee that it really has. */
  describe(): Description {
    const { outbox, surroundings } = this.runtime
    const { form = cloudEvents } = this.#options
    const { rememberedMs } = outbox
    return describe(this.#declarations, { ...surroundings, form, rememberedMs, settings: this.settings })
  }

  /** What it shares with others, and needs at an engine, as a file. @throws {SdkError} `capability_missing`, `invalid_declaration` */
  manifest(): Manifest {
    return serviceManifest(this.#declarations, this.runtime.surroundings)
  }

  /* ------------------------------------------------------------ running */

  /** Brings the store's tables to this version; harmless when they are. */
  async migrate(): Promise<void> {
    await this.store.migrate()
  }

  /**
   * Makes what the service needs at the engine and starts nothing: from then on events are kept for its handlers, and
   * commands and requests, until it is started. To be done before any publisher starts; harmless when it was done before, or
   * while the service runs. The store is not asked, and need not be there.
   *
   * @throws {SdkError} `transport_down`, `directory_unreadable`, `capability_missing`, `peer_missing`, `peer_unusable`, and
   *   `invalid_declaration` for a schedule or an address that cannot be read, and for queues that are there and others
   */
  async declare(): Promise<void> {
    // All of it is there when it has started.
    if (this.#state === 'started') return this.#starting ?? undefined
    this.#renew()
    await this.runtime.declare()
  }

  /**
   * Begins to send and to handle. From now on nothing more can be declared, and the process stays alive until {@link stop}.
   *
   * @throws {SdkError} `not_migrated`, `store_down`, `transport_down`, `directory_unreadable`, `capability_missing`,
   *   `peer_missing`, `peer_unusable`, and `invalid_declaration` for a schedule or an address that cannot be read,
   *   and while another service sends from the same tables over another engine
   */
  async start(): Promise<void> {
    if (this.#state === 'started') return
    this.#declarations.close()
    this.#renew()
    const { runtime } = this
    this.#state = 'started'
    this.#starting = runtime.start()
    try {
      await this.#starting
    } catch (error) {
      this.#state = 'stopped'
      throw error
    } finally {
      this.#starting = null
    }
  }

  /** Takes nothing new, finishes what is under way, and disconnects. What is left is done after the next start. */
  async stop({ grace = GRACE, patience = PATIENCE }: StopOptions = {}): Promise<void> {
    const [graceMs, patienceMs] = [milliseconds(grace), milliseconds(patience)]
    this.#stopping ??= this.#stop(graceMs, patienceMs).finally(() => (this.#stopping = null))
    await this.#stopping
  }

  /** What has only half begun is stopped when it has begun. */
  async #stop(graceMs: number, patienceMs: number): Promise<void> {
    await this.#starting?.catch(() => {})
    if (this.#state !== 'started' && this.#runtime?.opened !== true) return
    await this.#runtime?.stop(graceMs, patienceMs)
    this.#state = 'stopped'
  }

  /**
   * Sends all that is due, without having been started: for functions that live as long as one call. The connection stays
   * for the next call, until {@link stop}.
   *
   * @throws {SdkError} `store_down`, `transport_down`, and what else `start` finds out about the transport
   */
  async drain(): Promise<void> {
    this.#renew()
    await this.runtime.drain()
  }

  /** A stopped runtime does nothing more; another one of the same declarations does. */
  #renew(): void {
    if (this.#state !== 'stopped') return
    this.#runtime = this.#assemble({})
    this.#state = 'new'
  }

  /**
   * Puts what was declared into other surroundings, in place of what ran before, which has to be stopped: what a test does
   * with the service of the program. @returns the new runtime, not started
   */
  replace(replaced: Replaced<Tx>): Runtime<Tx> {
    this.#declarations.close()
    // A test that wants to read the log hands one in.
    this.#runtime = this.#assemble({ log: this.#options.log ?? silentLog, ...replaced })
    this.#state = 'new'
    return this.#runtime
  }

  #assemble(replaced: Replaced<Tx>): Runtime<Tx> {
    const { form = cloudEvents, relay, retention, outbox: limit, asks = {} } = this.#options
    const {
      clock = systemClock,
      random = systemRandom,
      log = standardErrorLog,
      telemetry = silentTelemetry,
    } = {
      ...this.#options,
      ...replaced,
    }
    const { store, transport } = { ...this.#options, ...replaced }
    const surroundings: Surroundings<Tx> = {
      service: this.name,
      process: `${hostname()}:${process.pid}:${random.uint32().toString(36)}`,
      ...programVersion(this.#options.version),
      store,
      transport,
      clock,
      random,
      newId: uuidV7(clock, random),
      log: unfailing(log),
      telemetry,
      activity: new Activity(),
    }
    return new Runtime(this.#declarations, surroundings, {
      form,
      asks,
      settings: this.settings,
      outbox: {
        ...(relay === undefined ? {} : { relay }),
        ...(retention === undefined ? {} : { retention }),
        ...(limit === undefined ? {} : { limit }),
      },
    })
  }
}

/**
 * Declares a service.
 *
 * @param name stable: queues at the engine and memories in the store are named by it
 * @throws {SdkError} `invalid_declaration`
 */
export function service<Tx>(name: string, options: ServiceOptions<Tx>): Service<Tx> {
  return new Service(name, options)
}
