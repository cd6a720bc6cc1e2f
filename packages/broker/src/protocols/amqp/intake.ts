import { FRAME_HEADER_SIZE, FRAME_MIN_SIZE, FRAME_OVERHEAD, FrameScan, PROTOCOL_HEADER } from '@stathmos/wire/amqp'

import type { InputPool } from '../../session/input-pool.ts'
import type { Transport } from '../../session/protocol.ts'
import { Carry } from './carry.ts'

/** Who gets the frames. */
export interface FrameSink {
  /** The first octets of the connection. */
  header(bytes: Uint8Array, start: number): void
  /**
   * A whole frame, where it lies in `bytes`; what follows it there goes on to `end`.
   *
   * @returns false when it cannot be taken now: it comes again after the hold that the sink has asked for
   */
  frame(scan: FrameScan, bytes: Uint8Array, view: DataView, end: number): boolean
  /** The frame of `channel` could not be handled. Throws again what is not a peer's doing. */
  failed(error: unknown, channel: number): void
  /** The stream itself makes no sense: nothing can be read from it any more. */
  broken(error: unknown): void
  /** Everything that could be handled has been. */
  settled(): void
}

/**
 * Cuts the stream into frames. A frame is handled where it lies in the chunk; only one that straddles
 * chunks is copied. While somebody {@link hold}s, nothing is handled and the socket is not read; the
 * order is kept.
 */
export class Intake {
  /** Largest frame that is taken; before negotiation the smallest that may be negotiated. */
  frameMax = FRAME_MIN_SIZE
  readonly #sink: FrameSink
  readonly #transport: Transport
  readonly #scan = new FrameScan()
  readonly #carry: Carry
  #headerRead = false
  #holds = 0
  #running = false
  #paused = false
  #stopped = false

  constructor(sink: FrameSink, transport: Transport, pool: InputPool) {
    this.#carry = new Carry(pool)
    this.#sink = sink
    this.#transport = transport
  }

  get held(): boolean {
    return this.#holds > 0
  }

  receive(data: Uint8Array): void {
    if (this.#stopped) return
    // A Buffer reads slower beside the plain arrays of the carry, and its `slice` shares memory.
    const chunk = data.constructor === Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    let at = 0
    if (this.#holds === 0 && this.#carry.length > 0) at = this.#complete(chunk)
    if (this.#holds === 0 && at < chunk.length) {
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      at = this.#run(chunk, view, at, chunk.length)
    }
    if (this.#stopped) return
    this.#carry.append(chunk, at, chunk.length)
    this.#sink.settled()
    this.#adjustReading()
  }

  /** Handles nothing more until the returned function is called. May be called several times, for several reasons. */
  hold(): () => void {
    this.#holds++
    let held = true
    return () => {
      if (!held) return
      held = false
      if (--this.#holds === 0 && !this.#running) this.#goOn()
    }
  }

  /** Takes nothing any more. */
  stop(): void {
    this.#stopped = true
    this.#carry.clear()
  }

  #goOn(): void {
    if (this.#stopped) return
    const carry = this.#carry
    if (carry.length > 0) {
      const at = this.#run(carry.bytes, carry.view, carry.start, carry.end)
      if (this.#stopped) return
      carry.dropTo(at)
      this.#sink.settled()
    }
    this.#adjustReading()
  }

  #adjustReading(): void {
    if (this.#stopped || this.#paused === this.#holds > 0) return
    this.#paused = this.#holds > 0
    if (this.#paused) this.#transport.pauseReading()
    else this.#transport.resumeReading()
  }

  /** Completes the frame that an earlier chunk began, as far as this one goes, and handles it. Returns how far that is. */
  #complete(chunk: Uint8Array): number {
    const carry = this.#carry
    const end = chunk.length
    let at: number
    if (!this.#headerRead) at = carry.fill(chunk, 0, end, PROTOCOL_HEADER.length)
    else {
      at = carry.fill(chunk, 0, end, FRAME_HEADER_SIZE)
      if (carry.length < FRAME_HEADER_SIZE) return at
      const size = carry.view.getUint32(carry.start + 3) + FRAME_OVERHEAD
      // A frame that is too large is refused by its header: nothing more of it is taken in.
      if (size <= this.frameMax) at = carry.fill(chunk, at, end, size)
    }
    const handled = this.#run(carry.bytes, carry.view, carry.start, carry.end)
    if (!this.#stopped) carry.dropTo(handled)
    return at
  }

  #run(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    const scan = this.#scan
    const sink = this.#sink
    let at = start
    this.#running = true
    while (this.#holds === 0 && !this.#stopped) {
      if (!this.#headerRead) {
        if (end - at < PROTOCOL_HEADER.length) break
        this.#headerRead = true
        sink.header(bytes, at)
        at += PROTOCOL_HEADER.length
        continue
      }
      let framed = false
      try {
        // One loop in one try: entering it again for every frame would cost more than a frame does.
        while (this.#holds === 0 && !this.#stopped) {
          framed = false
          if (!scan.read(bytes, view, at, end, this.frameMax)) break
          framed = true
          const { next } = scan
          if (!sink.frame(scan, bytes, view, end)) {
            framed = false
            break
          }
          at = next
        }
        break
      } catch (error) {
        if (!framed) {
          this.#running = false
          sink.broken(error)
          return end
        }
        at = scan.next
        sink.failed(error, scan.channel)
      }
    }
    this.#running = false
    return at
  }
}
