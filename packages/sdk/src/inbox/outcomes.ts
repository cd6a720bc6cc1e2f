import { SdkError } from '../errors.ts'
import type { StoreTime } from '../outbox/store-time.ts'
import { attemptOf } from '../retry/fingerprint.ts'
import type { Attempt, Kept, Verdict } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import type { Declaration } from './declaration.ts'
import { nameOf, nextStep } from './exhaustion.ts'
import type { Meter } from './meter.ts'
import { storeIsDown, type StoreGate } from './store-gate.ts'
import { UNKEPT_MS_MAX, unkeptPauseMs, type UnkeptWorks } from './unkept.ts'
import type { Work } from './work.ts'

/** What a consumer's parts work with. */
export interface Desk<Tx> {
  readonly surroundings: Surroundings<Tx>
  /** Name in the store, and of the queue: `<service>.<name>`. */
  readonly consumer: string
  readonly declaration: Declaration<Tx>
  readonly gate: StoreGate
  readonly time: StoreTime
  readonly meter: Meter
  readonly unkept: UnkeptWorks
  /** To be called when something was kept or settled that is to be claimed some time. */
  readonly stored: () => void
}

/** A settlement in the store, as far as both kinds of work have it in common. */
interface Note {
  readonly state: 'waiting' | 'retrying' | 'parked' | 'expired'
  readonly dueAt: number
  readonly attempt?: Attempt
  readonly reason?: string
  readonly holdsKey?: boolean
  /** The handler was not begun, or through no fault of the message's. */
  readonly uncounted?: boolean
}

/**
 * Notes in the store what became of messages, and only then lets the transport forget them. When the store is down a
 * delivery goes back to the engine, and a claim is settled when the store answers again: neither costs an attempt.
 */
export class Outcomes<Tx> {
  readonly #desk: Desk<Tx>

  constructor(desk: Desk<Tx>) {
    this.#desk = desk
  }

  /** Handled, or known before. */
  accept(works: readonly Work[]): void {
    for (const { delivery } of works) delivery?.accept()
  }

  /** Not begun: it stays in the store until its turn comes, or its time. */
  async wait(works: readonly Work[], dueAt = 0): Promise<void> {
    await this.#note(works, () => ({ state: 'waiting', dueAt, uncounted: true }))
  }

  /**
   * What its handler sends has no room in the outbox, which is not its fault. The engine is rid of it meanwhile: what waits
   * in the outbox may be for the same queue, and that has to be emptied for it.
   */
  async postpone(work: Work, pauseMs: number): Promise<void> {
    const { surroundings, consumer, time } = this.#desk
    const fields = { consumer, message: work.message.id, againInMs: pauseMs }
    surroundings.log.debug(fields, 'the outbox is full; a handler that sends is run again later')
    await this.wait([work], Math.round(time.now() + pauseMs))
  }

  /** Nobody needs them any more. */
  async expire(works: readonly Work[]): Promise<void> {
    for (const _ of works) this.#desk.meter.expired()
    await this.#note(works, () => ({ state: 'expired', dueAt: 0, reason: 'expired', uncounted: true }))
  }

  /** It cannot be read, now or later; it is kept for an operator, whatever the policy says. */
  async refuse(work: Work, reason: string, error: unknown): Promise<void> {
    const { declaration, surroundings, consumer, meter } = this.#desk
    const holdsKey = declaration.onExhausted === 'park-key'
    const outcome = holdsKey ? 'park-key' : 'park-message'
    meter.failed(outcome, error)
    surroundings.log.error({ err: error, consumer, message: work.message.id, reason, outcome }, 'a message is refused')
    const attempt = this.#attempt(work, error)
    await this.#note([work], () => ({ state: 'parked', dueAt: 0, attempt, reason, holdsKey, uncounted: true }))
  }

  /** Its handler failed; `attempt` counts. */
  async fail(work: Work, error: unknown): Promise<void> {
    const { declaration, surroundings, consumer, meter, time } = this.#desk
    const { log, random } = surroundings
    const step = nextStep(declaration, error, work.attempt, random)
    const outcome = nameOf(step)
    meter.failed(outcome, error)
    const fields = { err: error, consumer, message: work.message.id, key: work.message.key, attempt: work.attempt }
    if (step.kind === 'retry') log.warn({ ...fields, againInMs: step.pauseMs }, 'a handler failed; it is tried again')
    else log.error({ ...fields, outcome }, 'a handler failed for the last time')
    if (step.kind === 'drop') return this.#drop(work)
    const attempt = this.#attempt(work, error)
    if (step.kind === 'park')
      return this.#note([work], () => ({ state: 'parked', dueAt: 0, attempt, holdsKey: step.holdsKey }), UNKEPT_MS_MAX)
    const dueAt = Math.round(time.now() + step.pauseMs)
    await this.#note([work], () => ({ state: 'retrying', dueAt, attempt }), step.pauseMs)
  }

  /**
   * The store answers, and does not keep a delivery: it stays in hand.
   *
   * @param failedMs the pause after the attempt that failed; null when none did
   */
  hold(work: Work, error: unknown, failedMs: number | null = null): void {
    const { surroundings, consumer, unkept } = this.#desk
    const pauseMs = Math.min(failedMs ?? unkeptPauseMs(work), UNKEPT_MS_MAX)
    surroundings.log.error(
      { err: error, consumer, message: work.message.id, againInMs: pauseMs },
      'a message cannot be kept in the store; it stays at the engine, and is tried again here',
    )
    unkept.add(work, error, pauseMs, failedMs !== null)
  }

  /** The store went away, or the service is stopping: somebody gets it again, as if it had not been here. */
  async giveBack(work: Work, pauseMs = 0): Promise<void> {
    if (work.delivery !== null) return work.delivery.release(pauseMs)
    const dueAt = pauseMs === 0 ? 0 : Math.round(this.#desk.time.now() + pauseMs)
    await this.#note([work], () => ({ state: 'waiting', dueAt, uncounted: true }))
  }

  /** What a claim's last attempt did is not known, and nobody may find out by trying again. */
  async uncertain(work: Work, error: unknown): Promise<void> {
    const { declaration, surroundings, consumer, meter } = this.#desk
    meter.failed('uncertain', error)
    surroundings.log.error(
      { err: error, consumer, message: work.message.id },
      'nobody knows whether an effect happened',
    )
    const { entry } = work
    if (entry === null) return
    const attempt = this.#attempt(work, error)
    const holdsKey = declaration.onExhausted === 'park-key'
    await this.#whenUp(() =>
      surroundings.store.inbox.settle(entry, { state: 'uncertain', dueAt: 0, attempt, holdsKey }),
    )
  }

  /** The effect of a claim is done. @returns false when the claim was lost meanwhile, or nobody could be told */
  async complete(work: Work): Promise<boolean> {
    const { store } = this.#desk.surroundings
    const { entry } = work
    return entry === null ? true : ((await this.#whenUp(() => store.inbox.complete(entry))) ?? false)
  }

  /** Does it as soon as the store answers. @returns undefined when the consumer ended before */
  async #whenUp<T>(work: () => Promise<T>): Promise<T | undefined> {
    const { gate } = this.#desk
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!storeIsDown(error)) throw error
        gate.close(error)
      }
      if (!(await gate.passable())) return undefined
    }
  }

  /** @param failedMs as of {@link hold} */
  async #note(works: readonly Work[], noteOf: () => Note, failedMs: number | null = null): Promise<void> {
    const { surroundings, consumer } = this.#desk
    const { inbox } = surroundings.store
    await this.#keep(
      works.filter(({ entry }) => entry === null),
      noteOf,
      failedMs,
    )
    for (const { entry } of works) {
      if (entry === null) continue
      try {
        await this.#whenUp(() => inbox.settle(entry, noteOf()))
        this.#desk.stored()
      } catch (error) {
        const fields = { err: error, consumer, message: entry.message.id }
        surroundings.log.error(fields, 'a claim could not be settled; its lease has to run out')
      }
    }
  }

  /** Puts deliveries into the store, all of them or, when one of them stands in the way, one by one. */
  async #keep(works: readonly Work[], noteOf: () => Note, failedMs: number | null): Promise<void> {
    const { surroundings, consumer, gate, unkept, meter } = this.#desk
    const free = works.filter((work) => !unkept.holdsBack(work))
    const [only] = free
    if (only === undefined) return
    try {
      const verdicts = await surroundings.store.inbox.keep(
        consumer,
        free.map((work) => keptOf(work, noteOf())),
      )
      this.accept(free)
      for (const verdict of verdicts) meter.received(verdict)
      this.#desk.stored()
    } catch (error) {
      if (storeIsDown(error)) {
        for (const { delivery } of free) delivery?.release()
        gate.close(error)
      } else if (free.length > 1) for (const work of free) await this.#keep([work], noteOf, failedMs)
      // Without its body it can be remembered, and nobody needs that any more.
      else if (noteOf().state === 'expired') await this.#drop(only)
      else this.hold(only, error, failedMs)
    }
  }

  /** Remembered as done, without having been handled. */
  async #drop(work: Work): Promise<void> {
    const { store } = this.#desk.surroundings
    const { entry, message } = work
    const { consumer, declaration, meter } = this.#desk
    try {
      const verdict = await store.transaction(async (tx): Promise<Verdict | null> => {
        if (entry === null) return (await store.inbox.begin(tx, consumer, [message], declaration.ordered))[0]!
        await store.inbox.finish(tx, entry)
        return null
      })
      if (verdict?.kind === 'behind') return await this.wait([work])
      this.accept([work])
      if (verdict !== null) meter.received(verdict)
    } catch (error) {
      if (error instanceof SdkError && error.code === 'lease_lost') return
      if (storeIsDown(error)) this.#desk.gate.close(error)
      await this.giveBack(work)
    }
  }

  #attempt(work: Work, error: unknown): Attempt {
    const { time, surroundings } = this.#desk
    const { process, version } = surroundings
    return attemptOf(error, work.attempt, time.now(), process, version)
  }
}

function keptOf({ message, attempt }: Work, { uncounted, ...note }: Note): Kept {
  return { message, attempts: uncounted === true ? 0 : attempt, ...note }
}
