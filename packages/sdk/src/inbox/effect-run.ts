import { SdkError } from '../errors.ts'
import { Uncertain, type EffectContext, type EffectDeclaration, type EffectState } from './declaration.ts'
import { leavesUnknown, outcomeUnknown } from './exhaustion.ts'
import { named } from '../outbox/outgoing.ts'
import type { Leases } from './leases.ts'
import type { Desk, Outcomes } from './outcomes.ts'
import type { RateLimit } from './rate-limit.ts'
import { sift, vanished } from './sifting.ts'
import { storeIsDown } from './store-gate.ts'
import { UNKEPT_MS } from './unkept.ts'
import { workOf, type ReadWork, type Work } from './work.ts'

export interface EffectDesk<Tx> extends Desk<Tx> {
  readonly declaration: EffectDeclaration
  readonly outcomes: Outcomes<Tx>
  readonly leases: Leases
  readonly rate: RateLimit | null
}

/** Longest time that a limited message is held in its lane; for a longer one it is stored. */
const HELD_MS_MAX = 60_000

/** The same where each message may have another limit: what is held, and what waits behind it, takes places from others. */
const HELD_MS_MAX_KEYED = 1000

/**
 * Runs handlers without a transaction: the attempt is recorded before the outside world is called, and its end after.
 * What lies between the two is the only time in which a crash leaves the outcome unknown. Never rejects.
 */
export class EffectRun<Tx> {
  readonly #desk: EffectDesk<Tx>
  readonly #running = new Set<AbortController>()

  constructor(desk: EffectDesk<Tx>) {
    this.#desk = desk
  }

  /**
   * Handles a delivery.
   *
   * @param hadTurn whether it was held for its turn at the rate, which has come
   * @param mayHold whether it may stay in its lane until then
   * @returns for how many ms it wants to be held and handed in again; 0 when it is done with
   */
  async delivery(work: Work, hadTurn: boolean, mayHold: boolean): Promise<number> {
    try {
      return await this.#delivery(work, hadTurn, mayHold)
    } catch (error) {
      await this.#interrupted(work, error)
      return 0
    }
  }

  async claim(work: Work): Promise<void> {
    try {
      await this.#leased(work, () => this.#claim(work))
    } catch (error) {
      await this.#interrupted(work, error)
    }
  }

  abort(reason: unknown): void {
    for (const controller of this.#running) controller.abort(reason)
  }

  async #delivery(work: Work, hadTurn: boolean, mayHold: boolean): Promise<number> {
    const { outcomes, surroundings, declaration, consumer, time, meter } = this.#desk
    const ready = await this.#read(work)
    if (ready === null) return 0
    const limit = this.#limitOf(ready)
    if ('failed' in limit) {
      // It is attempted when it is its turn in its key: as a claim.
      await outcomes.wait([work])
      return 0
    }
    const turnAt = await this.#turnAt(limit.name, hadTurn)
    if (turnAt !== null) {
      const waitMs = turnAt - time.now()
      const heldMsMax = declaration.rate?.key === undefined ? HELD_MS_MAX : HELD_MS_MAX_KEYED
      if (waitMs <= heldMsMax && mayHold) return Math.max(waitMs, 1)
      await outcomes.wait([work], turnAt)
      return 0
    }
    const { ordered, leaseMs, level } = declaration
    if (level === 'at-most-once') {
      await this.#delivered(ready)
      return 0
    }
    const verdict = await surroundings.store.inbox.start(consumer, work.message, ordered, leaseMs)
    if (verdict.kind === 'behind') {
      await outcomes.wait([work])
      return 0
    }
    // From here on the store has it, and a crash of this process is found out by the lease.
    outcomes.accept([work])
    meter.received(verdict)
    if (verdict.entry !== null) {
      const begun = { ...workOf(verdict.entry), data: ready.data }
      await this.#leased(begun, () => this.#attempt(begun))
    }
    return 0
  }

  async #claim(work: Work): Promise<void> {
    const { outcomes, declaration } = this.#desk
    const ready = await this.#read(work)
    if (ready === null) return
    if ((await this.#knowledge(ready)) === 'settled') return
    if (work.attempt > declaration.retry.attempts) return outcomes.fail(work, vanished(work))
    const limit = this.#limitOf(ready)
    if ('failed' in limit) return outcomes.fail(work, limit.failed)
    const turnAt = await this.#turnAt(limit.name, true)
    if (turnAt !== null) await outcomes.wait([work], turnAt)
    else if (declaration.level === 'at-least-once') await this.#attempt(ready)
    else if (await outcomes.complete(work)) await this.#once(ready)
  }

  async #read(work: Work): Promise<ReadWork | null> {
    const { declaration, time, outcomes } = this.#desk
    const sifted = await sift(work, declaration.contract, time.now())
    if (sifted.kind === 'ready') return sifted.work
    if (sifted.kind === 'expired') await outcomes.expire([work])
    else if (sifted.kind === 'failed') await this.#unread(work, sifted.error)
    else await outcomes.refuse(work, sifted.reason, sifted.error)
    return null
  }

  /** Counted as a claim, in its turn; what an earlier attempt left unknown is still so at the next. */
  async #unread(work: Work, error: unknown): Promise<void> {
    const { outcomes } = this.#desk
    const { entry } = work
    if (entry === null) return outcomes.wait([work])
    const isUnknown = entry.state === 'running' || outcomeUnknown(entry.errors)
    await outcomes.fail(
      work,
      isUnknown ? new Uncertain(`${String(error)}; an earlier attempt is not verified`, { cause: error }) : error,
    )
  }

  /**
   * The name of the limit that a message is under; or what its function threw, which is a failed attempt of the message's
   * as if the handler had thrown it: it will do so again, and has to come to an end.
   */
  #limitOf({ data }: ReadWork): { readonly name: string } | { readonly failed: unknown } {
    const { declaration, consumer } = this.#desk
    try {
      const shared = declaration.rate?.sharedAs ?? null
      // No consumer is called so: their names have a dot.
      const limit = shared === null ? consumer : `shared:${shared}`
      const key = declaration.rate?.key?.(data)
      return { name: key === undefined ? limit : named('rate with its key', `${limit}:${key}`)! }
    } catch (failed) {
      return { failed }
    }
  }

  async #turnAt(name: string, hadTurn: boolean): Promise<number | null> {
    const { rate, meter } = this.#desk
    if (rate === null) return null
    const turnAt = await rate.take(name, hadTurn)
    if (turnAt !== null) meter.rateWait()
    return turnAt
  }

  /** Finds out what an earlier attempt did whose outcome nobody recorded, and settles the claim when that decides it. */
  async #knowledge(work: ReadWork): Promise<'settled' | 'go on'> {
    const { declaration, outcomes } = this.#desk
    const { entry } = work
    const crashed = entry?.state === 'running'
    if (entry === null || !(crashed || outcomeUnknown(entry.errors))) return 'go on'
    const state = declaration.verify === null ? 'unknown' : await this.#verify(work)
    if (state === 'failed') return 'settled'
    if (state === 'not-done') return 'go on'
    if (state === 'done') {
      await this.#complete(work)
      return 'settled'
    }
    const mayRepeat = declaration.onUncertain === 'retry' && work.attempt <= declaration.retry.attempts
    if (mayRepeat) return 'go on'
    const why = crashed ? 'the process ended during an attempt' : 'an attempt ended without an answer'
    await outcomes.uncertain(work, new Uncertain(`${why}; find out whether ${this.#keyOf(work)} happened`))
    return 'settled'
  }

  async #verify(work: ReadWork): Promise<EffectState | 'failed'> {
    try {
      return await this.#ask(work)
    } catch (error) {
      // What cannot be asked now is asked later; the attempt counts, so that it ends some time.
      await this.#desk.outcomes.fail(work, new Uncertain('the effect could not be verified', { cause: error }))
      return 'failed'
    }
  }

  async #ask(work: ReadWork): Promise<EffectState> {
    const { verify } = this.#desk.declaration
    return this.#limited(work, async (context) => (await verify?.(work.data, context)) ?? 'unknown')
  }

  async #attempt(work: ReadWork): Promise<void> {
    const { declaration, meter, outcomes } = this.#desk
    try {
      await this.#limited(work, (context) =>
        meter.handling([work.message], work.attempt, async () => declaration.handler(work.data, context)),
      )
    } catch (error) {
      const isLast = work.attempt >= declaration.retry.attempts || declaration.giveUp(error)
      const mustDecide = isLast || (declaration.verify === null && declaration.onUncertain === 'park')
      if (leavesUnknown(error) && mustDecide) await this.#decide(work, error)
      else await outcomes.fail(work, error)
      return
    }
    await this.#complete(work)
  }

  /** There will be no other attempt that could ask first. */
  async #decide(work: ReadWork, error: unknown): Promise<void> {
    const { declaration, outcomes } = this.#desk
    const state = declaration.verify === null ? 'unknown' : await this.#ask(work).catch((): EffectState => 'unknown')
    if (state === 'done') await this.#complete(work)
    else if (state === 'not-done') await outcomes.fail(work, error)
    else await outcomes.uncertain(work, error)
  }

  async #complete(work: ReadWork): Promise<void> {
    const { outcomes, meter, surroundings, consumer } = this.#desk
    if (await outcomes.complete(work)) meter.done([work.message])
    else {
      const fields = { consumer, message: work.message.id }
      surroundings.log.warn(
        fields,
        'an effect happened, but its claim was lost before that was recorded; it may happen again',
      )
    }
  }

  /**
   * Remembered as done before it is called: neither the engine, which may not have heard that the message was accepted,
   * nor the sender's relay, which may send it again, has it called a second time.
   */
  async #delivered(work: ReadWork): Promise<void> {
    const { outcomes, surroundings, declaration, consumer, meter } = this.#desk
    const { store } = surroundings
    const [verdict] = await store.transaction((tx) =>
      store.inbox.begin(tx, consumer, [work.message], declaration.ordered),
    )
    if (verdict?.kind === 'behind') return outcomes.wait([work])
    outcomes.accept([work])
    if (verdict !== undefined) meter.received(verdict)
    if (verdict?.kind !== 'duplicate') await this.#once(work)
  }

  /** Whatever becomes of it, it was called. */
  async #once(work: ReadWork): Promise<void> {
    const { declaration, meter, surroundings, consumer } = this.#desk
    try {
      await this.#limited(work, (context) =>
        meter.handling([work.message], 1, async () => declaration.handler(work.data, context)),
      )
      meter.done([work.message])
    } catch (error) {
      meter.failed('drop', error)
      surroundings.log.warn({ err: error, consumer, message: work.message.id }, 'a handler failed; its message is gone')
    }
  }

  /** Calls within the time limit, keeping the claim; a call that overruns it or loses the claim has failed there and then. */
  async #limited<T>(work: ReadWork, call: (context: EffectContext) => Promise<T>): Promise<T> {
    const { declaration, surroundings, leases } = this.#desk
    const { message, attempt, entry } = work
    const controller = new AbortController()
    const { signal } = controller
    this.#running.add(controller)
    if (entry !== null) leases.attach(entry, controller)
    const timer = surroundings.clock.after(declaration.timeoutMs, () =>
      controller.abort(
        new SdkError('timeout', `the handler "${declaration.name}" took more than ${declaration.timeoutMs} ms`),
      ),
    )
    const context = { idempotencyKey: this.#keyOf(work), message, attempt, signal, log: surroundings.log }
    try {
      const aborted = new Promise<never>((_, reject) =>
        signal.addEventListener('abort', () => reject(interruption(signal.reason)), { once: true }),
      )
      return await Promise.race([call(context), aborted])
    } finally {
      timer.cancel()
      this.#running.delete(controller)
      if (entry !== null) leases.attach(entry, null)
    }
  }

  /** Keeps the claim alive from now until everything about it is settled. */
  async #leased(work: Work, run: () => Promise<void>): Promise<void> {
    const { leases } = this.#desk
    if (work.entry !== null) leases.begin(work.entry)
    try {
      await run()
    } finally {
      if (work.entry !== null) leases.end(work.entry)
    }
  }

  /** The store failed while something was decided; nothing had been called, or everything was recorded. */
  async #interrupted(work: Work, error: unknown): Promise<void> {
    const { gate, outcomes, surroundings, consumer } = this.#desk
    if (storeIsDown(error)) {
      gate.close(error)
      return outcomes.giveBack(work)
    }
    if (work.delivery !== null) return outcomes.hold(work, error)
    surroundings.log.error({ err: error, consumer, message: work.message.id }, 'a message could not be begun')
    // It would fail again at once: slowly, for it may be for long.
    await outcomes.giveBack(work, UNKEPT_MS)
  }

  #keyOf({ message }: Work): string {
    return `${this.#desk.consumer}:${message.id}`
  }
}

/** A timeout says itself that the outcome is unknown; whatever else ends a call from outside leaves it just as unknown. */
function interruption(reason: unknown): unknown {
  if (reason instanceof SdkError && reason.code === 'timeout') return reason
  return new Uncertain('the call was ended from outside', { cause: reason })
}
