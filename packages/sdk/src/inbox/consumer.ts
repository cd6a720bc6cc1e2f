import { SdkError } from '../errors.ts'
import type { Outbox } from '../outbox/outbox.ts'
import type { StoreTime } from '../outbox/store-time.ts'
import type { InboxEntry } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import type { ConsumerTopology, Delivery, Subscription } from '../transport/port.ts'
import { Pump } from '../work/pump.ts'
import { BatchWait } from './batch-wait.ts'
import { consumerTopology } from './consumer-topology.ts'
import type { Declaration } from './declaration.ts'
import { EffectRun } from './effect-run.ts'
import { Lanes, type Portion } from './lanes.ts'
import { Leases } from './leases.ts'
import { Meter } from './meter.ts'
import { Outcomes } from './outcomes.ts'
import { RateLimit } from './rate-limit.ts'
import { Slots } from './slots.ts'
import { storeIsDown, StoreGate } from './store-gate.ts'
import { TransactionRun } from './transaction-run.ts'
import { UnkeptWorks, type Unkept } from './unkept.ts'
import { claimed, delivered, type Work } from './work.ts'
import type { Timer } from '../time/clock.ts'

/** How long stored messages of others go unnoticed: of processes that died, and what an operator has released. */
const POLL_MS = 5000

/** Pause when something is due and nothing could be claimed: another process was faster. */
const CONTESTED_MS = 20

/** Bytes of the bodies that are claimed for all places together; each claim may have one message at least. */
const CLAIMED_BYTES_MAX = 32 * 1024 * 1024

/** How long the handlers of one transaction may take together; slower ones share it with fewer others. */
const GROUP_MS = 100

/**
 * One declared handler at work: takes deliveries from the transport and stored messages from the store, and runs as many
 * at a time as was declared. Messages that wait in this process are bounded by `prefetch`, which is the back pressure.
 */
export class Consumer<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #declaration: Declaration<Tx>
  readonly #time: StoreTime
  readonly #lanes = new Lanes<Work>()
  readonly #slots: Slots
  readonly #gate: StoreGate
  readonly #meter: Meter
  readonly #pump: Pump
  readonly #batchWait: BatchWait | null
  readonly #transactions: TransactionRun<Tx> | null
  readonly #effects: EffectRun<Tx> | null
  readonly #unkept = new UnkeptWorks()
  /** Messages that wait for their turn at the rate, or could not be kept, lanes and all. */
  readonly #held = new Map<Portion<Work>, Timer>()
  readonly #hadTurn = new WeakSet<Work>()
  /** Name in the store and of the queue. */
  readonly name: string
  #subscription: Subscription | null = null
  #state: 'new' | 'started' | 'stopping' = 'new'
  #scheduled = false
  /** What a message took lately, its share of the transaction included; null before the first. */
  #messageMs: number | null = null

  constructor(
    surroundings: Surroundings<Tx>,
    outbox: Pick<Outbox<Tx>, 'buffer' | 'time'>,
    declaration: Declaration<Tx>,
  ) {
    const { time } = outbox
    const { clock, log, store, activity } = surroundings
    this.#surroundings = surroundings
    this.#declaration = declaration
    this.#time = time
    this.name = `${surroundings.service}.${declaration.name}`
    this.#slots = new Slots(declaration.concurrency, activity, (next) => this.#freed(next))
    this.#gate = new StoreGate({
      consumer: this.name,
      clock,
      log,
      probe: () => store.now(),
      closed: () => this.#closed(),
      opened: () => this.#opened(),
    })
    this.#meter = new Meter(surroundings, this.name, declaration.name, declaration.contract.name)
    this.#pump = new Pump({ name: `inbox of ${this.name}`, clock, activity, log, turn: () => this.#claim() })
    this.#batchWait =
      declaration.kind === 'batch'
        ? new BatchWait(declaration.groupMax, declaration.waitMs, clock, () => this.#schedule())
        : null
    const desk = {
      surroundings,
      consumer: this.name,
      gate: this.#gate,
      time,
      meter: this.#meter,
      unkept: this.#unkept,
      stored: () => this.#pump.wake(),
    }
    const outcomes = new Outcomes({ ...desk, declaration })
    const leases = new Leases({
      inbox: store.inbox,
      consumer: this.name,
      leaseMs: declaration.leaseMs,
      clock,
      log,
    })
    if (declaration.kind === 'effect') {
      const rate = declaration.rate === null ? null : new RateLimit({ rates: store.rates, time, ...declaration.rate })
      this.#effects = new EffectRun({ ...desk, declaration, outcomes, leases, rate })
      this.#transactions = null
    } else {
      this.#transactions = new TransactionRun({ ...desk, declaration, outcomes, leases, outbox })
      this.#effects = null
    }
  }

  /**
   * What the transport has to make for it.
   *
   * @throws {SdkError} `capability_missing`
   */
  get topology(): ConsumerTopology {
    const { service, transport } = this.#surroundings
    return consumerTopology(service, this.#declaration, transport)
  }

  /**
   * Begins to consume; the topology is declared by then.
   *
   * @throws {SdkError} `capability_missing`, and what the transport says
   */
  async start(): Promise<void> {
    const { topology } = this
    this.#state = 'started'
    await this.#time.refresh()
    this.#pump.start()
    this.#subscription = await this.#surroundings.transport.subscribe(
      topology,
      this.#declaration.prefetch,
      (delivery) => this.#receive(delivery),
    )
    if (this.#gate.closed) this.#subscription.pause()
  }

  /**
   * Takes nothing more, finishes the handlers that run, and gives everything else back.
   *
   * @param graceMs after this time the handlers' signals are aborted; they are still waited for. Default: never
   */
  async stop(graceMs = Infinity): Promise<void> {
    if (this.#state !== 'started') return
    this.#state = 'stopping'
    const { clock, log } = this.#surroundings
    const closing = this.#subscription?.close().catch((error: unknown) => {
      log.warn({ err: error, consumer: this.name }, 'a subscription could not be closed; it ends with the connection')
    })
    this.#gate.end()
    this.#batchWait?.end()
    this.#release()
    const ended = new SdkError('cancelled', 'the service is stopping and waits no longer', { retryable: true })
    const grace =
      graceMs === Infinity
        ? null
        : clock.after(graceMs, () => {
            this.#transactions?.abort(ended)
            this.#effects?.abort(ended)
          })
    await closing
    await this.#pump.stop()
    await this.#slots.idle()
    grace?.cancel()
    // What came while the subscription was closing.
    this.#release()
  }

  /** Looks at once for stored messages that are due: an operator may have released some. */
  wake(): void {
    this.#pump.wake()
  }

  #receive(delivery: Delivery): void {
    if (this.#state === 'stopping') return delivery.release()
    // The subscription is paused; this was on its way.
    if (this.#gate.closed) return delivery.release(this.#gate.pauseMs)
    this.#lanes.push(delivered(delivery, this.#declaration.ordered, this.#time.now()))
    this.#schedule()
  }

  /** In the next microtask: what comes in one burst is dealt out together. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    const end = this.#surroundings.activity.begin()
    queueMicrotask(() => {
      this.#scheduled = false
      this.#dispatch()
      end()
    })
  }

  #dispatch(): void {
    while (this.#slots.free > 0 && !this.#gate.closed && this.#state === 'started') {
      const { readyCount } = this.#lanes
      if (readyCount === 0 || this.#batchWait?.mustWait(readyCount) === true) return
      const portion = this.#lanes.take(this.#portionMax(readyCount))
      this.#meter.consumed(portion.items.length)
      void this.#slots.during(1, () => this.#run(portion))
    }
  }

  /** Shares a backlog out among the free places, as long as a transaction of its own for each is not quicker. */
  #portionMax(readyCount: number): number {
    const declaration = this.#declaration
    if (declaration.kind === 'effect') return 1
    if (declaration.kind === 'batch') return declaration.groupMax
    return Math.min(this.#groupMax(), Math.ceil(readyCount / this.#slots.free))
  }

  /** Messages that fit into the time of one transaction; one until it is known how long they take. */
  #groupMax(): number {
    const declaration = this.#declaration
    if (declaration.kind === 'effect' || this.#messageMs === null) return 1
    const { groupMax } = declaration
    return this.#messageMs === 0 ? groupMax : Math.max(1, Math.min(groupMax, Math.floor(GROUP_MS / this.#messageMs)))
  }

  async #run(portion: Portion<Work>): Promise<void> {
    const [first] = portion.items
    if (this.#effects !== null && first !== undefined) {
      const holdMs = await this.#effects.delivery(first, this.#hadTurn.has(first), this.#mayHold())
      if (holdMs > 0 && this.#mayWait()) return this.#hold(portion, holdMs, true)
      if (holdMs > 0) first.delivery?.release()
    } else {
      await this.#measured(portion.items.length, async () => this.#transactions?.deliveries(portion.items))
    }
    const unkept = this.#unkept.take(portion.items)
    if (unkept.size === 0) this.#lanes.free(portion)
    else this.#holdUnkept(portion, unkept)
  }

  /** What could not be kept is tried again in its lane; all else of the portion is done with. */
  #holdUnkept(portion: Portion<Work>, unkept: ReadonlyMap<Work, Unkept>): void {
    const pauses = new Map([...unkept.values()].map(({ work, pauseMs }) => [work, pauseMs]))
    for (const part of this.#lanes.retain(portion, (work) => unkept.get(work)?.work ?? null)) {
      if (this.#mayWait()) {
        this.#hold(part, Math.max(...part.items.map((work) => pauses.get(work) ?? 0)), false)
        continue
      }
      for (const { delivery } of part.items) delivery?.release()
      this.#lanes.free(part)
    }
  }

  #mayWait(): boolean {
    return this.#state === 'started' && !this.#gate.closed
  }

  async #measured(count: number, run: () => Promise<void>): Promise<void> {
    const { clock } = this.#surroundings
    const startedAt = clock.monotonic()
    await run()
    // No longer than what ends sharing anyway: one that waited for the store says little about the others.
    const tookMs = Math.min((clock.monotonic() - startedAt) / count, GROUP_MS)
    this.#messageMs = this.#messageMs === null ? tookMs : this.#messageMs + (tookMs - this.#messageMs) / 4
  }

  /** Where each message may have another limit, not all places are left to those that wait. */
  #mayHold(): boolean {
    const { kind, prefetch } = this.#declaration
    const hasKeys = kind === 'effect' && this.#declaration.rate?.key !== undefined
    return !hasKeys || this.#held.size < prefetch / 2
  }

  /** @param forTurn whether it waits for its turn at the rate, which comes then */
  #hold(portion: Portion<Work>, holdMs: number, forTurn: boolean): void {
    const timer = this.#surroundings.clock.after(holdMs, () => {
      this.#held.delete(portion)
      if (forTurn) for (const work of portion.items) this.#hadTurn.add(work)
      this.#lanes.putBack(portion)
      this.#schedule()
    })
    this.#held.set(portion, timer)
  }

  /** Claims what is due of the stored messages, for half of the free places, and has it run. */
  async #claim(): Promise<number> {
    const { store } = this.#surroundings
    const { ordered, kind } = this.#declaration
    if (this.#gate.closed || this.#state !== 'started') return Infinity
    await this.#time.refresh()
    const places = this.#slots.reserve()
    if (places === 0) return Infinity
    const limit = places * (kind === 'batch' ? this.#declaration.groupMax : this.#groupMax())
    try {
      const entries = await this.#claimFor(places, limit)
      if (entries.length === limit) return 0
      const nextAt = await store.inbox.nextDue(this.name, ordered)
      if (nextAt === null) return POLL_MS
      return Math.min(Math.max(nextAt - this.#time.now(), CONTESTED_MS), POLL_MS)
    } catch (error) {
      if (!storeIsDown(error)) throw error
      this.#gate.close(error)
      return Infinity
    }
  }

  async #claimFor(places: number, limit: number): Promise<readonly InboxEntry[]> {
    const { concurrency, ordered, leaseMs } = this.#declaration
    try {
      const runs = this.#effects === null
      const bytesMax = Math.ceil((CLAIMED_BYTES_MAX * places) / concurrency)
      const entries = await this.#surroundings.store.inbox.claim(this.name, ordered, leaseMs, limit, runs, bytesMax)
      if (entries.length > 0) this.#meter.consumed(entries.length)
      const share = Math.ceil(entries.length / places)
      let works: Work[] = []
      const deal = (): void => {
        const dealt = works
        works = []
        if (dealt.length > 0) void this.#slots.during(1, () => this.#runClaims(dealt))
      }
      for (const group of claimed(entries, ordered)) {
        works.push(...group)
        if (works.length >= share) deal()
      }
      deal()
      return entries
    } finally {
      this.#slots.unreserve(places)
    }
  }

  async #runClaims(works: readonly Work[]): Promise<void> {
    if (this.#effects === null) await this.#measured(works.length, async () => this.#transactions?.claims(works))
    else for (const work of works) await this.#effects.claim(work)
    // The next ones of their keys may have their turn now.
    this.#pump.wake()
  }

  /** Deliveries and stored messages take turns when there are too many of both. */
  #freed(next: 'stored' | 'delivered'): void {
    if (next === 'stored') this.#pump.wake()
    if (this.#lanes.readyCount > 0) this.#schedule()
  }

  #closed(): void {
    this.#subscription?.pause()
    this.#release()
  }

  #opened(): void {
    this.#subscription?.resume()
    this.#pump.wake()
    this.#schedule()
  }

  /** Gives back what was not begun: to other processes, whose store may answer. */
  #release(): void {
    for (const { delivery } of this.#lanes.clear()) delivery?.release()
    for (const [portion, timer] of this.#held) {
      timer.cancel()
      for (const { delivery } of portion.items) delivery?.release()
      this.#lanes.free(portion)
    }
    this.#held.clear()
  }
}
