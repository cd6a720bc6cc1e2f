import { assert, type Clock } from '@stathmos/std'

import type { Transport } from './protocol.ts'

/** Enough for the answers of most turns, and little enough for ten thousand connections at once. */
const SMALL_BYTES = 4 * 1024
/** A turn's burst of deliveries; also the largest piece handed to a socket at once, bodies apart. */
const LARGE_BYTES = 64 * 1024
/** Buffers of each size kept for later: 1 MiB of small ones, 8 MiB of large ones. */
const SMALL_KEPT_MAX = 256
const LARGE_KEPT_MAX = 128

/**
 * The buffers of all connections' output, and the end of the turn at which they are written. A
 * connection holds a buffer only from its first byte of a turn until the socket has taken it, so
 * that an idle one costs nothing.
 */
export class OutputPool {
  readonly #clock: Clock
  readonly #small: OutputBuffer[] = []
  readonly #large: OutputBuffer[] = []
  #dirty: Output[] = []
  readonly #flushAll = (): void => {
    const outputs = this.#dirty
    this.#dirty = []
    for (let i = 0; i < outputs.length; i++) outputs[i]!.flush()
  }

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A buffer of at least `bytes`; larger than the largest size it is made to measure and not kept. */
  acquire(bytes: number): OutputBuffer {
    if (bytes <= SMALL_BYTES) return this.#small.pop() ?? new OutputBuffer(this, SMALL_BYTES)
    if (bytes <= LARGE_BYTES) return this.#large.pop() ?? new OutputBuffer(this, LARGE_BYTES)
    return new OutputBuffer(this, bytes)
  }

  release(buffer: OutputBuffer): void {
    const size = buffer.bytes.length
    if (size === SMALL_BYTES && this.#small.length < SMALL_KEPT_MAX) this.#small.push(buffer)
    else if (size === LARGE_BYTES && this.#large.length < LARGE_KEPT_MAX) this.#large.push(buffer)
  }

  /** Flushes the output at the end of the turn. */
  flushSoon(output: Output): void {
    if (this.#dirty.push(output) === 1) this.#clock.soon(this.#flushAll)
  }
}

class OutputBuffer {
  readonly bytes: Uint8Array
  /** Made once for each buffer, so that a write costs no closure. */
  readonly release: () => void

  constructor(pool: OutputPool, size: number) {
    // Node's sockets take a Buffer as it is and wrap any other array.
    this.bytes = Buffer.allocUnsafeSlow(size)
    this.release = () => pool.release(this)
  }
}

const NOTHING: Uint8Array = new Uint8Array(0)

/**
 * What a connection will send at the end of this turn, in one write. Encoders ask for room with
 * {@link reserve}, write into {@link bytes} from {@link at} on, and leave `at` behind their last byte.
 */
export class Output {
  /** Valid until the next {@link reserve} or {@link flush}. */
  bytes: Uint8Array = NOTHING
  at = 0
  /** Counts the writes, for whoever wants to know whether anything was sent. */
  writes = 0
  readonly #pool: OutputPool
  readonly #transport: Transport
  #buffer: OutputBuffer | null = null
  #closed = false

  constructor(pool: OutputPool, transport: Transport) {
    this.#pool = pool
    this.#transport = transport
  }

  /** True when nothing waits for the end of the turn. */
  get empty(): boolean {
    return this.at === 0
  }

  /** Makes room for `count` bytes. A full buffer is written at once, before the turn ends. */
  reserve(count: number): void {
    if (this.bytes.length - this.at >= count) return
    const held = this.#buffer
    if (held === null) {
      this.#take(this.#pool.acquire(count))
      this.#pool.flushSoon(this)
      return
    }
    if (held.bytes.length === SMALL_BYTES && this.at + count <= LARGE_BYTES) {
      const larger = this.#pool.acquire(LARGE_BYTES)
      larger.bytes.set(held.bytes.subarray(0, this.at))
      this.#take(larger)
      held.release()
      return
    }
    this.#send(held)
    this.#take(this.#pool.acquire(Math.max(count, LARGE_BYTES)))
  }

  /** Writes what there is, now. */
  flush(): void {
    const held = this.#buffer
    if (held === null) return
    this.#buffer = null
    this.bytes = NOTHING
    this.#send(held)
  }

  /** Drops what has not been written and takes nothing any more: writes from now on go nowhere. */
  close(): void {
    this.#closed = true
  }

  #take(buffer: OutputBuffer): void {
    this.#buffer = buffer
    this.bytes = buffer.bytes
  }

  #send(buffer: OutputBuffer): void {
    const count = this.at
    this.at = 0
    assert(count <= buffer.bytes.length, 'an encoder wrote beyond the room it had reserved')
    if (count === 0 || this.#closed) {
      buffer.release()
      return
    }
    this.writes++
    this.#transport.write(buffer.bytes.subarray(0, count), buffer.release)
  }
}
