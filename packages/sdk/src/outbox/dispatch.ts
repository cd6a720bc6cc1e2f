import type { Message } from '../message/message.ts'
import type { Attempt, OutboxEntry, OutboxFailure } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import type { SendResult } from '../transport/port.ts'
import type { RelaySettings } from './relay-options.ts'
import type { StoreTime } from './store-time.ts'
import { SdkError } from '../errors.ts'
import { attemptOf } from '../retry/fingerprint.ts'
import { ATTRIBUTE, METRIC, OPERATION, operationTypeOf, spanName, systemOf } from '../telemetry/conventions.ts'
import { Suspicion, lineOf, withoutFollowers } from './suspicion.ts'

/** What became of a batch. Entries that are in neither list were not sent, or nothing is known of them. */
export interface Dispatched {
  readonly sent: readonly OutboxEntry[]
  readonly failures: readonly OutboxFailure[]
  /** Why nothing more can be sent for now; null when all is well. */
  readonly down: unknown
}

/** Mutable while a batch is dispatched. */
interface Ledger {
  sent: readonly OutboxEntry[]
  readonly failures: OutboxFailure[]
  down: unknown
}

/** Hands batches to the transport and judges the answers; what to keep of that is the caller's. */
export class Dispatch {
  readonly #surroundings: Surroundings<never>
  readonly #settings: RelaySettings
  readonly #time: StoreTime
  readonly #suspicion = new Suspicion()

  constructor(surroundings: Surroundings<never>, settings: RelaySettings, time: StoreTime) {
    this.#surroundings = surroundings
    this.#settings = settings
    this.#time = time
  }

  /** Whether the connection was fine the last time. */
  get calm(): boolean {
    return this.#suspicion.calm
  }

  /** @param maySend asked before each call to the transport: whether the buckets are ours for as long as it may take */
  async send(entries: readonly OutboxEntry[], maySend: () => boolean): Promise<Dispatched> {
    const ledger: Ledger = { sent: [], failures: [], down: null }
    const fit = this.#fit(entries, ledger)
    if (fit.length === 0) return ledger
    for (const part of this.#suspicion.partsOf(fit)) {
      await this.#sendPart(part, maySend, ledger)
      if (ledger.down !== null) break
    }
    return ledger
  }

  /** Without those that are known not to be sendable, and those that have to wait for them. */
  #fit(entries: readonly OutboxEntry[], ledger: Ledger): readonly OutboxEntry[] {
    const now = this.#time.now()
    const { bodyBytesMax } = this.#surroundings.transport.capabilities
    const hindered = (entry: OutboxEntry): boolean =>
      entry.attempts > 0 || entry.message.body.byteLength > bodyBytesMax || isOver(entry.message, now)
    if (!entries.some(hindered)) return entries
    // Behind a message that failed before, the others of its key wait until it is sent: it may fail again.
    const expired = entries.filter((entry) => isOver(entry.message, now))
    for (const entry of expired) ledger.failures.push(this.#expired(entry, now))
    const alive = expired.length === 0 ? entries : entries.filter((entry) => !isOver(entry.message, now))
    return withoutFollowers(alive, hindered).filter((entry) => {
      const bytes = entry.message.body.byteLength
      if (bytes <= bodyBytesMax) return true
      const what = `${entry.message.type} ${entry.message.id} of ${bytes} bytes`
      const error = new SdkError('too_large', `${what} is too large for the engine, which takes ${bodyBytesMax}`)
      ledger.failures.push(this.#failure(entry, error, now))
      return false
    })
  }

  async #sendPart(part: readonly OutboxEntry[], maySend: () => boolean, ledger: Ledger): Promise<void> {
    if (!maySend()) return
    let results: readonly SendResult[]
    try {
      results = await this.#call(part.map((entry) => entry.message))
    } catch (error) {
      if (ofConnection(error)) {
        this.#suspicion.broke(part)
        ledger.down = error
      } else if (part.length === 1) {
        ledger.failures.push(this.#failure(part[0]!, error, this.#time.now()))
      } else {
        // Something among them cannot even be handed over. Halves find it; the rest goes out.
        const half = part.length >>> 1
        await this.#sendPart(part.slice(0, half), maySend, ledger)
        if (ledger.down === null) await this.#sendPart(waiting(part.slice(half), ledger), maySend, ledger)
      }
      return
    }
    this.#judge(part, results, ledger)
  }

  #judge(part: readonly OutboxEntry[], results: readonly SendResult[], ledger: Ledger): void {
    const now = this.#time.now()
    let sent = part
    if (results.some((result) => result !== 'sent')) {
      sent = part.filter((_, index) => results[index] === 'sent')
      for (const [index, entry] of part.entries()) {
        const result = results[index]
        if (result === 'sent') continue
        if (result === undefined || ofConnection(result)) ledger.down = result ?? 'no answer'
        else ledger.failures.push(this.#failure(entry, result, now))
      }
    }
    ledger.sent = ledger.sent.length === 0 ? sent : [...ledger.sent, ...sent]
    if (ledger.down !== null) {
      if (sent.length === 0) this.#suspicion.broke(part)
      return
    }
    const guilty = this.#suspicion.worked(part)
    if (guilty === null) return
    const message = `the connection breaks with ${guilty.message.type} ${guilty.message.id} and works without it`
    ledger.failures.push(this.#failure(guilty, new SdkError('refused', message, { retryable: true }), now))
  }

  async #call(messages: readonly Message[]): Promise<readonly SendResult[]> {
    const { clock, telemetry, transport } = this.#surroundings
    const type = messages.every((message) => message.type === messages[0]!.type) ? messages[0]!.type : 'several'
    const attributes = {
      [ATTRIBUTE.system]: systemOf(transport.name),
      [ATTRIBUTE.operationName]: OPERATION.send,
      [ATTRIBUTE.operationType]: operationTypeOf(OPERATION.send),
    }
    const span = telemetry.span(
      spanName(OPERATION.send, type),
      'client',
      { ...attributes, [ATTRIBUTE.batchCount]: messages.length },
      messages,
    )
    const begunAt = clock.monotonic()
    try {
      const results = await telemetry.within(span, () => this.#timed(transport.send(messages)))
      span.end()
      return results
    } catch (error) {
      span.end(error)
      throw error
    } finally {
      telemetry.record(METRIC.operationDuration, (clock.monotonic() - begunAt) / 1000, attributes)
    }
  }

  /** What still comes after the time is over is not heard: the messages are sent again, and their consumers know them. */
  #timed(answer: Promise<readonly SendResult[]>): Promise<readonly SendResult[]> {
    const { clock, transport } = this.#surroundings
    const { timeoutMs } = this.#settings
    return new Promise((resolve, reject) => {
      const timer = clock.after(timeoutMs, () =>
        reject(
          new SdkError('timeout', `${transport.name} did not confirm a batch within ${timeoutMs} ms`, {
            retryable: true,
          }),
        ),
      )
      answer.then(resolve, reject).finally(() => timer.cancel())
    })
  }

  #failure(entry: OutboxEntry, error: unknown, now: number): OutboxFailure {
    const { process, random, version } = this.#surroundings
    const { retry, patience, onExhausted } = this.#settings
    const failed = entry.attempts + 1
    const unheard = error instanceof SdkError && error.code === UNROUTABLE
    const policy = unheard ? patience : retry
    const counted = unheard ? failed : refusalsOf(entry) + 1
    const again = (!(error instanceof SdkError) || error.retryable) && counted < policy.attempts
    const given = onExhausted === 'park-key' && entry.message.key === null ? 'park-message' : onExhausted
    return {
      entry,
      attempt: attemptOf(error, failed, now, process, version),
      next: again ? { retryAt: now + policy.pauseMs(counted, random) } : given,
    }
  }

  #expired(entry: OutboxEntry, now: number): OutboxFailure {
    const { type, id, metadata } = entry.message
    const { process, version } = this.#surroundings
    const since = new Date(metadata.deadline!).toISOString()
    const error = new SdkError('expired', `nobody needs ${type} ${id} since ${since}; it was not sent before`)
    return {
      entry,
      attempt: attemptOf(error, entry.attempts, now, process, version),
      next: this.#settings.onExpired === 'drop' ? 'drop' : 'park-message',
    }
  }
}

const UNROUTABLE = 'unroutable'

/** Whether nobody consumes it yet: then it waits, and nothing is wrong with it. */
export function isUnheard({ name }: Attempt): boolean {
  return name === UNROUTABLE
}

/** The failures that count against a message, as far as its history tells: that nobody was there yet was not its fault. */
function refusalsOf({ attempts, errors }: OutboxEntry): number {
  const refusals = errors.filter((each) => !isUnheard(each)).length
  return refusals < errors.length ? refusals : attempts
}

function isOver(message: Message, now: number): boolean {
  return message.metadata.deadline !== undefined && message.metadata.deadline <= now
}

/** Whether it says nothing about the message: the engine cannot be reached or does not answer. */
function ofConnection(error: unknown): boolean {
  return error instanceof SdkError && (error.code === 'transport_down' || error.code === 'timeout')
}

/** Without those whose key an earlier one of the same batch has stopped. */
function waiting(entries: readonly OutboxEntry[], { failures }: Ledger): readonly OutboxEntry[] {
  if (failures.length === 0) return entries
  const stopped = new Set(failures.map(({ entry }) => lineOf(entry)))
  return entries.filter((entry) => lineOf(entry) === null || !stopped.has(lineOf(entry)))
}
