import type { Clock } from '@stathmos/std'

import type { Transport } from './protocol.ts'

/** Enough for the answers of most turns, and little enough for ten thousand connections at once. */
const SMALL_BYTES = 4 * 1024
/** A turn's burst of deliveries; also about the largest piece handed to a socket at once, bodies apart. */
const LARGE_BYTES = 64 * 1024
/** Buffers of each size kept for later: 1 MiB of small ones, 8 MiB of large ones. */
const SMALL_KEPT_MAX = 256
const LARGE_KEPT_MAX = 128

/** A codec's growing buffer. `reset` empties it, once nobody reads what it had `written`. */
export interface OutputBytes {
  readonly bytes: Uint8Array
  readonly length: number
  written(): Uint8Array
  putBytes(bytes: Uint8Array): void
  reset(): void
}

/** A buffer and the callback that brings it back, made once so that a write costs no closure. */
class Pooled<B extends OutputBytes> {
  readonly buffer: B
  readonly capacity: number
  readonly release: () => void

  constructor(buffer: B, capacity: number, pool: Pooled<B>[], keptMax: number) {
    this.buffer = buffer
    this.capacity = capacity
    this.release = () => {
      if (pool.length >= keptMax) return
      buffer.reset()
      pool.push(this)
    }
  }
}

/**
 * The buffers of all connections' output, and the end of the turn at which they are written. A
 * connection holds a buffer only from its first byte of a turn until the socket has taken it, so
 * that an idle one costs nothing.
 */
export class OutputPool<B extends OutputBytes> {
  readonly #clock: Clock
  readonly #create: (capacity: number) => B
  readonly #small: Pooled<B>[] = []
  readonly #large: Pooled<B>[] = []
  #dirty: Output<B>[] = []
  readonly #flushAll = (): void => {
    const outputs = this.#dirty
    this.#dirty = []
    for (let i = 0; i < outputs.length; i++) outputs[i]!.turnEnded()
  }

  constructor(clock: Clock, create: (capacity: number) => B) {
    this.#clock = clock
    this.#create = create
  }

  small(): Pooled<B> {
    return this.#small.pop() ?? new Pooled(this.#create(SMALL_BYTES), SMALL_BYTES, this.#small, SMALL_KEPT_MAX)
  }

  large(): Pooled<B> {
    return this.#large.pop() ?? new Pooled(this.#create(LARGE_BYTES), LARGE_BYTES, this.#large, LARGE_KEPT_MAX)
  }

  /** Flushes the output when the turn ends. */
  flushSoon(output: Output<B>): void {
    if (this.#dirty.push(output) === 1) this.#clock.soon(this.#flushAll)
  }
}

/** What a connection will send when this turn ends, in one write. */
export class Output<B extends OutputBytes> {
  /** Counts the writes, for whoever wants to know whether anything was sent. */
  writes = 0
  readonly #pool: OutputPool<B>
  readonly #transport: Transport
  #held: Pooled<B> | null = null
  #scheduled = false
  #closed = false

  constructor(pool: OutputPool<B>, transport: Transport) {
    this.#pool = pool
    this.#transport = transport
  }

  /** Bytes that wait for the end of the turn. */
  get pending(): number {
    return this.#held === null ? 0 : this.#held.buffer.length
  }

  /**
   * The buffer to encode the next `count` bytes into; not valid after another call. A full buffer
   * is written at once, before the turn ends.
   */
  room(count: number): B {
    const held = this.#held
    if (held !== null) {
      if (held.buffer.length + count <= held.capacity) return held.buffer
      if (held.capacity === SMALL_BYTES && held.buffer.length + count <= LARGE_BYTES) {
        const larger = this.#pool.large()
        larger.buffer.putBytes(held.buffer.written())
        this.#held = larger
        held.release()
        return larger.buffer
      }
      this.flush()
    }
    const fresh = count <= SMALL_BYTES && held === null ? this.#pool.small() : this.#pool.large()
    this.#held = fresh
    if (!this.#scheduled) {
      this.#scheduled = true
      this.#pool.flushSoon(this)
    }
    return fresh.buffer
  }

  /** Writes what there is, now. */
  flush(): void {
    const held = this.#held
    if (held === null) return
    this.#held = null
    if (this.#closed || held.buffer.length === 0) {
      held.release()
      return
    }
    this.writes++
    this.#transport.write(held.buffer.written(), held.release)
  }

  /** For the pool: the turn in which {@link room} was asked for is over. */
  turnEnded(): void {
    this.#scheduled = false
    this.flush()
  }

  /** Drops what has not been written, and whatever comes after. */
  close(): void {
    this.#closed = true
  }
}
