import { Heap } from '@stathmos/std'

/** Told when the lease of a delivery ran out. The delivery is no longer its holder's. */
export type Lapsed = (ticket: number) => void

interface Lease {
  readonly ticket: number
  readonly atMs: number
  /** Null: nobody is to be told. */
  readonly lapsed: Lapsed | null
  /** Whether its end is a failed attempt. */
  readonly fails: boolean
}

/** So many leases that ended early are never worth clearing away. */
const ENDED_MIN = 64

/** The deliveries of a queue that come back by themselves, by their moment. Others cost nothing. */
export class Leases {
  readonly #running = new Map<number, Lease>()
  readonly #heap = new Heap<Lease>((one, other) => one.atMs < other.atMs)

  get size(): number {
    return this.#running.size
  }

  /** When the next one runs out; Infinity: none is running. */
  get dueAtMs(): number {
    for (;;) {
      const first = this.#heap.peek()
      if (first === undefined) return Number.POSITIVE_INFINITY
      if (this.#runs(first)) return first.atMs
      this.#heap.pop()
    }
  }

  /** Begins a lease, or has the one of this ticket end at another moment. */
  begin(ticket: number, atMs: number, lapsed: Lapsed | null, fails = true): void {
    const lease = { ticket, atMs, lapsed: lapsed ?? this.#running.get(ticket)?.lapsed ?? null, fails }
    this.#running.set(ticket, lease)
    this.#heap.push(lease)
    this.#clearEnded()
  }

  /** The delivery came to its end. */
  end(ticket: number): void {
    if (this.#running.delete(ticket)) this.#clearEnded()
  }

  /** Ends and returns the next lease that has run out; undefined: none has. */
  takeLapsed(nowMs: number): Lease | undefined {
    if (this.dueAtMs > nowMs) return undefined
    const lease = this.#heap.pop()!
    this.#running.delete(lease.ticket)
    return lease
  }

  #runs(lease: Lease): boolean {
    return this.#running.get(lease.ticket) === lease
  }

  #clearEnded(): void {
    if (this.#heap.size > this.#running.size * 2 + ENDED_MIN) this.#heap.keep((lease) => this.#runs(lease))
  }
}
