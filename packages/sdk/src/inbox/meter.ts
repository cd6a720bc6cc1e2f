import type { Message } from '../message/message.ts'
import type { Surroundings } from '../surroundings.ts'
import {
  ATTRIBUTE,
  errorTypeOf,
  METRIC,
  OPERATION,
  operationTypeOf,
  spanName,
  systemOf,
} from '../telemetry/conventions.ts'
import type { Attributes, Span } from '../telemetry/telemetry.ts'
import type { Verdict } from '../store/port.ts'

/** Tells telemetry what one consumer does. */
export class Meter {
  readonly #surroundings: Surroundings<unknown>
  readonly #spanName: string
  readonly #attributes: Attributes
  readonly #spanAttributes: Attributes

  constructor(surroundings: Surroundings<unknown>, consumer: string, name: string, contract: string) {
    this.#surroundings = surroundings
    this.#spanName = spanName(OPERATION.process, contract)
    this.#attributes = {
      [ATTRIBUTE.system]: systemOf(surroundings.transport.name),
      [ATTRIBUTE.operationName]: OPERATION.process,
      [ATTRIBUTE.destination]: contract,
      [ATTRIBUTE.consumerGroup]: consumer,
    }
    this.#spanAttributes = {
      ...this.#attributes,
      [ATTRIBUTE.operationType]: operationTypeOf(OPERATION.process),
      [ATTRIBUTE.service]: surroundings.service,
      [ATTRIBUTE.consumer]: name,
    }
  }

  /** Runs a handler in a span of its own, linked to the messages, and measures it. */
  async handling<T>(messages: readonly Message[], attempt: number, run: () => Promise<T>): Promise<T> {
    const { telemetry, clock } = this.#surroundings
    const span = telemetry.span(this.#spanName, 'consumer', this.#spanAttributes, messages)
    this.#describe(span, messages, attempt)
    const startedAt = clock.monotonic()
    let failure: { readonly error: unknown } | null = null
    try {
      return await telemetry.within(span, run)
    } catch (error) {
      failure = { error }
      throw error
    } finally {
      const seconds = (clock.monotonic() - startedAt) / 1000
      if (failure === null) {
        telemetry.record(METRIC.processDuration, seconds, this.#attributes)
        span.end()
      } else {
        const errorType = errorTypeOf(failure.error)
        telemetry.record(METRIC.processDuration, seconds, { ...this.#attributes, [ATTRIBUTE.errorType]: errorType })
        span.end(failure.error)
      }
    }
  }

  /** Messages whose handling has committed or was recorded. */
  done(messages: readonly Message[]): void {
    const { telemetry, clock } = this.#surroundings
    const now = clock.now()
    for (const { time } of messages) telemetry.record(METRIC.inboxLag, Math.max(now - time, 0) / 1000, this.#attributes)
  }

  consumed(count: number): void {
    this.#count(METRIC.consumed, count)
  }

  /**
   * What the inbox said of a message that came; of what is behind it will say more. The numbers say that something went
   * wrong on the way: with a working engine each is the next one.
   */
  received({ kind, order, message }: Verdict): void {
    if (kind === 'behind') return
    if (kind === 'duplicate') this.#count(METRIC.inboxDuplicates, 1)
    // A duplicate is late by its nature. Only one that has an id of its own can tell that another message is missing.
    if (order !== 'gap' && (order !== 'late' || kind === 'duplicate')) return
    const { id, type, source, key, keySeq } = message
    this.#count(order === 'gap' ? METRIC.inboxGaps : METRIC.inboxLate, 1)
    this.#surroundings.log.warn(
      { consumer: this.#attributes[ATTRIBUTE.consumerGroup], message: id, type, source, key, keySeq },
      order === 'gap'
        ? 'the message before this one of its key was never seen'
        : 'the message came after a later one of its key',
    )
  }

  expired(): void {
    this.#count(METRIC.inboxExpired, 1)
  }

  rateWait(): void {
    this.#count(METRIC.rateWaits, 1)
  }

  failed(outcome: string, error: unknown): void {
    this.#surroundings.telemetry.count(METRIC.inboxFailures, 1, {
      ...this.#attributes,
      [ATTRIBUTE.outcome]: outcome,
      [ATTRIBUTE.errorType]: errorTypeOf(error),
    })
  }

  #count(metric: string, value: number): void {
    this.#surroundings.telemetry.count(metric, value, this.#attributes)
  }

  #describe(span: Span, messages: readonly Message[], attempt: number): void {
    // Attributes are made for whoever records: without a context nobody does.
    if (span.traceparent === undefined) return
    const [first] = messages
    if (messages.length === 1 && first !== undefined) {
      span.set({
        [ATTRIBUTE.messageId]: first.id,
        [ATTRIBUTE.conversationId]: first.metadata.correlationId,
        [ATTRIBUTE.bodySize]: first.body.byteLength,
        [ATTRIBUTE.version]: first.version,
        [ATTRIBUTE.attempt]: attempt,
        ...(first.key === null ? {} : { [ATTRIBUTE.key]: first.key }),
      })
    } else span.set({ [ATTRIBUTE.batchCount]: messages.length })
  }
}
