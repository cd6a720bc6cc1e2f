import { copyOf } from '@stathmos/std'
import { EngineError } from '../errors.ts'
import type { Shard } from '../line/shard.ts'
import type { DeathReason } from '../message/death.ts'
import { Draft } from '../message/draft.ts'
import type { FindBody, Outcomes, ReleaseOptions } from '../queue/outcome.ts'
import { Bodies, type Ending } from './bodies.ts'
import type { Route } from './route.ts'

/** Where a transaction publishes. */
export interface TransactionTarget {
  publish(route: Route, draft: Draft): number
}

/** Told what became of each publish, in order, as `publish` of the vhost returns it. */
export type Applied = (outcomes: readonly number[]) => void

/** What one commit does. */
class Work {
  readonly steps: ((find: FindBody) => void)[] = []
  /** Deliveries that it ends. */
  readonly held: { readonly queue: Outcomes; readonly ticket: number }[] = []
  /** Those of them that may become dead letters. */
  readonly endings: Ending[] = []
  readonly outcomes: number[] = []
  bytes = 0
}

/**
 * Publishes and settlements over any number of queues that take effect together, in one frame, or not at
 * all; the dead letters of what it rejects are part of it. Nothing is visible before {@link commit}.
 */
export class Transaction {
  readonly #target: TransactionTarget
  readonly #shard: Shard
  readonly #bytesMax: number
  #work = new Work()
  /** The commits that wait for the disk to bring something in, the last one; null: none does. */
  #reading: Promise<boolean> | null = null
  /** Counts the rollbacks. */
  #rollbacks = 0

  constructor(target: TransactionTarget, shard: Shard, bytesMax: number) {
    this.#target = target
    this.#shard = shard
    this.#bytesMax = bytesMax
  }

  /**
   * Sets a message aside; its bytes are copied.
   * @throws {EngineError} `limit_reached` when the transaction would outgrow `transactionBytesMax`
   */
  publish(route: Route, draft: Draft): void {
    this.#admit(draft.bodyEnd - draft.bodyStart + draft.originEnd - draft.originStart)
    const copy = copyDraft(draft)
    const { steps, outcomes } = this.#work
    steps.push(() => outcomes.push(this.#target.publish(route, copy)))
  }

  accept(queue: Outcomes, ticket: number): void {
    this.#end(queue, ticket, () => queue.accept(ticket))
  }

  /** @throws {EngineError} `limit_reached` as {@link reject}, where it is one failed attempt too many */
  release(queue: Outcomes, ticket: number, options: ReleaseOptions = {}): void {
    if (options.failed === true) this.#mayBury({ queue, ticket, failed: true })
    this.#end(queue, ticket, (find) => queue.release(ticket, { ...options, find }))
  }

  /**
   * @throws {EngineError} `limit_reached` when the transaction would outgrow `transactionBytesMax` by the message, of
   * which it is to make a dead letter
   */
  reject(queue: Outcomes, ticket: number, reason: DeathReason): void {
    this.#mayBury({ queue, ticket, failed: false })
    this.#end(queue, ticket, (find) => queue.reject(ticket, reason, find))
  }

  /**
   * Does everything in order, in one frame, and calls `applied`: before this returns, unless a message of which it makes
   * a dead letter must be read from disk first. Nothing has happened until all of them are there, and a delivery that
   * is to be ended is not taken from its holder meanwhile; what is done with this object from now on belongs to the
   * next transaction, and its commit comes after this one.
   *
   * Resolves with `true` when all of it is on disk; with `false` when {@link rollback} came before it took effect.
   * Rejects when storage has failed: then nothing will ever be known to be on disk.
   */
  commit(applied: Applied = () => {}): Promise<boolean> {
    const work = this.#work
    this.#work = new Work()
    const bodies = new Bodies(this.#shard, work.endings)
    if (this.#reading === null && bodies.complete) {
      apply(work, bodies, applied)
      return this.#shard.flushed().then(() => true)
    }
    for (const { queue, ticket } of work.held) queue.renew(ticket, Number.POSITIVE_INFINITY)
    const reading = this.#applyLater(work, bodies, applied, this.#reading)
    this.#reading = reading
    this.#shard.owe(reading)
    reading.then(
      () => {
        if (this.#reading === reading) this.#reading = null
      },
      (error: unknown) => this.#shard.fail(error),
    )
    return reading.then((done) => done && this.#shard.flushed().then(() => true))
  }

  /** Forgets everything that has not taken effect; deliveries stay in the hands of whoever holds them, without a lease. */
  rollback(): void {
    this.#rollbacks++
    this.#work = new Work()
  }

  async #applyLater(work: Work, bodies: Bodies, applied: Applied, before: Promise<boolean> | null): Promise<boolean> {
    const rollbacks = this.#rollbacks
    const wanted = (): boolean => this.#rollbacks === rollbacks
    await before
    await bodies.bringIn(wanted)
    if (!wanted()) return false
    apply(work, bodies, applied)
    return true
  }

  #end(queue: Outcomes, ticket: number, step: (find: FindBody) => void): void {
    this.#work.held.push({ queue, ticket })
    this.#work.steps.push(step)
  }

  #mayBury(ending: Ending): void {
    this.#admit(ending.queue.doomed(ending.ticket, ending.failed)?.bytes ?? 0)
    this.#work.endings.push(ending)
  }

  #admit(bytes: number): void {
    if (this.#work.bytes + bytes > this.#bytesMax) {
      throw new EngineError(
        'limit_reached',
        `the transaction holds more than transactionBytesMax (${this.#bytesMax}) bytes; commit smaller ones`,
      )
    }
    this.#work.bytes += bytes
  }
}

function apply({ steps, outcomes }: Work, bodies: Bodies, applied: Applied): void {
  for (const step of steps) step((position) => bodies.find(position))
  applied(outcomes)
}

function copyDraft(draft: Draft): Draft {
  const copy = new Draft()
  copy.originKind = draft.originKind
  copy.origin = copyOf(draft.origin, draft.originStart, draft.originEnd)
  copy.originView = new DataView(copy.origin.buffer)
  copy.originEnd = copy.origin.length
  copy.body = copyOf(draft.body, draft.bodyStart, draft.bodyEnd)
  copy.bodyView = new DataView(copy.body.buffer)
  copy.bodyEnd = copy.body.length
  copy.persistent = draft.persistent
  copy.priority = draft.priority
  copy.ttlMs = draft.ttlMs
  copy.delayMs = draft.delayMs
  if (draft.headers !== null) {
    const headers = draft.headers()
    copy.headers = () => headers
  }
  copy.moreKeys = draft.moreKeys === null ? null : [...draft.moreKeys]
  copy.history = draft.history
  return copy
}
