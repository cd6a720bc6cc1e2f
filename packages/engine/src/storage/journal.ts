import { crc32 } from 'node:zlib'
import { assert, type Clock, type Timer } from '@stathmos/std'
import { FRAME_HEADER_BYTES, type Block, type FrameStore, StorageFullError } from './frame-store.ts'

/**
 * The one stream that everything durable goes through: frames with group commit.
 *
 * ```
 *   append → [ open frame ] → cut → [ frame in flight ] → durable watermark → listener
 *              memory (ring)             one write, one sync
 * ```
 *
 * A frame is whatever was appended while the previous one was being written; it is there whole after a
 * crash or not at all, so what is appended in one synchronous stretch is atomic. There is no timer and
 * no object per record: writers {@link reserve} space, fill {@link bytes} in place and {@link commit}.
 *
 * Frames stay readable in memory (the ring) until `ringBytes` newer ones exist; older records come back
 * from the store in blocks, through {@link load}.
 */
export class Journal {
  readonly #store: FrameStore
  readonly #clock: Clock
  readonly #limits: JournalLimits
  readonly #blockBytes: number
  readonly #events: JournalEvents

  /** Newest last. Positions are contiguous over the blocks. */
  readonly #ring: RingBlock[] = []
  #ringBytes = 0
  readonly #spare: RingBlock[] = []
  #tail: RingBlock

  #frameStart = -1
  /** Of the open frame's records up to {@link #summed} in the newest block. */
  #crc = 0
  #summed = 0
  #frameBlock: RingBlock
  #end: number
  #flushing = false
  #soon = false
  #requested = false
  #dead = false
  /** Why; null when it was closed in order. */
  #death: unknown = null
  #retry: Timer | null = null
  #full = false
  #lastTry = false

  #cold: Block[] = []
  #coldBytes = 0
  readonly #loading = new Map<number, Promise<void>>()
  #coldHint: Block | null = null
  #ringHint: RingBlock

  /** Everything below this position is on disk. */
  durable: number

  /** Where the writer fills in what {@link reserve} gave, from {@link at}. */
  bytes: Uint8Array
  view: DataView
  at = 0

  /** Where {@link locate} found the record. Valid until the next call or turn. */
  foundBytes: Uint8Array
  foundView: DataView
  foundAt = 0

  constructor(store: FrameStore, clock: Clock, limits: JournalLimits, events: JournalEvents) {
    this.#store = store
    this.#clock = clock
    this.#limits = limits
    this.#blockBytes = Math.min(RING_BLOCK_BYTES, limits.ringBytes)
    this.#events = events
    this.#end = this.durable = store.end
    this.#tail = this.#newBlock(0)
    this.#frameBlock = this.#ringHint = this.#tail
    this.bytes = this.foundBytes = this.#tail.bytes
    this.view = this.foundView = this.#tail.view
  }

  /** The position behind the last committed record. */
  get end(): number {
    return this.#end
  }

  /** Bytes appended and not yet on disk. */
  get pendingBytes(): number {
    return this.#end - this.durable
  }

  /** Whether the disk was full at the last try; what is pending is tried again until it goes through. */
  get full(): boolean {
    return this.#full
  }

  /** Makes room for a record of up to `length` bytes at {@link bytes}[{@link at}]. */
  reserve(length: number): void {
    const needed = this.#frameStart < 0 ? length + FRAME_HEADER_BYTES : length
    let tail = this.#tail
    if (tail.used + needed > tail.bytes.length) {
      if (this.#frameStart >= 0) this.#sum()
      this.#summed = 0
      tail = this.#newBlock(needed)
      this.#tail = tail
      this.bytes = tail.bytes
      this.view = tail.view
    }
    if (this.#frameStart < 0) {
      this.#frameStart = this.#end
      this.#frameBlock = tail
      tail.used += FRAME_HEADER_BYTES
      this.#end += FRAME_HEADER_BYTES
      this.#crc = 0
      this.#summed = tail.used
      this.request()
    }
    this.at = tail.used
  }

  /** Has a frame cut at the end of the turn, or when the one in flight is on disk: there is something to append. */
  request(): void {
    this.#requested = true
    if (this.#soon || this.#flushing) return
    this.#soon = true
    this.#clock.soon(this.#flushSoon)
  }

  /** Ends the record begun with {@link reserve}: `length` bytes were filled in. Returns its position. */
  commit(length: number): number {
    const position = this.#end
    this.#tail.used += length
    this.#end += length
    if (length >= SUM_AT_ONCE_BYTES) this.#sum()
    return position
  }

  /** Takes what was appended since the last time into the frame's checksum. */
  #sum(): void {
    const { bytes, used } = this.#tail
    if (used > this.#summed) this.#crc = crc32(bytes.subarray(this.#summed, used), this.#crc)
    this.#summed = used
  }

  /**
   * Finds the record at `position` in memory and sets {@link foundBytes}, {@link foundView} and
   * {@link foundAt}. `false`: it is on disk only; {@link load} it first.
   */
  locate(position: number): boolean {
    const hint = this.#ringHint
    if (position >= hint.base && position < hint.base + hint.used) {
      this.foundBytes = hint.bytes
      this.foundView = hint.view
      this.foundAt = position - hint.base
      return true
    }
    return this.#locateSlow(position)
  }

  /** Brings the block that holds `position` into memory, so that {@link locate} finds it. */
  load(position: number): Promise<void> {
    const pending = this.#loading.get(position)
    if (pending !== undefined) return pending
    const loaded = this.#store.readBlock(position).then(
      (block) => {
        this.#loading.delete(position)
        this.#keepCold(block)
      },
      (error: unknown) => {
        this.#loading.delete(position)
        this.#fail(error)
        throw error
      },
    )
    this.#loading.set(position, loaded)
    return loaded
  }

  /** Resolves when everything appended so far is on disk; rejects when the journal dies first. */
  flushed(): Promise<void> {
    const target = this.#end
    if (this.durable >= target) return Promise.resolve()
    if (this.#dead) return Promise.reject(this.#death ?? new Error('the journal is closed'))
    return new Promise((resolve, reject) => this.#waiting.push({ target, resolve, reject }))
  }

  #waiting: { target: number; resolve: () => void; reject: (error: unknown) => void }[] = []

  /** From now on a full disk is tried once more: what is pending then was never confirmed, and is given up. */
  stopTrying(): void {
    this.#lastTry = true
  }

  #giveUp(): void {
    this.#dead = true
    this.#death = new StorageFullError('the disk is full, and the broker stops')
    const waiting = this.#waiting
    this.#waiting = []
    for (const waiter of waiting) waiter.reject(this.#death)
  }

  /** Writes what is pending and stops. */
  async close(): Promise<void> {
    await this.flushed()
    this.#dead = true
    this.#retry?.cancel()
  }

  readonly #flushSoon = (): void => {
    this.#soon = false
    this.#flush()
  }

  /** Cuts the open frame and writes it, unless one is in flight: then the end of that one comes back here. */
  #flush(): void {
    if (this.#flushing || this.#dead || !this.#requested) return
    this.#requested = false
    this.#events.beforeCut()
    if (this.#frameStart < 0) return
    this.#requested = false
    this.#flushing = true
    const start = this.#frameStart
    const end = this.#end
    const pieces = this.#piecesOf(start, end)
    this.#sum()
    const crc = this.#crc
    this.#frameStart = -1
    this.#events.cut(end)
    this.#write(pieces, crc, end)
  }

  #write(pieces: Uint8Array[], crc: number, end: number): void {
    this.#store.write(pieces, end - this.durable, crc).then(
      () => {
        this.#flushing = false
        if (this.#dead) return
        if (this.#full) {
          this.#full = false
          this.#events.full(false)
        }
        this.durable = end
        this.#trim()
        // The disk works on the next frame while the listener confirms and delivers this one.
        const settled = this.#events.takeCut()
        this.#flush()
        this.#events.durable(end, settled)
        if (this.#waiting.length > 0) this.#wake()
      },
      (error: unknown) => {
        if (!(error instanceof StorageFullError)) return this.#fail(error)
        if (this.#dead) return
        if (!this.#full) {
          this.#full = true
          this.#events.full(true, error)
        }
        if (this.#lastTry && !this.#store.reserveHeld) return this.#giveUp()
        // The reserve makes room for what is pending, settlements above all; publishers are blocked meanwhile.
        const wait = this.#store.reserveHeld ? this.#store.releaseReserve() : Promise.resolve()
        wait.then(
          () => {
            this.#retry = this.#clock.after(this.#limits.fullRetryMs, () => this.#write(pieces, crc, end))
          },
          (failure: unknown) => this.#fail(failure),
        )
      },
    )
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = waiting.filter((waiter) => waiter.target > this.durable)
    for (const waiter of waiting) if (waiter.target <= this.durable) waiter.resolve()
  }

  #fail(error: unknown): void {
    if (this.#dead) return
    this.#dead = true
    this.#death = error
    const waiting = this.#waiting
    this.#waiting = []
    for (const waiter of waiting) waiter.reject(error)
    this.#events.fatal(error instanceof Error ? error : new Error(String(error)))
  }

  #piecesOf(start: number, end: number): Uint8Array[] {
    const pieces: Uint8Array[] = []
    for (let i = this.#ring.indexOf(this.#frameBlock); i < this.#ring.length; i++) {
      const block = this.#ring[i]!
      const from = Math.max(start - block.base, 0)
      const to = Math.min(end - block.base, block.used)
      if (to > from) pieces.push(block.bytes.subarray(from, to))
    }
    return pieces
  }

  #newBlock(atLeast: number): RingBlock {
    const block =
      atLeast <= this.#blockBytes ? (this.#spare.pop() ?? new RingBlock(this.#blockBytes)) : new RingBlock(atLeast)
    block.base = this.#end
    block.used = 0
    this.#ring.push(block)
    this.#ringBytes += block.bytes.length
    return block
  }

  /** Lets go of the oldest frames that are on disk, down to `ringBytes`. */
  #trim(): void {
    while (this.#ringBytes > this.#limits.ringBytes && this.#ring.length > 1) {
      const oldest = this.#ring[0]!
      if (oldest === this.#tail || oldest.base + oldest.used > this.durable) return
      this.#ring.shift()
      this.#ringBytes -= oldest.bytes.length
      if (this.#ringHint === oldest) this.#ringHint = this.#tail
      oldest.base = -1
      oldest.used = 0
      if (oldest.bytes.length === this.#blockBytes && this.#spare.length < SPARE_BLOCKS_MAX) this.#spare.push(oldest)
    }
  }

  #locateSlow(position: number): boolean {
    const ring = this.#ring
    if (position >= ring[0]!.base) {
      assert(position < this.#end, `journal position ${position} is beyond the end ${this.#end}`)
      let low = 0
      let high = ring.length - 1
      while (low < high) {
        const middle = (low + high + 1) >> 1
        if (ring[middle]!.base <= position) low = middle
        else high = middle - 1
      }
      const block = ring[low]!
      this.#ringHint = block
      this.foundBytes = block.bytes
      this.foundView = block.view
      this.foundAt = position - block.base
      return true
    }
    let block = this.#coldHint
    if (block === null || position < block.start || position >= block.end) {
      block = this.#findCold(position)
      if (block === null) return false
      this.#coldHint = block
      this.#cold.splice(this.#cold.indexOf(block), 1)
      this.#cold.push(block)
      // Whoever reads in order finds the next block in memory when it gets there.
      const next = block.end
      if (next < ring[0]!.base && this.#findCold(next) === null && this.#store.answersFor(next)) {
        void this.load(next).catch(() => {})
      }
    }
    const offset = block.offsetOf(position)
    assert(offset >= 0, `no record at journal position ${position}`)
    this.foundBytes = block.bytes
    this.foundView = block.view
    this.foundAt = offset
    return true
  }

  #findCold(position: number): Block | null {
    for (let i = this.#cold.length - 1; i >= 0; i--) {
      const block = this.#cold[i]!
      if (position >= block.start && position < block.end) return block
    }
    return null
  }

  #keepCold(block: Block): void {
    // The last block of a file may have grown since it was read first.
    const known = this.#cold.findIndex((kept) => kept.start === block.start)
    if (known >= 0) {
      const kept = this.#cold[known]!
      if (kept.end >= block.end) return
      this.#cold.splice(known, 1)
      this.#coldBytes -= kept.bytes.length
      if (this.#coldHint === kept) this.#coldHint = null
    }
    this.#cold.push(block)
    this.#coldBytes += block.bytes.length
    while (this.#coldBytes > this.#limits.coldBytes && this.#cold.length > COLD_BLOCKS_MIN) {
      const evicted = this.#cold.shift()!
      this.#coldBytes -= evicted.bytes.length
      if (this.#coldHint === evicted) this.#coldHint = null
    }
  }

  /** Forgets cold blocks of `[start, end)`: their file was rewritten. */
  dropCold(start: number, end: number): void {
    this.#cold = this.#cold.filter((block) => {
      const keep = block.end <= start || block.start >= end
      if (!keep) this.#coldBytes -= block.bytes.length
      return keep
    })
    this.#coldHint = null
  }
}

export interface JournalLimits {
  /** Bytes of recent frames kept in memory; who keeps up is served from them. */
  readonly ringBytes: number
  /** Bytes of older blocks kept in memory for those who lag. */
  readonly coldBytes: number
  /** Pause before a frame is tried again on a full disk. */
  readonly fullRetryMs: number
}

export interface JournalEvents {
  /** A frame is about to be cut: append now what must still be in it. */
  beforeCut(): void
  /** The frame that ends at `end` was cut: what is appended from now on is in the next one. */
  cut(end: number): void
  /** The frame in flight is on disk: hands over what {@link cut} set aside, before the next cut. */
  takeCut(): unknown
  /** Everything below `position` is on disk. */
  durable(position: number, settled: unknown): void
  /** The disk became full, or has room again. */
  full(full: boolean, error?: StorageFullError): void
  /** Storage can no longer be believed; nothing more will be confirmed. */
  fatal(error: Error): void
}

/**
 * Records from this size on are taken into the frame's checksum when they are appended, while the processor still
 * has them at hand; a call for each small one would cost more than reading them again.
 */
const SUM_AT_ONCE_BYTES = 4096

/** Ring memory comes in blocks of this size, or of the whole ring if that is smaller; a larger record gets a block of its own. */
const RING_BLOCK_BYTES = 1 << 20

/** Blocks kept for reuse, so that a steady flow allocates nothing. */
const SPARE_BLOCKS_MAX = 8

/** Blocks that stay whatever their size: the one being read and the one read ahead. */
const COLD_BLOCKS_MIN = 2

class RingBlock {
  readonly bytes: Uint8Array
  readonly view: DataView
  base = -1
  used = 0

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
  }
}
