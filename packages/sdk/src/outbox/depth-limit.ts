import { SdkError } from '../errors.ts'
import type { Surroundings } from '../surroundings.ts'
import { ATTRIBUTE, METRIC } from '../telemetry/conventions.ts'
import type { Timer } from '../time/clock.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import type { DepthLook } from './depth-look.ts'

/** How many messages may wait to be sent, and what happens with more. */
export interface OutboxLimit {
  /**
   * Messages that may be pending, of all who use the same tables; what waits behind a parked key is among them. They are
   * counted about once a second, so that there may be more for a moment.
   */
  readonly depthMax: number
  /**
   * What becomes of a message when so many are: it is refused as `overloaded`, or waits, after which it is refused, too.
   * Who waits in an open transaction keeps its locks and its connection meanwhile. Default `reject`.
   */
  readonly whenFull?: 'reject' | 'block'
  /** How long it waits at most. Default 5s. */
  readonly blockMax?: Duration
}

/** Short beside the times after which databases and callers give up. */
const BLOCK_MAX: Duration = '5s'
/**
 * Open transactions of this process that wait; further ones are refused. Each has a connection, and with the last one of a
 * pool the relay would wait for those who wait for it.
 */
const HOLDING_MAX = 4

/** Pause of a handler whose messages were refused: as long as the outbox has been full so far, within these, in ms. */
const RETRY_MS = 1_000
const RETRY_MS_MAX = 60_000

/** Causes of an error that are looked at. */
const CAUSES_MAX = 8

/**
 * Keeps the outbox from growing without end while nobody can send. It goes by what the last look at the store saw, and
 * nobody waits for a look: without one, or a recent one, messages pass. There are looks while messages come, and while it
 * is full.
 */
export class DepthLimit {
  /** Whether messages wait; otherwise they are refused at once. */
  readonly blocks: boolean
  readonly #surroundings: Surroundings<never>
  readonly #look: DepthLook
  readonly #depthMax: number
  readonly #blockMs: number
  readonly #waiting = new Set<() => void>()
  #holding = 0
  #started = false
  #timer: Timer | null = null
  /** By the monotonic clock; null while there is room. */
  #fullSince: number | null = null

  /** @throws {SdkError} `invalid_declaration` */
  constructor(surroundings: Surroundings<never>, look: DepthLook, limit: OutboxLimit) {
    const { depthMax, whenFull = 'reject', blockMax = BLOCK_MAX } = limit
    if (!(Number.isSafeInteger(depthMax) && depthMax >= 1))
      throw new SdkError('invalid_declaration', `outbox.depthMax is ${depthMax}; it must be a whole number from 1`)
    if (whenFull !== 'reject' && whenFull !== 'block')
      throw new SdkError('invalid_declaration', `outbox.whenFull is ${String(whenFull)}; it is reject or block`)
    this.#surroundings = surroundings
    this.#look = look
    this.#depthMax = depthMax
    this.#blockMs = milliseconds(blockMax)
    this.blocks = whenFull === 'block'
  }

  /** Looks, so that the first message meets a limit that knows. */
  async start(): Promise<void> {
    await this.#look.read()
    this.#started = true
    this.#judge()
  }

  /** Looks no more, but for who still waits. */
  stop(): void {
    this.#started = false
    this.#lookNoMore()
  }

  /**
   * For whoever must not wait.
   *
   * @param count of messages that are to be sent at once
   * @throws {SdkError} `overloaded`, see {@link outboxIsFull}
   */
  check(count: number): void {
    if (this.#isFull()) throw this.#refusal(count)
  }

  /**
   * Waits for room, or refuses, as was declared.
   *
   * @param holding whether a transaction is open meanwhile. Where one keeps all others from writing, the relay is among
   * them, and nothing is waited for
   * @throws {SdkError} `overloaded`
   */
  async admit(count: number, holding: boolean): Promise<void> {
    if (!this.#isFull()) return
    const inVain = holding && (this.#surroundings.store.oneWriter === true || this.#holding >= HOLDING_MAX)
    if (!this.blocks || inVain) throw this.#refusal(count)
    if (holding) this.#holding++
    try {
      if (!(await this.#room())) throw this.#refusal(count)
      this.#count('waited', count)
    } finally {
      if (holding) this.#holding--
    }
  }

  #isFull(): boolean {
    if (this.#look.due) void this.#lookNow()
    return this.#judge()
  }

  /** Whether it is full, as far as is known. */
  #judge(): boolean {
    const { clock, log } = this.#surroundings
    const { latest } = this.#look
    const full = latest !== null && latest.pending >= this.#depthMax
    if (full && this.#fullSince === null) {
      this.#fullSince = clock.monotonic()
      this.#lookLater()
      const fields = { pending: latest.pending, depthMax: this.#depthMax }
      log.warn(fields, 'the outbox is full; messages are held up until some of those in it are sent')
    } else if (!full && this.#fullSince !== null) {
      this.#fullSince = null
      if (latest === null) log.warn({}, 'how full the outbox is could not be asked for a while; messages pass')
      else log.info({ pending: latest.pending }, 'the outbox has room again')
    }
    return full
  }

  /** Never rejects. What cannot be asked is soon not known any more. */
  async #lookNow(): Promise<void> {
    try {
      await this.#look.read()
    } catch (error) {
      this.#surroundings.log.debug({ err: error }, 'how full the outbox is could not be asked')
    }
    if (!this.#judge()) for (const letGo of this.#waiting) letGo()
  }

  /** Resolves when there is room: true; false when the time is over before. */
  #room(): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (room: boolean): void => {
        timer.cancel()
        this.#waiting.delete(letGo)
        this.#lookNoMore()
        resolve(room)
      }
      const letGo = (): void => end(true)
      const timer = this.#surroundings.clock.after(this.#blockMs, () => end(false))
      this.#waiting.add(letGo)
      this.#lookLater()
    })
  }

  /** Looks as often as may be while somebody waits, or would have to. */
  #lookLater(): void {
    if (this.#timer !== null || !this.#curious) return
    this.#timer = this.#surroundings.clock.after(this.#look.pauseMs, () => {
      this.#timer = null
      void this.#lookNow().then(() => this.#lookLater())
    })
  }

  /** A timer keeps the process alive, for which nobody may be left to wait. */
  #lookNoMore(): void {
    if (this.#curious) return
    this.#timer?.cancel()
    this.#timer = null
  }

  get #curious(): boolean {
    return this.#waiting.size > 0 || (this.#started && this.#fullSince !== null)
  }

  #refusal(count: number): SdkError {
    this.#count('refused', count)
    const now = this.#surroundings.clock.monotonic()
    const fullMs = now - (this.#fullSince ?? now)
    const pending = this.#look.latest?.pending
    return new SdkError(
      'overloaded',
      `the outbox is full: ${pending ?? 'too many'} messages wait to be sent, and depthMax is ${this.#depthMax}. Nothing was written; ` +
        'try again later, find out why they are not sent (stathmos app outbox), or allow more',
      {
        retryable: true,
        data: {
          depthMax: this.#depthMax,
          pending,
          retryAfterMs: Math.round(Math.min(Math.max(fullMs, RETRY_MS), RETRY_MS_MAX)),
        },
      },
    )
  }

  #count(outcome: 'waited' | 'refused', count: number): void {
    this.#surroundings.telemetry.count(METRIC.outboxFull, count, { [ATTRIBUTE.outcome]: outcome })
  }
}

/**
 * Whether an error, or what caused it, says that the outbox is full.
 *
 * @returns when to try again, in ms; null when it says something else
 */
export function outboxIsFull(error: unknown): number | null {
  let looked: unknown = error
  for (let depth = 0; depth < CAUSES_MAX && looked instanceof Error; depth++) {
    if (looked instanceof SdkError && looked.code === 'overloaded') {
      const { retryAfterMs, depthMax } = looked.data
      if (typeof retryAfterMs === 'number' && depthMax !== undefined) return retryAfterMs
    }
    looked = looked.cause
  }
  return null
}
