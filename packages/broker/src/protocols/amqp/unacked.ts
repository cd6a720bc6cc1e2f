import type { Queue } from '@stathmos/engine'

const CAPACITY_AT_FIRST = 16
/** Above this size a ring that is mostly holes is packed instead of doubled, and an empty one can be given up. */
const CAPACITY_PACKED_FROM = 1024

/** Where unacknowledged deliveries came from, and how their credit goes back. One for each consumer, one for each queue read with basic.get. */
export interface DeliverySource {
  readonly queue: Queue
  /** Time that a delivery may stay unacknowledged, ms. */
  readonly timeoutMs: number
  /** `count` deliveries were settled. */
  settled(count: number): void
}

/** What becomes of the deliveries that a settlement names, one call each, in delivery order. */
export type Settle = (source: DeliverySource, ticket: number, returned: boolean) => void

const FREE = 0
const HELD = 1
/** Settled within a transaction that is not committed. */
const PROMISED = 2
/** Given back to its queue because it was held too long: the late acknowledgement is expected and means nothing. */
const RETURNED = 3

/** A delivery that is far older than the rest of its ring. */
interface Straggler {
  source: DeliverySource
  ticket: number
  atMs: number
  state: number
}

/**
 * The deliveries of a channel that wait for their acknowledgement, by delivery tag. A ring of typed
 * arrays over the tags from the oldest one held to the newest: no object for a delivery. The few that
 * are kept while thousands behind them are settled move to a map, so that memory follows what is
 * held, not the span of the tags.
 */
export class Unacked {
  /** Deliveries that the client can settle, promised and returned ones apart. */
  count = 0
  #last = 0
  /** Tag of the ring's oldest slot. */
  #first = 1
  #capacity = 0
  #sources: (DeliverySource | null)[] = []
  #tickets: Float64Array = new Float64Array(0)
  #times: Float64Array = new Float64Array(0)
  #states: Uint8Array = new Uint8Array(0)
  /** Slots of the ring that are not free. */
  #used = 0
  readonly #stragglers = new Map<number, Straggler>()

  /** The delivery tag given last; tags begin at 1. */
  get last(): number {
    return this.#last
  }

  /** The next tag, for a delivery that needs no acknowledgement. */
  skip(): number {
    const tag = ++this.#last
    if (this.#used === 0) this.#first = tag + 1
    else if (tag - this.#first >= this.#capacity) this.#makeRoom(tag)
    return tag
  }

  /** The next tag, for a delivery that will be settled. */
  add(source: DeliverySource, ticket: number, atMs: number): number {
    const tag = ++this.#last
    if (this.#used === 0) this.#first = tag
    if (tag - this.#first >= this.#capacity) this.#makeRoom(tag)
    const slot = tag & (this.#capacity - 1)
    this.#sources[slot] = source
    this.#tickets[slot] = ticket
    this.#times[slot] = atMs
    this.#states[slot] = HELD
    this.#used++
    this.count++
    return tag
  }

  /**
   * Takes what a settlement names: one delivery, or with `multiple` all up to it; tag 0 with
   * `multiple` is all there are.
   *
   * @param keep the settlement is part of a transaction: {@link restore} may bring the deliveries back
   * @returns false, and nothing was taken, when the tag names no delivery that is held
   */
  take(tag: number, multiple: boolean, keep: boolean, settle: Settle): boolean {
    if (tag === 0 && multiple) tag = this.#last
    else if (!this.#awaits(tag)) return false
    if (!multiple) {
      this.#takeOne(tag, keep, settle)
      this.#advance()
      return true
    }
    for (const old of this.#stragglers.keys()) {
      if (old > tag) break
      this.#takeOne(old, keep, settle)
    }
    for (let t = this.#first; t <= tag && this.#used > 0; t++) this.#takeOne(t, keep, settle)
    this.#advance()
    return true
  }

  /** The transaction's settlements are final: forgets what was taken with `keep`. */
  forgetPromised(): void {
    this.#eachPromised((tag) => this.#free(tag))
    this.#advance()
  }

  /** The transaction was rolled back: what was taken with `keep` is held again. */
  restore(): void {
    this.#eachPromised((tag) => {
      this.#setState(tag, HELD)
      this.count++
    })
  }

  /** Empties everything; `settle` sees what was held or promised. */
  drain(settle: Settle): void {
    this.restore()
    this.take(0, true, false, settle)
  }

  /**
   * Gives back what was delivered too long ago: `settle` is called for each such delivery, and its
   * late acknowledgement will be taken and do nothing.
   *
   * @returns when the next delivery will have been held too long, or Infinity
   */
  expire(nowMs: number, settle: Settle): number {
    let nextMs = Infinity
    const check = (source: DeliverySource, ticket: number, atMs: number): boolean => {
      const dueMs = atMs + source.timeoutMs
      if (dueMs > nowMs) {
        nextMs = Math.min(nextMs, dueMs)
        return false
      }
      this.count--
      settle(source, ticket, false)
      return true
    }
    for (const old of this.#stragglers.values()) {
      if (old.state === HELD && check(old.source, old.ticket, old.atMs)) old.state = RETURNED
    }
    if (this.#used === 0) return nextMs
    for (let tag = this.#first; tag <= this.#last; tag++) {
      const slot = tag & (this.#capacity - 1)
      if (this.#states[slot] !== HELD) continue
      if (check(this.#sources[slot]!, this.#tickets[slot]!, this.#times[slot]!)) this.#states[slot] = RETURNED
    }
    return nextMs
  }

  /** Gives up the memory of a burst that is over. */
  trim(): void {
    if (this.#used === 0 && this.#capacity > CAPACITY_PACKED_FROM) this.#allocate(0)
  }

  #awaits(tag: number): boolean {
    const state = this.#stateOf(tag)
    return state === HELD || state === RETURNED
  }

  #stateOf(tag: number): number {
    if (this.#used > 0 && tag >= this.#first && tag <= this.#last) return this.#states[tag & (this.#capacity - 1)]!
    return this.#stragglers.get(tag)?.state ?? FREE
  }

  #setState(tag: number, state: number): void {
    const old = tag < this.#first ? this.#stragglers.get(tag) : undefined
    if (old === undefined) this.#states[tag & (this.#capacity - 1)] = state
    else old.state = state
  }

  #takeOne(tag: number, keep: boolean, settle: Settle): void {
    const old = tag < this.#first ? this.#stragglers.get(tag) : undefined
    const slot = tag & (this.#capacity - 1)
    const state = old === undefined ? this.#states[slot]! : old.state
    if (state !== HELD && state !== RETURNED) return
    const source = old === undefined ? this.#sources[slot]! : old.source
    const ticket = old === undefined ? this.#tickets[slot]! : old.ticket
    if (state === HELD) this.count--
    if (keep && state === HELD) this.#setState(tag, PROMISED)
    else this.#free(tag)
    settle(source, ticket, state === RETURNED)
  }

  #free(tag: number): void {
    if (tag < this.#first) {
      this.#stragglers.delete(tag)
      return
    }
    const slot = tag & (this.#capacity - 1)
    this.#states[slot] = FREE
    this.#sources[slot] = null
    this.#used--
  }

  #eachPromised(visit: (tag: number) => void): void {
    for (const [tag, old] of this.#stragglers) if (old.state === PROMISED) visit(tag)
    const { last } = this
    for (let tag = this.#first; tag <= last && this.#used > 0; tag++) {
      if (this.#states[tag & (this.#capacity - 1)] === PROMISED) visit(tag)
    }
  }

  /** Moves the ring's start over the slots that have become free. */
  #advance(): void {
    if (this.#used === 0) {
      this.#first = this.#last + 1
      return
    }
    while (this.#states[this.#first & (this.#capacity - 1)] === FREE) this.#first++
  }

  /** Makes a slot for `tag`, the newest: the ring becomes larger, or its old and sparse half leaves it. */
  #makeRoom(tag: number): void {
    if (this.#capacity >= CAPACITY_PACKED_FROM && this.#used <= this.#capacity / 4) {
      const packedTo = this.#first + this.#capacity / 2
      for (let t = this.#first; t < packedTo; t++) this.#moveOut(t)
      this.#first = packedTo
      if (this.#used === 0) this.#first = tag
      else while (this.#first < tag && this.#states[this.#first & (this.#capacity - 1)] === FREE) this.#first++
      return
    }
    this.#allocate(Math.max(CAPACITY_AT_FIRST, this.#capacity * 2))
  }

  #moveOut(tag: number): void {
    const slot = tag & (this.#capacity - 1)
    const state = this.#states[slot]!
    if (state === FREE) return
    const source = this.#sources[slot]!
    this.#stragglers.set(tag, { source, ticket: this.#tickets[slot]!, atMs: this.#times[slot]!, state })
    this.#states[slot] = FREE
    this.#sources[slot] = null
    this.#used--
  }

  #allocate(capacity: number): void {
    const {
      first,
      tickets,
      times,
      states,
      sources,
      capacity: old,
    } = {
      first: this.#first,
      tickets: this.#tickets,
      times: this.#times,
      states: this.#states,
      sources: this.#sources,
      capacity: this.#capacity,
    }
    this.#capacity = capacity
    this.#sources = new Array<DeliverySource | null>(capacity).fill(null)
    this.#tickets = new Float64Array(capacity)
    this.#times = new Float64Array(capacity)
    this.#states = new Uint8Array(capacity)
    if (this.#used === 0) return
    for (let tag = first; tag < first + old; tag++) {
      const from = tag & (old - 1)
      const to = tag & (capacity - 1)
      this.#sources[to] = sources[from]!
      this.#tickets[to] = tickets[from]!
      this.#times[to] = times[from]!
      this.#states[to] = states[from]!
    }
  }
}
