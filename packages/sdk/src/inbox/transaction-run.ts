import { SdkError } from '../errors.ts'
import type { Outbox } from '../outbox/outbox.ts'
import { outboxIsFull } from '../outbox/depth-limit.ts'
import type { OutgoingBuffer } from '../outbox/outgoing-buffer.ts'
import type { Verdict } from '../store/port.ts'
import type { BatchDeclaration, HandlerContext, ItemResult, OnDeclaration } from './declaration.ts'
import type { Leases } from './leases.ts'
import { Losses } from './losses.ts'
import type { Desk, Outcomes } from './outcomes.ts'
import { sift, vanished } from './sifting.ts'
import { connectionIsLost, storeIsDown } from './store-gate.ts'
import type { ReadWork, Work } from './work.ts'

/** Repetitions right away of what lost to another transaction: a deadlock, a serialization failure. */
const QUICK_MAX = 2

export interface TransactionDesk<Tx> extends Desk<Tx> {
  readonly declaration: OnDeclaration<Tx> | BatchDeclaration<Tx>
  readonly outcomes: Outcomes<Tx>
  readonly leases: Leases
  readonly outbox: Pick<Outbox<Tx>, 'buffer'>
}

/** Why a transaction was rolled back. */
interface Fault {
  readonly error: unknown
  /** Items that are to blame, with their errors; empty when it could be any of them. */
  readonly culprits: ReadonlyMap<ReadWork, unknown>
  /** Handlers had been called. */
  readonly called: boolean
}

/** Thrown to roll back a batch that said itself which of its items failed. */
class Reported extends Error {
  readonly culprits: ReadonlyMap<ReadWork, unknown>

  constructor(culprits: ReadonlyMap<ReadWork, unknown>) {
    super(`${culprits.size} items of a batch failed`)
    this.culprits = culprits
  }
}

/**
 * Runs handlers in transactions. Several messages share one as long as all goes well; when one fails nothing of the
 * transaction is left, and they are taken apart until those that fail are alone. Never rejects.
 */
export class TransactionRun<Tx> {
  readonly #desk: TransactionDesk<Tx>
  readonly #running = new Set<AbortController>()
  readonly #losses = new Losses()

  constructor(desk: TransactionDesk<Tx>) {
    this.#desk = desk
  }

  /** Handles deliveries: in their order, those of one key never past an earlier one that is not done. */
  async deliveries(works: readonly Work[]): Promise<void> {
    let rest = works
    while (rest.length > 0) {
      rest = await this.#pass(rest)
      // Those before it may have gone back to the engine: kept now, it would be in front of them.
      if (this.#desk.gate.closed) return this.#giveBack(rest)
    }
  }

  /** Handles claims. Those that failed before are not given others to take down with them. */
  async claims(works: readonly Work[]): Promise<void> {
    const { leases } = this.#desk
    const entries = works.map(({ entry }) => entry).filter((entry) => entry !== null)
    for (const entry of entries) leases.begin(entry)
    try {
      await this.#claims(works)
    } finally {
      for (const entry of entries) leases.end(entry)
    }
  }

  /** Has the signals of all handlers aborted. */
  abort(reason: unknown): void {
    for (const controller of this.#running) controller.abort(reason)
  }

  async #claims(works: readonly Work[]): Promise<void> {
    const { declaration, time, outcomes } = this.#desk
    const now = time.now()
    let fresh: ReadWork[] = []
    const handleFresh = async (): Promise<void> => {
      const ready = fresh
      fresh = []
      await this.#handle(ready)
    }
    for (const work of works) {
      const sifted = await sift(work, declaration.contract, now)
      if (sifted.kind === 'ready' && work.attempt === 1) {
        fresh.push(sifted.work)
        if (fresh.length >= declaration.groupMax) await handleFresh()
        continue
      }
      // What comes before it in its key has to be through first.
      if (work.run !== null && fresh.some(({ run }) => run === work.run)) await handleFresh()
      if (work.run?.broken === true) await outcomes.giveBack(work)
      else if (sifted.kind === 'expired') await outcomes.expire([work])
      else if (sifted.kind === 'refused') {
        broken([work])
        await outcomes.refuse(work, sifted.reason, sifted.error)
      } else if (sifted.kind === 'failed') {
        broken([work])
        await outcomes.fail(work, sifted.error)
      } else if (work.attempt > declaration.retry.attempts) {
        broken([work])
        await outcomes.fail(work, vanished(work))
      } else await this.#handle([sifted.work])
    }
    await handleFresh()
  }

  /** @returns what has to wait until those before it are through */
  async #pass(works: readonly Work[]): Promise<readonly Work[]> {
    const { declaration, time, outcomes, unkept } = this.#desk
    const now = time.now()
    const ready: ReadWork[] = []
    const readyKeys = new Set<string>()
    const later: Work[] = []
    const laterKeys = new Set<string>()
    const unbegun: Work[] = []
    for (const work of works) {
      if (unkept.holdsBack(work)) continue
      if (work.key !== null && laterKeys.has(work.key)) {
        later.push(work)
        continue
      }
      const sifted = await sift(work, declaration.contract, now)
      const isReady = sifted.kind === 'ready' && (work.delivery?.redelivered !== true || work.unstorable)
      if (isReady) {
        ready.push(sifted.work)
        if (work.key !== null) readyKeys.add(work.key)
        continue
      }
      if (work.key !== null && readyKeys.has(work.key)) {
        // Kept now it would be in front of the one that is about to be begun.
        later.push(work)
        laterKeys.add(work.key)
      } else if (sifted.kind === 'expired') await outcomes.expire([work])
      else if (sifted.kind === 'refused') await outcomes.refuse(work, sifted.reason, sifted.error)
      // Somebody may have begun it, and come to grief with it: it is counted before it is begun again. So is what cannot be
      // read at the moment.
      else unbegun.push(work)
    }
    await outcomes.wait(unbegun)
    await this.#handle(ready)
    return later
  }

  async #handle(given: readonly ReadWork[]): Promise<void> {
    const { outcomes, gate, unkept } = this.#desk
    await this.#giveBack(given.filter(({ run }) => run?.broken === true))
    const works = given.filter((work) => work.run?.broken !== true && this.#isOurs(work) && !unkept.holdsBack(work))
    if (works.length === 0) return
    if (works.length > 1 && this.#losses.suspects(works)) return this.#oneByOne(works.map((work) => [work]))
    for (let quick = 0; ; quick++) {
      if (gate.closed) return this.#giveBack(works)
      const fault = await this.#transact(works)
      if (fault === null) return
      const { error, culprits } = fault
      if (storeIsDown(error) && !(await this.#lostByHandler(works, fault))) {
        gate.close(error)
        return this.#giveBack(works)
      }
      if (hasCode(error, 'conflict') && quick < QUICK_MAX) continue
      const [only] = works
      if (works.length > 1) return this.#takeApart(works, error, culprits)
      if (only === undefined) return
      broken([only])
      this.#losses.forget([only])
      // Whoever has the claim now does the rest.
      if (hasCode(error, 'lease_lost') && only.entry !== null) return
      const failure = culprits.get(only) ?? error
      const pauseMs = outboxIsFull(failure)
      if (pauseMs === null) await outcomes.fail(only, failure)
      else await outcomes.postpone(only, pauseMs)
      return
    }
  }

  /**
   * Whether it was the handler that lost its connection, and not the store that went away: a message that always does so
   * has to come to its last attempt some time. Then the store answers; at the latest here.
   */
  async #lostByHandler(works: readonly ReadWork[], { error, called }: Fault): Promise<boolean> {
    const { gate } = this.#desk
    if (!called || !connectionIsLost(error)) return false
    if (await gate.answers()) return true
    if (!this.#losses.note(works)) return false
    gate.close(error)
    return gate.passable()
  }

  /** Of a claim that was lost while it waited here, whoever has it now does the rest, and what is behind it. */
  #isOurs(work: ReadWork): boolean {
    if (work.entry === null || this.#desk.leases.attach(work.entry, null)) return true
    broken([work])
    return false
  }

  async #giveBack(works: readonly Work[]): Promise<void> {
    broken(works)
    await Promise.all(works.map((work) => this.#desk.outcomes.giveBack(work)))
  }

  async #takeApart(
    works: readonly ReadWork[],
    error: unknown,
    culprits: ReadonlyMap<ReadWork, unknown>,
  ): Promise<void> {
    const { declaration, outcomes } = this.#desk
    if (error instanceof Reported) {
      broken([...culprits.keys()])
      for (const [work, failure] of culprits) await outcomes.fail(work, failure)
      return this.#handle(works.filter((work) => !culprits.has(work)))
    }
    const [culprit] = culprits.keys()
    let parts: readonly (readonly ReadWork[])[]
    if (culprit !== undefined) {
      const index = works.indexOf(culprit)
      parts = [works.slice(0, index), [culprit], works.slice(index + 1)]
    } else if (declaration.kind === 'batch') {
      const half = Math.ceil(works.length / 2)
      parts = [works.slice(0, half), works.slice(half)]
    } else parts = works.map((work) => [work])
    return this.#oneByOne(parts)
  }

  /** One after the other: what fails in one part holds back its key in the next. */
  async #oneByOne(parts: readonly (readonly ReadWork[])[]): Promise<void> {
    for (const part of parts) await this.#handle(part)
  }

  async #transact(works: readonly ReadWork[]): Promise<Fault | null> {
    const { surroundings, outbox, leases } = this.#desk
    const controller = new AbortController()
    this.#running.add(controller)
    for (const { entry } of works) if (entry !== null) leases.attach(entry, controller)
    const culprits = new Map<ReadWork, unknown>()
    let verdicts: readonly Verdict[] = []
    let buffer: OutgoingBuffer<Tx> | null = null
    let called = false
    try {
      await surroundings.store.transaction(async (tx) => {
        buffer = outbox.buffer(tx)
        verdicts = await this.#begin(tx, works)
        const todo = works.filter(
          (_, index) => verdicts[index]?.kind !== 'duplicate' && verdicts[index]?.kind !== 'behind',
        )
        called = todo.length > 0
        await this.#call(todo, tx, buffer, controller, culprits)
        await buffer.flush()
        await this.#finish(tx, works, culprits)
      })
      ;(buffer as OutgoingBuffer<Tx> | null)?.committed()
    } catch (error) {
      ;(buffer as OutgoingBuffer<Tx> | null)?.abandon()
      if (!(error instanceof Reported)) return { error, culprits, called }
      return { error, culprits: error.culprits, called }
    } finally {
      this.#running.delete(controller)
      for (const { entry } of works) if (entry !== null) leases.attach(entry, null)
    }
    this.#losses.forget(works)
    await this.#committed(works, verdicts)
    return null
  }

  /** Claims are recorded already, and have no verdicts. */
  async #begin(tx: Tx, works: readonly ReadWork[]): Promise<readonly Verdict[]> {
    const { surroundings, consumer, declaration } = this.#desk
    if (works[0]?.entry !== null) return []
    const messages = works.map(({ message }) => message)
    return surroundings.store.inbox.begin(tx, consumer, messages, declaration.ordered)
  }

  /** Last, so that until then the claims can be renewed from outside: what finishes them locks them. */
  async #finish(tx: Tx, works: readonly ReadWork[], culprits: Map<ReadWork, unknown>): Promise<void> {
    const { inbox } = this.#desk.surroundings.store
    for (const work of works) {
      if (work.entry === null) return
      try {
        await inbox.finish(tx, work.entry)
      } catch (error) {
        culprits.set(work, error)
        throw error
      }
    }
  }

  async #committed(works: readonly ReadWork[], verdicts: readonly Verdict[]): Promise<void> {
    const { outcomes, meter } = this.#desk
    const settled: ReadWork[] = []
    const behind: ReadWork[] = []
    const done: ReadWork[] = []
    works.forEach((work, index) => {
      const verdict = verdicts[index]
      if (verdict?.kind === 'behind') {
        behind.push(work)
        return
      }
      settled.push(work)
      if (verdict !== undefined) meter.received(verdict)
      if (verdict?.kind !== 'duplicate') done.push(work)
    })
    outcomes.accept(settled)
    meter.done(done.map(({ message }) => message))
    await outcomes.wait(behind)
  }

  async #call(
    works: readonly ReadWork[],
    tx: Tx,
    buffer: OutgoingBuffer<Tx>,
    controller: AbortController,
    culprits: Map<ReadWork, unknown>,
  ): Promise<void> {
    const { declaration } = this.#desk
    if (declaration.kind === 'batch') {
      if (works.length > 0) await this.#callBatch(declaration, works, tx, buffer, controller)
      return
    }
    for (const work of works) {
      try {
        await this.#callOne(declaration, work, tx, buffer, controller)
      } catch (error) {
        culprits.set(work, error)
        throw error
      }
    }
  }

  async #callOne(
    declaration: OnDeclaration<Tx>,
    work: ReadWork,
    tx: Tx,
    buffer: OutgoingBuffer<Tx>,
    controller: AbortController,
  ): Promise<void> {
    const { message, attempt, data } = work
    const { log } = this.#desk.surroundings
    await this.#timed(controller.signal, (signal) =>
      this.#desk.meter.handling([message], attempt, async () => {
        const context: HandlerContext<Tx> = { ...buffer.scopeOf(message), tx, message, attempt, signal, log }
        await declaration.handler(data, context)
      }),
    )
  }

  async #callBatch(
    declaration: BatchDeclaration<Tx>,
    works: readonly ReadWork[],
    tx: Tx,
    buffer: OutgoingBuffer<Tx>,
    controller: AbortController,
  ): Promise<void> {
    const { log } = this.#desk.surroundings
    const items = works.map(({ data, message, attempt }) => ({ ...buffer.scopeOf(message), data, message, attempt }))
    const messages = works.map(({ message }) => message)
    const results = await this.#timed(controller.signal, (signal) =>
      this.#desk.meter.handling(messages, items[0]?.attempt ?? 1, async () =>
        declaration.handler(items, { tx, signal, log }),
      ),
    )
    if (results !== undefined) report(declaration.name, works, results)
  }

  /** A timer for each run, and only where a time limit was declared. */
  async #timed<T>(signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { declaration, surroundings } = this.#desk
    if (declaration.timeoutMs === Infinity) return run(signal)
    const over = new AbortController()
    const timer = surroundings.clock.after(declaration.timeoutMs, () =>
      over.abort(
        new SdkError('timeout', `the handler "${declaration.name}" took more than ${declaration.timeoutMs} ms`),
      ),
    )
    try {
      return await run(AbortSignal.any([signal, over.signal]))
    } finally {
      timer.cancel()
    }
  }
}

/** @throws {Reported} when a result is a failure */
function report(name: string, works: readonly ReadWork[], results: readonly ItemResult[]): void {
  if (results.length !== works.length)
    throw new SdkError(
      'invalid_declaration',
      `the batch handler "${name}" returned ${results.length} results for ${works.length} items; return one for each, in their order, or nothing`,
    )
  const culprits = new Map<ReadWork, unknown>()
  works.forEach((work, index) => {
    const result = results[index]
    if (typeof result === 'object') culprits.set(work, result.failed)
  })
  if (culprits.size > 0) throw new Reported(culprits)
}

/** Whatever is behind them in their runs has to wait. */
function broken(works: readonly Work[]): void {
  for (const { run } of works) if (run !== null) run.broken = true
}

function hasCode(error: unknown, code: SdkError['code']): boolean {
  return error instanceof SdkError && error.code === code
}
