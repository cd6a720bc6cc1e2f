import { AsyncResource } from 'node:async_hooks'
import type { Encoded, ReceivedOf } from '../contract/contract.ts'
import type { RequestContract } from '../contract/request-contract.ts'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
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
import type { ConsumerTopology, Delivery, Subscription, Transport } from '../transport/port.ts'
import type { ErrorPayloads, GivenOf, UndeclaredError } from './answer.ts'
import type { Ask, Asker, RequestSurroundings } from './asker.ts'
import { Declined, fail, type Fail } from './declined.ts'
import { replyMessage } from './request-message.ts'

/** What a handler of requests is handed besides the data. */
export interface AnswerContext<Errors extends ErrorPayloads = ErrorPayloads> {
  readonly message: Message
  /** Aborted when the asker's time is over, and what is still done is done for nobody; or when the service stops waiting. */
  readonly signal: AbortSignal
  readonly fail: Fail<Errors>
  /** Asks in the same conversation, and within the time that the asker has left. */
  readonly ask: Ask
}

/**
 * Answers a request: with what the contract declares as the answer, or by `context.fail` with an error that it
 * declares.
 */
export type AnswerHandler<C extends RequestContract> = (
  data: ReceivedOf<C>,
  context: AnswerContext<C['errors']>,
) => GivenOf<C['answer']> | Promise<GivenOf<C['answer']>>

/** How a contract is answered. */
export interface AnswerOptions {
  /** Requests that are handled at once in this process. Default 16. */
  readonly concurrency?: number
  /**
   * Whether a request is given up when the process dies while it runs. Otherwise another process handles it again, as long
   * as its asker waits. Default false.
   */
  readonly once?: boolean
}

const CONCURRENCY = 16

/** Pause before a reply is sent again that the engine did not take; doubled each time, up to the maximum. */
const UNSENT_MS = 50
const UNSENT_MS_MAX = 2000

/**
 * What a service needs at the engine that answers a contract, whether it runs or not.
 *
 * @throws {SdkError} `invalid_declaration`, `capability_missing` when the transport carries no replies
 */
export function answererTopology(
  service: string,
  { name }: Pick<RequestContract, 'name'>,
  { concurrency = CONCURRENCY }: AnswerOptions,
  transport: Pick<Transport, 'name' | 'capabilities'>,
): ConsumerTopology {
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new SdkError(
      'invalid_declaration',
      `concurrency of "${name}" is ${concurrency}; it must be a whole number from 1`,
    )
  if (!transport.capabilities.replies)
    throw new SdkError(
      'capability_missing',
      `"${name}" cannot be answered: the transport ${transport.name} carries no replies`,
    )
  return { queue: `${service}.${name}`, contract: { kind: 'request', type: name }, ordered: false, partitions: 1 }
}

/**
 * Answers the requests of one contract. Several processes, and several services of one name, compete: each request goes to
 * one of them. Requests whose time is over are dropped before they run.
 */
export class Answerer<C extends RequestContract = RequestContract> {
  /** To be declared at the transport before {@link start}. */
  readonly topology: ConsumerTopology
  readonly #surroundings: RequestSurroundings
  readonly #asker: Asker
  readonly #contract: C
  readonly #handler: AnswerHandler<C>
  readonly #concurrency: number
  readonly #once: boolean
  readonly #queued: Delivery[] = []
  readonly #running = new Set<Promise<void>>()
  readonly #controllers = new Set<AbortController>()
  #subscription: Subscription | null = null
  #stopped = false

  /** @throws {SdkError} `invalid_declaration`, `capability_missing` */
  constructor(
    surroundings: RequestSurroundings,
    asker: Asker,
    contract: C,
    options: AnswerOptions,
    handler: AnswerHandler<C>,
  ) {
    const { service, transport } = surroundings
    this.topology = answererTopology(service, contract, options, transport)
    this.#surroundings = surroundings
    this.#asker = asker
    this.#contract = contract
    this.#handler = handler
    this.#concurrency = options.concurrency ?? CONCURRENCY
    this.#once = options.once ?? false
  }

  async start(): Promise<void> {
    // As many again as run, so that the next one is here when a place is free.
    const prefetch = this.#concurrency * 2
    // A request of the same process may come in its asker's async context, which is not the handler's.
    const context = new AsyncResource('stathmos.sdk.answerer')
    this.#subscription = await this.#surroundings.transport.subscribe(this.topology, prefetch, (delivery) => {
      this.#queued.push(delivery)
      context.runInAsyncScope(() => this.#fill())
    })
  }

  /**
   * Takes nothing more, gives back what has not begun, and resolves when what runs is answered.
   *
   * @param graceMs after this time the handlers' signals are aborted; they are still waited for. Default: never
   */
  async stop(graceMs = Infinity): Promise<void> {
    this.#stopped = true
    const ended = new SdkError('cancelled', 'the service is stopping and waits no longer', { retryable: true })
    const grace =
      graceMs === Infinity
        ? null
        : this.#surroundings.clock.after(graceMs, () => {
            for (const controller of this.#controllers) controller.abort(ended)
          })
    // Given back any earlier, they would be delivered here again.
    await this.#subscription?.close()
    this.#subscription = null
    for (const delivery of this.#queued.splice(0)) delivery.release()
    await Promise.all(this.#running)
    grace?.cancel()
  }

  #fill(): void {
    while (!this.#stopped && this.#queued.length > 0 && this.#running.size < this.#concurrency) {
      const delivery = this.#queued.shift()!
      const run = this.#surroundings.activity
        .during(() => this.#take(delivery))
        .finally(() => {
          this.#running.delete(run)
          this.#fill()
        })
      this.#running.add(run)
    }
  }

  /** Never rejects: whatever goes wrong with one request is that request's outcome. */
  async #take(delivery: Delivery): Promise<void> {
    const { clock, log, telemetry } = this.#surroundings
    const { message } = delivery
    if (message === null || message.metadata.replyTo === undefined) {
      log.error(
        { contract: this.#contract.name, id: message?.id, headers: delivery.raw.headers },
        'a request was dropped that names no place for its reply; requests are to be sent with ask',
      )
      delivery.accept()
      return
    }
    if (remainingMs(message, clock.now()) <= 0) {
      telemetry.count(METRIC.requestsExpired, 1, { [ATTRIBUTE.destination]: this.#contract.name })
      delivery.accept()
      return
    }
    // Accepting before it runs is what makes it run once: no engine gives it to another after that.
    if (this.#once) delivery.accept()
    try {
      await this.#answer(message, message.metadata.replyTo)
    } catch (error) {
      log.error({ err: error, request: message.id }, 'a request could not be answered; its asker will time out')
    }
    delivery.accept()
  }

  async #answer(request: Message, replyTo: string): Promise<void> {
    const { clock, newId, telemetry } = this.#surroundings
    const span = this.#span(request)
    const startedAt = clock.monotonic()
    const id = newId()
    const outcome = await telemetry.within(span, () => this.#run(request, id))
    const elapsed = (clock.monotonic() - startedAt) / 1000
    telemetry.record(METRIC.processDuration, elapsed, {
      ...this.#attributes(),
      ...(outcome.cause === undefined ? {} : { [ATTRIBUTE.errorType]: errorTypeOf(outcome.cause) }),
    })
    await this.#reply(request, id, replyTo, outcome, span)
    span.end(outcome.cause)
  }

  /** Runs the handler until it has an outcome or nobody waits for one. */
  async #run(request: Message, replyId: string): Promise<Outcome> {
    const { clock, log } = this.#surroundings
    const contract = this.#contract
    let data: ReceivedOf<C>
    try {
      data = (await contract.decode(request)) as ReceivedOf<C>
    } catch (cause) {
      return failed(`the request ${contract.name} cannot be read: ${String(cause)}`, cause)
    }
    const controller = new AbortController()
    this.#controllers.add(controller)
    const timer =
      request.metadata.deadline === undefined
        ? null
        : clock.after(remainingMs(request, clock.now()), () =>
            controller.abort(new SdkError('expired', `the time for answering ${contract.name} is over`)),
          )
    try {
      const value = await this.#handler(data, {
        message: request,
        signal: controller.signal,
        fail,
        ask: this.#asker.askBecauseOf(request),
      })
      return { written: await contract.answer.encode(value as never, replyId) }
    } catch (cause) {
      if (cause instanceof Declined && Object.hasOwn(contract.errors, cause.error))
        return await this.#declined(cause, replyId)
      log.error({ err: cause, request: request.id, contract: contract.name }, 'the handler of a request failed')
      // What went wrong may be nobody else's business; the request's id is what the two logs share.
      return failed(`the answerer of ${contract.name} failed; its log says why, under request ${request.id}`, cause)
    } finally {
      this.#controllers.delete(controller)
      timer?.cancel()
    }
  }

  async #declined({ error, value }: Declined, replyId: string): Promise<Outcome> {
    try {
      return { written: await this.#contract.errors[error]!.encode(value as never, replyId), error }
    } catch (cause) {
      const text = `the answerer of ${this.#contract.name} failed: what came with its "${error}" is not what it declares`
      this.#surroundings.log.error({ err: cause, contract: this.#contract.name }, text)
      return failed(text, cause)
    }
  }

  /** Sends the reply, again and again while somebody waits for it: the same one, so that the asker takes the first. */
  async #reply(request: Message, id: string, replyTo: string, outcome: Outcome, span: Span): Promise<void> {
    const { clock, log, service, telemetry, transport } = this.#surroundings
    let { written, error } = outcome
    let replaced = false
    for (let failures = 0; ; failures++) {
      if (remainingMs(request, clock.now()) <= 0) {
        telemetry.count(METRIC.requestsExpired, 1, { [ATTRIBUTE.destination]: this.#contract.name })
        return
      }
      const reply = replyMessage(request, {
        id,
        source: service,
        time: clock.now(),
        replyTo,
        written,
        error,
        trace: span,
      })
      const result = await sent(transport.send([reply]))
      // An asker that has gone away needs no reply.
      if (result === 'sent' || result.code === 'unroutable') return
      if (!result.retryable) {
        if (replaced) throw result
        replaced = true
        log.error({ err: result, request: request.id }, 'a reply could not be sent as it is')
        ;({ written, error } = failed(
          `the reply to ${this.#contract.name} could not be sent: ${result.message}`,
          result,
        ))
        continue
      }
      const pauseMs = Math.min(UNSENT_MS * 2 ** failures, UNSENT_MS_MAX)
      await new Promise<void>((resolve) => void clock.after(pauseMs, resolve))
    }
  }

  #span(request: Message): Span {
    const attributes = {
      ...this.#attributes(),
      [ATTRIBUTE.operationType]: operationTypeOf(OPERATION.answer),
      [ATTRIBUTE.messageId]: request.id,
      [ATTRIBUTE.conversationId]: request.metadata.correlationId,
    }
    return this.#surroundings.telemetry.span(spanName(OPERATION.answer, this.#contract.name), 'server', attributes, [
      request,
    ])
  }

  #attributes() {
    return {
      [ATTRIBUTE.system]: systemOf(this.#surroundings.transport.name),
      [ATTRIBUTE.operationName]: OPERATION.answer,
      [ATTRIBUTE.destination]: this.#contract.name,
      [ATTRIBUTE.service]: this.#surroundings.service,
    }
  }
}

interface Outcome {
  readonly written: Omit<Encoded, 'key'>
  /** The name of the error that is answered. */
  readonly error?: string | undefined
  /** What the answerer itself failed with; nothing when it answered, be it with a declared error. */
  readonly cause?: unknown
}

function failed(message: string, cause: unknown): Outcome {
  const error: UndeclaredError = 'failed'
  const body = new TextEncoder().encode(message)
  return { written: { version: 1, contentType: 'text/plain; charset=utf-8', body }, error, cause }
}

/** Time in ms that the asker still waits. */
function remainingMs(request: Message, now: number): number {
  return (request.metadata.deadline ?? Number.POSITIVE_INFINITY) - now
}

async function sent(sending: Promise<readonly ('sent' | SdkError)[]>): Promise<'sent' | SdkError> {
  try {
    return (await sending)[0] ?? 'sent'
  } catch (error) {
    if (error instanceof SdkError) return error
    throw error
  }
}
