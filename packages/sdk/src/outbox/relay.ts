import type { Message } from '../message/message.ts'
import type { BucketLease, OutboxEntry } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import type { RelaySettings } from './relay-options.ts'
import type { StoreTime } from './store-time.ts'
import { ATTRIBUTE, METRIC, systemOf } from '../telemetry/conventions.ts'
import { Pump } from '../work/pump.ts'
import { Dispatch, isUnheard, type Dispatched } from './dispatch.ts'
import { ownerOf, refuseOtherEngine } from './owner.ts'
import { Polling } from './polling.ts'
import { Tenure } from './tenure.ts'

/** Pause after the engine could not be reached: doubled each time, up to the maximum; it ends when the engine is back. */
const DOWN_MS = 100
const DOWN_MS_MAX = 5_000

/** What was sent, or failed, and is not yet written down. */
interface Unrecorded {
  readonly leases: readonly BucketLease[]
  readonly dispatched: Dispatched
}

/**
 * Sends what is in the outbox, in the order of the commits within each key. Any number of processes share the work: each
 * sends the messages of the buckets that it leases.
 *
 * A turn: write down what is owed, renew the leases when a third of their time is over, read a batch, send it, write down
 * what became of it. No transaction is open meanwhile. A full batch means that there is more: then the buckets are dealt out
 * to lanes, which read, send and write independently of each other until one of them comes to an end.
 *
 * A crash between sending and writing down sends again: the same messages with the same ids, and nothing else. Nothing is
 * sent unless the leases last for as long as sending may take.
 */
export class Relay<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #settings: RelaySettings
  readonly #time: StoreTime
  readonly #tenure: Tenure
  readonly #dispatch: Dispatch
  readonly #polling: Polling
  readonly #pump: Pump
  readonly #system: string
  /** Contracts that nobody consumes yet, as far as is known: the operator is told of each once. */
  readonly #unheard = new Set<string>()
  /** Services that share the outbox with this one, of which the operator was told. */
  readonly #strangers = new Set<string>()
  #unrecorded: Unrecorded[] = []
  /** When the earliest retry in our buckets is due; undefined when the store has to be asked. */
  #retryAt: number | null | undefined = undefined
  #downs = 0
  /** What the transport says of itself. */
  #reachable = true
  #downUntil = Number.NEGATIVE_INFINITY
  #stopping = false
  #unwatch: readonly (() => void)[] = []

  constructor(surroundings: Surroundings<Tx>, settings: RelaySettings, time: StoreTime) {
    const { store, clock, activity, log, transport } = surroundings
    this.#surroundings = surroundings
    this.#settings = settings
    this.#time = time
    const owner = (): string => ownerOf(surroundings as Surroundings<never>)
    this.#tenure = new Tenure(store.outbox, owner, settings.leaseMs, clock)
    this.#dispatch = new Dispatch(surroundings as Surroundings<never>, settings, time)
    this.#polling = new Polling(settings.pollMs)
    this.#pump = new Pump({ name: 'relay', clock, activity, log, turn: () => this.#turn() })
    this.#system = systemOf(transport.name)
  }

  /** Whether every bucket is ours, so that nobody else has to be told of new messages. */
  get alone(): boolean {
    return this.#tenure.complete
  }

  /**
   * To be asked before anything is sent, with the transport open.
   *
   * @throws {SdkError} `invalid_declaration` when another service sends what is in the same outbox over another engine
   */
  async checkCompany(): Promise<void> {
    const { store } = this.#surroundings
    refuseOtherEngine(ownerOf(this.#surroundings as Surroundings<never>), await store.outbox.owners())
  }

  start(): void {
    if (this.#unwatch.length > 0) return
    this.#stopping = false
    const { store, transport } = this.#surroundings
    this.#unwatch = [
      store.watch(() => {
        this.#polling.told()
        this.#pump.wake()
      }),
      transport.watch((up) => {
        this.#reachable = up
        if (!up) return
        this.#downUntil = Number.NEGATIVE_INFINITY
        this.wake()
      }),
    ]
    this.#pump.start()
  }

  /** Finishes what is being sent and gives the buckets back: others go on at once. */
  async stop(): Promise<void> {
    this.#stopping = true
    for (const end of this.#unwatch) end()
    this.#unwatch = []
    await this.#pump.stop()
    try {
      await this.#recordOwed()
      await this.#tenure.end()
    } catch (error) {
      const { log } = this.#surroundings
      log.warn(
        { err: error },
        'the relay could not give its buckets back; others take them over when its lease is over',
      )
    }
  }

  /** Messages were committed. */
  wake(): void {
    this.#polling.found()
    this.#pump.wake()
  }

  /** Messages were added to a transaction that may commit any moment, or not. */
  expect(): void {
    const pauseMs = this.#polling.expect()
    if (pauseMs !== null) this.#pump.wakeIn(pauseMs)
  }

  /**
   * Sends all that is due, without having been started: for programs that end after each piece of work. Gives up when the
   * engine cannot be reached; the messages stay where they are.
   */
  async drain(): Promise<void> {
    this.#stopping = false
    while ((await this.#turn()) === 0);
    await this.#tenure.end()
  }

  async #turn(): Promise<number> {
    const { clock } = this.#surroundings
    await this.#recordOwed()
    if (this.#downs > 0 && !this.#reachable) {
      // Another process may reach the engine. This one is told when it can again.
      await this.#tenure.end()
      return DOWN_MS_MAX
    }
    const downMs = this.#downUntil - clock.monotonic()
    if (downMs > 0) return downMs
    if (this.#tenure.renewalMs === 0) {
      if (await this.#tenure.renew()) this.#retryAt = undefined
      await this.#time.refresh()
    }
    const { buckets } = this.#tenure
    if (buckets.length === 0) return this.#tenure.renewalMs
    const { batch, batchBytes } = this.#settings
    const entries = await this.#surroundings.store.outbox.due(buckets, batch, batchBytes)
    if (entries.length === 0) return this.#rest(buckets)
    this.#polling.found()
    if (entries.length < batch || this.#settings.lanes === 1 || !this.#dispatch.calm) await this.#send(entries)
    else await this.#sendInLanes(entries)
    return Math.max(this.#downUntil - clock.monotonic(), 0)
  }

  async #rest(buckets: readonly number[]): Promise<number> {
    const now = this.#time.now()
    const pauseMs = Math.min(this.#polling.next(), this.#tenure.renewalMs)
    // What was due has not been found, so it is another one's turn now.
    if (this.#retryAt === undefined || (this.#retryAt !== null && this.#retryAt <= now))
      this.#retryAt = await this.#surroundings.store.outbox.nextDue(buckets)
    return this.#retryAt === null ? pauseMs : Math.max(Math.min(pauseMs, this.#retryAt - now), 1)
  }

  /** Messages of a key are in one bucket, and so in one lane. */
  async #sendInLanes(first: readonly OutboxEntry[]): Promise<void> {
    const { lanes, batch, batchBytes } = this.#settings
    const { buckets } = this.#tenure
    let ending = false
    const run = async (lane: number): Promise<void> => {
      const own = buckets.filter((bucket) => bucket % lanes === lane)
      if (own.length === 0) return
      let entries: readonly OutboxEntry[] = first.filter(({ bucket }) => bucket % lanes === lane)
      for (;;) {
        if (entries.length > 0) await this.#send(entries)
        if (ending || this.#stopping || !this.#dispatch.calm || this.#tenure.renewalMs === 0) return
        entries = await this.#surroundings.store.outbox.due(own, batch, batchBytes)
        // Nobody goes on alone for long: what comes meanwhile in the buckets of others would wait.
        if (entries.length < batch) ending = true
      }
    }
    const ends = await Promise.allSettled(Array.from({ length: lanes }, (_, lane) => run(lane)))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  async #send(entries: readonly OutboxEntry[]): Promise<void> {
    const { leases } = this.#tenure
    this.#tellStrangers(entries)
    const { timeoutMs } = this.#settings
    const dispatched = await this.#dispatch.send(entries, () => this.#tenure.lasts(timeoutMs))
    if (dispatched.down === null) this.#up(dispatched)
    else this.#down(dispatched.down)
    const unrecorded = { leases, dispatched }
    this.#unrecorded.push(unrecorded)
    await this.#record(unrecorded)
  }

  /** What another service put there goes out as if it were ours: over this transport, and in this form. */
  #tellStrangers(entries: readonly OutboxEntry[]): void {
    const { service, log } = this.#surroundings
    for (const { message } of entries) {
      const { source } = message
      if (source === service || this.#strangers.has(source)) continue
      this.#strangers.add(source)
      log.warn(
        { service, source },
        'messages of another service are in the same outbox; where its engine or form is not the same, they get lost: give each service a prefix or schema of its own',
      )
    }
  }

  /** What could not be written down comes first: sending on would send the same again and again. */
  async #recordOwed(): Promise<void> {
    for (const unrecorded of this.#unrecorded.slice()) await this.#record(unrecorded)
  }

  async #record(unrecorded: Unrecorded): Promise<void> {
    const { store } = this.#surroundings
    const { leases, dispatched } = unrecorded
    const { sent, failures } = dispatched
    if (sent.length > 0) {
      const ours = await this.#forget(leases, sent)
      this.#countSent(sent, sent.length - ours)
      // Going on with buckets that others have would send the same again and again.
      if (ours < sent.length) this.#tenure.doubt()
    }
    if (failures.length > 0) {
      await store.outbox.failed(leases, failures)
      // The store does not say whether it heard us.
      if (sent.length === 0) this.#tenure.doubt()
      this.#retryAt = undefined
      this.#tellFailures(dispatched)
    }
    this.#unrecorded = this.#unrecorded.filter((other) => other !== unrecorded)
  }

  /** Has the store forget what was sent, or keep it as sent. @returns how many were still ours */
  async #forget(leases: readonly BucketLease[], sent: readonly OutboxEntry[]): Promise<number> {
    const { outbox } = this.#surroundings.store
    const { keepSent } = this.#settings
    if (typeof keepSent === 'boolean') return outbox.sent(leases, sent, keepSent)
    const kept = sent.filter(({ message }) => keepSent(message.type))
    const others = kept.length === 0 ? sent : sent.filter(({ message }) => !keepSent(message.type))
    const ours = kept.length === 0 ? 0 : await outbox.sent(leases, kept, true)
    return others.length === 0 ? ours : ours + (await outbox.sent(leases, others, false))
  }

  #up({ sent }: Dispatched): void {
    if (this.#downs === 0 || sent.length === 0) return
    this.#downs = 0
    this.#surroundings.log.info({}, 'the engine can be reached again; the outbox is being sent')
  }

  #down(error: unknown): void {
    const { clock, log } = this.#surroundings
    if (this.#downs === 0)
      log.warn({ err: error }, 'the engine cannot be reached; messages stay in the outbox until it is back')
    this.#downUntil = clock.monotonic() + Math.min(DOWN_MS * 2 ** this.#downs, DOWN_MS_MAX)
    this.#downs++
  }

  #countSent(sent: readonly OutboxEntry[], lost: number): void {
    const { telemetry } = this.#surroundings
    const counts = new Map<string, number>()
    let oldest = Number.POSITIVE_INFINITY
    for (const { message } of sent) {
      counts.set(message.type, (counts.get(message.type) ?? 0) + 1)
      if (message.time < oldest) oldest = message.time
    }
    for (const type of counts.keys())
      if (this.#unheard.delete(type))
        this.#surroundings.log.info({ type }, 'somebody consumes a contract now; its messages go out')
    for (const [type, count] of counts)
      telemetry.count(METRIC.sent, count, { [ATTRIBUTE.system]: this.#system, [ATTRIBUTE.destination]: type })
    telemetry.record(METRIC.outboxLag, Math.max(this.#time.now() - oldest, 0) / 1000, {
      [ATTRIBUTE.system]: this.#system,
    })
    if (lost > 0) telemetry.count(METRIC.outboxLeaseLost, lost, { [ATTRIBUTE.system]: this.#system })
  }

  #tellFailures({ failures }: Dispatched): void {
    const { log, telemetry } = this.#surroundings
    for (const { entry, attempt, next } of failures) {
      const outcome = typeof next === 'string' ? next : 'retry'
      const attributes = { [ATTRIBUTE.destination]: entry.message.type, [ATTRIBUTE.outcome]: outcome }
      telemetry.count(METRIC.outboxFailures, 1, attributes)
      telemetry.count(METRIC.sent, 1, {
        [ATTRIBUTE.system]: this.#system,
        [ATTRIBUTE.destination]: entry.message.type,
        [ATTRIBUTE.errorType]: attempt.name,
      })
      const fields = { ...nameOf(entry.message), attempt: attempt.attempt, error: attempt.message, outcome }
      if (isUnheard(attempt) && outcome === 'retry') this.#tellUnheard(entry.message.type, attempt.message)
      else if (outcome === 'retry') log.debug(fields, 'a message could not be sent; it is tried again')
      else log.error(fields, 'a message could not be sent, and is given up')
    }
  }

  #tellUnheard(type: string, error: string): void {
    if (this.#unheard.has(type)) return
    this.#unheard.add(type)
    this.#surroundings.log.warn({ type, error }, 'nobody consumes a contract yet; its messages wait in the outbox')
  }
}

function nameOf({ id, type, key }: Message): object {
  return { id, type, key }
}
