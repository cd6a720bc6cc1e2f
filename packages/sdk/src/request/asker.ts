import type { DataOf, Encoded } from '../contract/contract.ts'
import { UNDECLARED_ERRORS, type RequestContract } from '../contract/request-contract.ts'
import { SdkError } from '../errors.ts'
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
import type { Span } from '../telemetry/telemetry.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import type { ReplyPlace } from '../transport/port.ts'
import type { Answer, AnswerOf, UndeclaredAnswer, UndeclaredError } from './answer.ts'
import { Outstanding, Waiting, type Outcome } from './outstanding.ts'
import { requestMessage, type Cause } from './request-message.ts'

/** Of a service's surroundings, what asking and answering work with: nothing of it touches the store. */
export type RequestSurroundings = Omit<Surroundings<unknown>, 'store'>

/** How long one request is waited for. */
export interface AskOptions {
  /** How long to wait in all: for a connection, for somebody to answer, for the reply. Default: the service's, 30s. */
  readonly timeout?: Duration
  /** Ends the waiting; the promise rejects with the signal's reason. Whoever answers is not told. */
  readonly signal?: AbortSignal
}

/** How a service asks. */
export interface AskerOptions {
  /** Requests that may wait for replies at once; a further one is `overloaded`. Default 1000. */
  readonly outstandingMax?: number
  /** Default 30s. */
  readonly timeout?: Duration
}

/** Asks, and resolves with what came of it. */
export type Ask = <C extends RequestContract>(
  contract: C,
  data: DataOf<C>,
  options?: AskOptions,
) => Promise<AnswerOf<C>>

const OUTSTANDING_MAX = 1000
const TIMEOUT: Duration = '30s'

/** Pause after a place for replies could not be opened; doubled each time, up to the maximum. */
const CLOSED_MS = 50
const CLOSED_MS_MAX = 2000

/**
 * Sends requests and brings their replies home. One for each process: all its requests share one place for replies, which
 * is opened with the first of them. Calls are independent of each other and may overlap.
 */
export class Asker {
  readonly #surroundings: RequestSurroundings
  readonly #outstanding: Outstanding
  readonly #timeoutMs: number
  #replies: Promise<ReplyPlace> | null = null
  /** Until the transport says otherwise: a first attempt shows whether it is true. */
  #up = true
  readonly #untilUp: (() => void)[] = []
  #unwatch: (() => void)[] = []
  #stopped = false

  /** @throws {SdkError} `invalid_declaration` */
  constructor(surroundings: RequestSurroundings, options: AskerOptions = {}) {
    const max = options.outstandingMax ?? OUTSTANDING_MAX
    if (!Number.isInteger(max) || max < 1)
      throw new SdkError('invalid_declaration', `outstandingMax is ${max}; it must be a whole number from 1`)
    this.#surroundings = surroundings
    this.#outstanding = new Outstanding(max)
    this.#timeoutMs = milliseconds(options.timeout ?? TIMEOUT)
  }

  /** Requests that wait for their replies. */
  get outstanding(): number {
    return this.#outstanding.size
  }

  /**
   * Asks, and resolves with what came of it; only what is the program's own fault is thrown.
   *
   * @throws {SdkError} `invalid_data`, `too_large`, `capability_missing`, `not_started` after {@link stop}
   */
  readonly ask: Ask = (contract, data, options) => this.#ask(contract, data, options ?? {}, null)

  /**
   * Asks because of a message that is being handled: in its conversation, and within the time that is left for it. What a
   * handler's own `ask` does.
   */
  askBecauseOf(because: Cause): Ask {
    return (contract, data, options) => this.#ask(contract, data, options ?? {}, because)
  }

  /** Takes no more requests, waits until those that are out have their outcome, and closes the place for replies. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#outstanding.whenIdle()
    for (const end of this.#unwatch.splice(0)) end()
    const replies = this.#replies
    this.#replies = null
    // A place that could not be opened needs no closing.
    const place = await replies?.catch(() => null)
    await place?.close()
  }

  async #ask<C extends RequestContract>(
    contract: C,
    data: DataOf<C>,
    options: AskOptions,
    because: Cause | null,
  ): Promise<AnswerOf<C>> {
    // What comes back is of this contract, because it is looked up by the request's id.
    return (await this.#outcome(contract, (id) => contract.encode(data as never, id), options, because)) as AnswerOf<C>
  }

  async #outcome(
    contract: RequestContract,
    encode: (id: string) => Promise<Encoded>,
    options: AskOptions,
    because: Cause | null,
  ): Promise<Answer> {
    const { clock, service, newId, telemetry } = this.#surroundings
    this.#requireUsable()
    options.signal?.throwIfAborted()
    const timeoutMs = options.timeout === undefined ? this.#timeoutMs : milliseconds(options.timeout)
    const time = clock.now()
    const deadline = Math.min(time + timeoutMs, because?.metadata.deadline ?? Number.POSITIVE_INFINITY)
    // Nobody has it, but there is no time for asking again either: what inherits a deadline times out with it.
    if (deadline <= time)
      return this.#declined(
        contract.name,
        undeclared('timeout', `${contract.name} was not sent: no time was left for it`),
      )
    if (this.#outstanding.full)
      return this.#declined(
        contract.name,
        undeclared('overloaded', `${this.#outstanding.size} requests are out, and outstandingMax allows no more`),
      )

    const id = newId()
    const span = this.#span(contract.name, id)
    const make = async (): Promise<Message> => {
      const encoded = await encode(id)
      const trace = span.traceparent === undefined ? telemetry.current() : span
      return requestMessage({ id, type: contract.name, source: service, time, encoded, deadline, because, trace })
    }
    const waiting = new Waiting(contract, clock, deadline - time, overdue)
    const abort = (): void => waiting.settle({ thrown: options.signal?.reason })
    options.signal?.addEventListener('abort', abort, { once: true })
    const startedAt = clock.monotonic()
    this.#watch()
    // The place is taken before anything is awaited, so that calls of one turn cannot all slip in under the limit.
    const settled = this.#outstanding.during(id, waiting)
    this.#dispatch(waiting, make).catch((error: unknown) => waiting.settle({ thrown: error }))
    const outcome = await settled
    options.signal?.removeEventListener('abort', abort)
    this.#record(contract.name, span, outcome, clock.monotonic() - startedAt)
    if ('thrown' in outcome) throw outcome.thrown
    return outcome
  }

  #requireUsable(): void {
    const { service, transport } = this.#surroundings
    if (this.#stopped) throw new SdkError('not_started', `${service} is stopping; ask before that`)
    if (!transport.capabilities.replies)
      throw new SdkError('capability_missing', `the transport ${transport.name} carries no replies; ask over another`)
  }

  /**
   * Sends when there is a connection; once, because whether an engine that went away has the request is not known, and
   * it may do harm when it is handled twice.
   */
  async #dispatch(waiting: Waiting, make: () => Promise<Message>): Promise<void> {
    const { activity, transport } = this.#surroundings
    const message = await make()
    const place = await this.#placeFor(waiting)
    if (place === null || waiting.settled) return
    waiting.sent = true
    const metadata = { ...message.metadata, replyTo: place.address() }
    try {
      const [result] = await activity.during(() => transport.send([{ ...message, metadata }]))
      if (result === 'sent') return
      waiting.settle(refused(result ?? new SdkError('unreachable', 'the transport said nothing of the request')))
    } catch (error) {
      // The reply may come all the same.
      if (!isDown(error)) throw error
    }
  }

  /** The place for replies, once there is a connection; null when the request's time is over before that. */
  async #placeFor(waiting: Waiting): Promise<ReplyPlace | null> {
    const { clock, transport } = this.#surroundings
    for (let failures = 0; !waiting.settled; failures++) {
      if (!this.#up) await or(waiting, new Promise<void>((resolve) => this.#untilUp.push(resolve)))
      if (waiting.settled) return null
      const opening = (this.#replies ??= transport.openReplies((message) => void this.#receive(message)))
      try {
        return (await or(waiting, opening)) ?? null
      } catch (error) {
        if (this.#replies === opening) this.#replies = null
        if (!isDown(error)) throw error
        const pauseMs = Math.min(CLOSED_MS * 2 ** failures, CLOSED_MS_MAX)
        await or(waiting, new Promise<void>((resolve) => void clock.after(pauseMs, resolve)))
      }
    }
    return null
  }

  async #receive(reply: Message): Promise<void> {
    const { activity, telemetry, log } = this.#surroundings
    const waiting = this.#outstanding.get(reply.metadata.requestId ?? '')
    if (waiting === undefined || waiting.settled) {
      telemetry.count(METRIC.requestsLateReplies, 1, { [ATTRIBUTE.destination]: reply.type })
      log.debug({ request: reply.metadata.requestId, type: reply.type }, 'a reply came that nobody waits for any more')
      return
    }
    waiting.settle(await activity.during(() => read(waiting.contract, reply)))
  }

  #watch(): void {
    if (this.#unwatch.length > 0) return
    const { telemetry, transport } = this.#surroundings
    this.#unwatch = [
      telemetry.gauge(METRIC.requestsOutstanding, async () => [{ value: this.#outstanding.size, attributes: {} }]),
      transport.watch((up) => {
        this.#up = up
        if (up) for (const resolve of this.#untilUp.splice(0)) resolve()
      }),
    ]
  }

  #span(contract: string, id: string): Span {
    const { service, telemetry, transport } = this.#surroundings
    const attributes = {
      [ATTRIBUTE.system]: systemOf(transport.name),
      [ATTRIBUTE.operationName]: OPERATION.ask,
      [ATTRIBUTE.operationType]: operationTypeOf(OPERATION.ask),
      [ATTRIBUTE.destination]: contract,
      [ATTRIBUTE.messageId]: id,
      [ATTRIBUTE.service]: service,
    }
    return telemetry.span(spanName(OPERATION.ask, contract), 'client', attributes, [])
  }

  /** What was not even tried is measured as well: it is what an operator has to hear of first. */
  #declined(contract: string, answer: UndeclaredAnswer): UndeclaredAnswer {
    this.#measure(contract, 0, answer.error)
    return answer
  }

  #measure(contract: string, elapsedMs: number, errorType: string | null): void {
    const { telemetry, transport } = this.#surroundings
    telemetry.record(METRIC.operationDuration, elapsedMs / 1000, {
      [ATTRIBUTE.system]: systemOf(transport.name),
      [ATTRIBUTE.operationName]: OPERATION.ask,
      [ATTRIBUTE.destination]: contract,
      ...(errorType === null ? {} : { [ATTRIBUTE.errorType]: errorType }),
    })
  }

  #record(contract: string, span: Span, outcome: Outcome, elapsedMs: number): void {
    const failure = failureOf(outcome)
    this.#measure(contract, elapsedMs, failure?.type ?? null)
    if (failure === null) span.end()
    else span.end(failure.error)
  }
}

/** What a reply says, read with the contract of its request. */
async function read(contract: RequestContract, reply: Message): Promise<Answer> {
  const { error } = reply.metadata
  try {
    if (error === undefined) return { ok: true, value: await contract.answer.decode(reply) }
    if (Object.hasOwn(contract.errors, error)) {
      const value = await contract.errors[error]!.decode(reply)
      return { ok: false, error, value }
    }
    if (isUndeclared(error)) return undeclared(error, new TextDecoder().decode(reply.body))
    return undeclared('failed', `${reply.source} answered ${contract.name} with "${error}", which it does not declare`)
  } catch (unread) {
    // It was handled; that its asker cannot read what came of it does not undo that.
    return undeclared('failed', `the reply of ${reply.source} to ${contract.name} cannot be read: ${String(unread)}`)
  }
}

/** The promise's value, or undefined as soon as the request has its outcome. */
async function or<T>(waiting: Waiting, promise: Promise<T>): Promise<T | undefined> {
  return Promise.race([promise, waiting.outcome.then(() => undefined)])
}

function overdue(waiting: Waiting): UndeclaredAnswer {
  const { name } = waiting.contract
  return waiting.sent
    ? undeclared('timeout', `nobody answered ${name} in time; it may be handled all the same`)
    : undeclared('unreachable', `there was no connection over which ${name} could be sent in time`)
}

/** What the engine's refusal means for the asker. */
function refused(error: SdkError): Outcome {
  if (error.code === 'overloaded') return undeclared('overloaded', error.message)
  // Not taken, or given back because nobody can receive it.
  if (error.code === 'unroutable' || error.retryable) return undeclared('unreachable', error.message)
  return { thrown: error }
}

function undeclared(error: UndeclaredError, message: string): UndeclaredAnswer {
  return { ok: false, error, message }
}

function isUndeclared(error: string): error is UndeclaredError {
  return (UNDECLARED_ERRORS as readonly string[]).includes(error)
}

function isDown(error: unknown): boolean {
  return error instanceof SdkError && error.code === 'transport_down'
}

/** What telemetry is told of; a declared error is an answer like any other. */
function failureOf(outcome: Outcome): { readonly type: string; readonly error: unknown } | null {
  if ('thrown' in outcome) return { type: errorTypeOf(outcome.thrown), error: outcome.thrown }
  if (outcome.ok || !('message' in outcome)) return null
  return {
    type: outcome.error,
    error: new SdkError(outcome.error === 'failed' ? 'refused' : outcome.error, outcome.message),
  }
}
