import { copyOf } from '@stathmos/std'
import { EngineError } from '../errors.ts'
import type { DeathReason } from '../message/death.ts'
import { Draft } from '../message/draft.ts'
import type { Outcomes, ReleaseOptions } from '../queue/outcome.ts'
import type { Route } from './route.ts'

/** Where a transaction publishes. */
export interface TransactionTarget {
  publish(route: Route, draft: Draft): number
}

/**
 * Publishes and settlements over any number of queues that take effect together, in one frame, or not at
 * all. Nothing is visible before {@link commit}.
 */
export class Transaction {
  readonly #target: TransactionTarget
  readonly #bytesMax: number
  #steps: (() => void)[] = []
  #bytes = 0
  #position = 0
  /** What became of each publish, in order, as `publish` of the vhost returns it. Filled by {@link commit}. */
  outcomes: number[] = []

  constructor(target: TransactionTarget, bytesMax: number) {
    this.#target = target
    this.#bytesMax = bytesMax
  }

  /**
   * Sets a message aside; its bytes are copied.
   * @throws {EngineError} `limit_reached` when the transaction would outgrow `transactionBytesMax`
   */
  publish(route: Route, draft: Draft): void {
    const bytes = this.#bytes + draft.bodyEnd - draft.bodyStart + draft.originEnd - draft.originStart
    if (bytes > this.#bytesMax) {
      throw new EngineError(
        'limit_reached',
        `the transaction holds more than transactionBytesMax (${this.#bytesMax}) bytes; commit smaller ones`,
      )
    }
    this.#bytes = bytes
    const copy = copyDraft(draft)
    this.#steps.push(() => {
      const outcome = this.#target.publish(route, copy)
      this.outcomes.push(outcome)
      if (outcome > this.#position) this.#position = outcome
    })
  }

  accept(queue: Outcomes, ticket: number): void {
    this.#steps.push(() => queue.accept(ticket))
  }

  release(queue: Outcomes, ticket: number, options?: ReleaseOptions): void {
    this.#steps.push(() => queue.release(ticket, options))
  }

  reject(queue: Outcomes, ticket: number, reason: DeathReason): void {
    this.#steps.push(() => queue.reject(ticket, reason))
  }

  /** Does everything in order, in one frame. Durable when the journal is, after this call. */
  commit(): number {
    const steps = this.#steps
    this.#steps = []
    this.#bytes = 0
    this.#position = 0
    this.outcomes = []
    for (const step of steps) step()
    return this.#position
  }

  rollback(): void {
    this.#steps = []
    this.#bytes = 0
  }
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
