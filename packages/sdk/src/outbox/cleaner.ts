import type { Blobs } from '../blobs/blobs.ts'
import type { Purge } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import type { StoreTime } from './store-time.ts'
import { SdkError } from '../errors.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import type { Pump } from '../work/pump.ts'
import { sweepPump } from '../work/sweep.ts'

/** How long what is done with is kept. `never` deletes nothing; what is pending, waiting or uncertain always stays. */
export interface Retention {
  /**
   * How long a handled message is remembered, so that it is not handled twice. It has to be longer than anything may
   * deliver it again: the engine, a redrive, a sender's retries. Default 14d, at least 1h.
   */
  readonly done?: Duration | 'never'
  /**
   * How long a dedupe key is remembered, so that another message with it is not handled: from its first message on, and at
   * least until that one is done. It has to be longer than the time in which somebody may say the same again, in a message
   * with another id. Default: as `done`; at least 1h.
   */
  readonly dedupeKeys?: Duration | 'never'
  /** Sent messages, where the relay keeps them. Default 7d. */
  readonly sent?: Duration | 'never'
  /** Messages that were given up, of both directions. Default never. */
  readonly parked?: Duration | 'never'
  /** Default 30d. */
  readonly cancelled?: Duration | 'never'
  /** Default 30d. */
  readonly expired?: Duration | 'never'
  /**
   * Bodies of `claimCheck`, by the age of their last put: it has to be longer than any message may still be read, delayed,
   * waiting, parked or delivered again, in every service that gets them. Default never.
   */
  readonly blobs?: BlobRetention
  /** Contracts whose messages of a state have an age of their own, and are deleted by somebody else. */
  readonly except?: Readonly<Partial<Record<(typeof STATES)[number], readonly string[]>>>
}

/** Where bodies lie, and how long they are kept. One service of those that share them is enough. */
export interface BlobRetention {
  readonly in: Blobs
  readonly after: Duration
}

/** Between looks for old blobs: each reads the names of all of them. */
const BLOBS_LOOK_MS = 3_600_000

/** What the register is asked to forget by its age; what was handled, the inbox forgets itself. */
const STATES = ['sent', 'parked', 'cancelled', 'expired'] as const satisfies readonly Purge['state'][]

/** Shorter, a message that a broker delivers again after a restart would be handled twice; and so would what it says. */
const REMEMBERED_MS_MIN = 3_600_000

/** Deletes what is done with and old enough, a little at a time. Any number of processes do it at once. */
export class Cleaner<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #time: StoreTime
  /** For how long a handled message is remembered. */
  readonly rememberedMs: number
  readonly #dedupeKeysMs: number
  readonly #statesMs: readonly (readonly [state: (typeof STATES)[number], ms: number])[]
  readonly #except: NonNullable<Retention['except']>
  readonly #blobs: { readonly in: Blobs; readonly ms: number } | null
  #blobsDueAt = 0
  readonly #pump: Pump

  /** @throws {SdkError} `invalid_declaration` */
  constructor(surroundings: Surroundings<Tx>, time: StoreTime, retention: Retention = {}) {
    const { clock, activity, log, random } = surroundings
    const ages = { done: '14d', sent: '7d', parked: 'never', cancelled: '30d', expired: '30d', ...retention } as const
    this.#surroundings = surroundings
    this.#time = time
    this.#except = retention.except ?? {}
    this.rememberedMs = age(ages.done)
    if (this.rememberedMs < REMEMBERED_MS_MIN)
      throw new SdkError(
        'invalid_declaration',
        `retention.done is ${this.rememberedMs} ms; messages that are delivered again later than that would be handled twice, so it is at least 1h`,
      )
    this.#dedupeKeysMs = age(retention.dedupeKeys ?? ages.done)
    if (this.#dedupeKeysMs < REMEMBERED_MS_MIN)
      throw new SdkError(
        'invalid_declaration',
        `retention.dedupeKeys is ${this.#dedupeKeysMs} ms; messages that have a dedupe key of an earlier one and come later than that would be handled as well, so it is at least 1h`,
      )
    this.#statesMs = STATES.map((state) => [state, age(ages[state])] as const).filter(([, ms]) => Number.isFinite(ms))
    this.#blobs = retention.blobs === undefined ? null : this.#checked(retention.blobs)
    this.#pump = sweepPump({
      name: 'cleaner',
      clock,
      activity,
      log,
      random,
      sweep: (rowsMax) => this.#sweep(rowsMax),
    })
  }

  start(): void {
    this.#pump.start()
  }

  async stop(): Promise<void> {
    await this.#pump.stop()
  }

  async #sweep(rowsMax: number): Promise<number> {
    const { store } = this.#surroundings
    await this.#time.refresh()
    const now = this.#time.now()
    let most = Number.isFinite(this.rememberedMs) ? await store.inbox.prune(now - this.rememberedMs, rowsMax) : 0
    if (Number.isFinite(this.#dedupeKeysMs))
      most = Math.max(most, await store.inbox.pruneDedupeKeys(now - this.#dedupeKeysMs, rowsMax))
    for (const [state, ms] of this.#statesMs) {
      const except = this.#except[state] ?? []
      const what = { state, before: now - ms, ...(except.length === 0 ? {} : { contracts: { except } }) }
      most = Math.max(most, await store.register.purge(what, rowsMax))
    }
    await this.#pruneBlobs(now)
    return most
  }

  /** What is still remembered may be asked for once more; what is parked for ever is warned of in the documentation. */
  #checked({ in: blobs, after }: BlobRetention): { readonly in: Blobs; readonly ms: number } {
    const ms = milliseconds(after)
    const ages = [['done', this.rememberedMs] as const, ...this.#statesMs].filter(([, each]) => Number.isFinite(each))
    const longer = ages.find(([, each]) => each >= ms)
    if (longer !== undefined)
      throw new SdkError(
        'invalid_declaration',
        `retention.blobs.after is ${ms} ms, and retention.${longer[0]} is ${longer[1]} ms: messages would outlive their bodies; keep blobs longer than any message`,
      )
    return { in: blobs, ms }
  }

  /** Blobs that cannot be reached are looked for again; nothing else waits for them. */
  async #pruneBlobs(now: number): Promise<void> {
    if (this.#blobs === null || now < this.#blobsDueAt) return
    this.#blobsDueAt = now + BLOBS_LOOK_MS
    try {
      await this.#blobs.in.prune(now - this.#blobs.ms)
    } catch (error) {
      this.#surroundings.log.warn({ err: error }, 'old blobs could not be pruned; they are looked for again in an hour')
    }
  }
}

function age(duration: Duration | 'never'): number {
  return duration === 'never' ? Number.POSITIVE_INFINITY : milliseconds(duration)
}
