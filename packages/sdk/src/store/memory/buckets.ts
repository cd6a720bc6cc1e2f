import { BUCKETS } from '../../message/bucket.ts'
import type { BucketLease } from '../port.ts'

interface Bucket {
  owner: string | null
  epoch: number
  until: number
}

/** Who owns which buckets, for how long. */
export class Buckets {
  readonly #buckets: readonly Bucket[] = Array.from({ length: BUCKETS }, () => ({ owner: null, epoch: 0, until: 0 }))
  /** When what each owner leased at last is over. */
  readonly #seenUntil = new Map<string, number>()

  lease(owner: string, leaseMs: number, now: number): BucketLease[] {
    for (const [other, until] of this.#seenUntil) if (until <= now) this.#seenUntil.delete(other)
    this.#seenUntil.set(owner, now + leaseMs)
    const share = Math.ceil(BUCKETS / this.#seenUntil.size)
    const own = this.#buckets.filter((bucket) => bucket.owner === owner)
    for (const bucket of own.splice(share)) bucket.owner = null
    for (const bucket of this.#buckets) {
      if (own.length >= share) break
      if (bucket.owner === owner || (bucket.owner !== null && bucket.until > now)) continue
      bucket.owner = owner
      bucket.epoch++
      own.push(bucket)
    }
    for (const bucket of own) bucket.until = now + leaseMs
    return own.map((bucket) => ({ bucket: this.#buckets.indexOf(bucket), epoch: bucket.epoch }))
  }

  owners(now: number): readonly string[] {
    return [...this.#seenUntil].filter(([, until]) => until > now).map(([owner]) => owner)
  }

  unlease(owner: string): void {
    this.#seenUntil.delete(owner)
    for (const bucket of this.#buckets) if (bucket.owner === owner) bucket.owner = null
  }

  /** Those of the leases that nobody has taken over. */
  current(leases: readonly BucketLease[]): Set<number> {
    const current = leases.filter(({ bucket, epoch }) => this.#buckets[bucket]?.epoch === epoch)
    return new Set(current.map(({ bucket }) => bucket))
  }
}
