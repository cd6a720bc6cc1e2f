import type { Clock } from '../time/clock.ts'
import type { BucketLease, OutboxStore } from '../store/port.ts'
import { BUCKETS } from '../message/bucket.ts'

/** Until it is asked again for buckets, when all of them belong to others. */
const NOTHING_MS = 1_000

/**
 * A relay's hold on its buckets. Its times are this machine's monotonic ones, counted from before the store was asked, so
 * that the relay always believes its leases to be over before the store does.
 */
export class Tenure {
  readonly #outbox: Pick<OutboxStore<never>, 'lease' | 'unlease'>
  readonly #ownerNow: () => string
  /** Under which name the buckets are leased. */
  #owner: string | null = null
  readonly #leaseMs: number
  readonly #clock: Clock
  #leases: readonly BucketLease[] = []
  #buckets: readonly number[] = []
  #until = Number.NEGATIVE_INFINITY
  #renewAt = Number.NEGATIVE_INFINITY

  /** @param ownerNow what the owner is called, which may change */
  constructor(
    outbox: Pick<OutboxStore<never>, 'lease' | 'unlease'>,
    ownerNow: () => string,
    leaseMs: number,
    clock: Clock,
  ) {
    this.#outbox = outbox
    this.#ownerNow = ownerNow
    this.#leaseMs = leaseMs
    this.#clock = clock
  }

  get leases(): readonly BucketLease[] {
    return this.#leases
  }

  get buckets(): readonly number[] {
    return this.#buckets
  }

  /** Whether all buckets are ours. */
  get complete(): boolean {
    return this.#leases.length === BUCKETS
  }

  /** In how many ms the leases are to be renewed; 0 when that is due. */
  get renewalMs(): number {
    return Math.max(this.#renewAt - this.#clock.monotonic(), 0)
  }

  /** Whether nobody else can have the buckets within the next `ms`. */
  lasts(ms: number): boolean {
    return this.#until - this.#clock.monotonic() >= ms
  }

  /** The store knows of another owner: nothing is ours before it was asked. */
  doubt(): void {
    this.#until = Number.NEGATIVE_INFINITY
    this.#renewAt = Number.NEGATIVE_INFINITY
  }

  /** @returns whether the buckets are others than before */
  async renew(): Promise<boolean> {
    const owner = this.#ownerNow()
    const before = this.#buckets
    if (owner !== this.#owner) await this.end()
    const askedAt = this.#clock.monotonic()
    this.#owner = owner
    this.#leases = await this.#outbox.lease(owner, this.#leaseMs)
    this.#buckets = this.#leases.map(({ bucket }) => bucket)
    this.#until = askedAt + this.#leaseMs
    this.#renewAt = askedAt + (this.#leases.length === 0 ? Math.min(NOTHING_MS, this.#leaseMs / 3) : this.#leaseMs / 3)
    return before.length !== this.#buckets.length || before.some((bucket, index) => bucket !== this.#buckets[index])
  }

  /** Gives everything back, so that others need not wait for the end of the leases. */
  async end(): Promise<void> {
    const owner = this.#leases.length > 0 ? this.#owner : null
    this.#leases = []
    this.#buckets = []
    this.doubt()
    if (owner !== null) await this.#outbox.unlease(owner)
  }
}
