import { CorruptionError } from '../storage/storage-errors.ts'

/** Entries a new page has room for: most queues are short, and a page grows by doubling. */
const FIRST_CAPACITY = 16

/** Failed attempts are counted up to here: a column of 16 bits holds one more than there were. */
export const ATTEMPTS_MAX = 0xfffe

/** Set in {@link Page.sizes} when the message does not survive a restart. */
export const TRANSIENT = 0x8000_0000
export const SIZE_MASK = 0x7fff_ffff

const NO_FLOATS = new Float64Array(0)
const NO_WORDS = new Uint32Array(0)

/** Where a page was last written. */
export interface StoredPage {
  readonly file: number
  readonly offset: number
  readonly length: number
}

/**
 * Up to `pageEntries` consecutive entries of a line, as columns: entry `i` has sequence number
 * `base + i`. State is bits, so that a released entry keeps its place. A page that nobody works on
 * drops its columns ({@link resident} is false) and keeps only its summary.
 */
export class Page {
  base: number
  count = 0
  /** Entries not settled. */
  live = 0
  /** Entries in somebody's hands. */
  taken = 0
  /** Lowest moment in {@link ats} of an entry that waits, or lower; Infinity: none. */
  earliest = Number.POSITIVE_INFINITY
  /** Lowest and highest position of any entry. */
  positionLow = Number.POSITIVE_INFINITY
  positionHigh = -1

  positions: Float64Array = NO_FLOATS
  sizes: Uint32Array = NO_WORDS
  settled: Uint32Array = NO_WORDS
  takenBits: Uint32Array = NO_WORDS
  /** When the entry expires or is due, ms since 1970; 0: never. Null: none has a moment. */
  ats: Float64Array | null = null
  /** Failed attempts plus one for entries that were given back; 0: never given back. */
  attempts: Uint16Array | null = null
  /** The line a scheduled entry goes to; 0: routed when due. */
  targets: Uint32Array | null = null

  resident = true
  /** Changed since it was last written. */
  dirty = true
  stored: StoredPage | null = null
  /** What a page on disk has in each journal file: a position in the file, live entries there, and so on. */
  holds: readonly number[] = []
  /** Bytes of its live entries when it was written. */
  bytes = 0
  /** It had live entries that do not survive a restart when it was written. */
  transient = false
  /** Settlements found by recovery before the columns were read: from, count, from, count … */
  late: number[] | null = null
  /** Releases found likewise: sequence number, attempts as in the column, and so on. */
  lateAttempts: number[] | null = null
  /** The read under way. */
  loading: Promise<void> | null = null

  constructor(base: number) {
    this.base = base
  }

  get end(): number {
    return this.base + this.count
  }

  /** Appends an entry and returns its index. The caller checks that there is room. */
  push(position: number, size: number, at: number): number {
    const index = this.count
    if (index === this.positions.length) this.#grow(Math.max(FIRST_CAPACITY, index * 2))
    this.positions[index] = position
    this.sizes[index] = size
    if (at !== 0) {
      this.ats ??= new Float64Array(this.positions.length)
      this.ats[index] = at
      if (at < this.earliest) this.earliest = at
    } else if (this.ats !== null) this.ats[index] = 0
    if (position < this.positionLow) this.positionLow = position
    if (position > this.positionHigh) this.positionHigh = position
    this.count = index + 1
    this.live++
    return index
  }

  isSettled(index: number): boolean {
    return (this.settled[index >> 5]! & (1 << (index & 31))) !== 0
  }

  isTaken(index: number): boolean {
    return (this.takenBits[index >> 5]! & (1 << (index & 31))) !== 0
  }

  setAttempts(index: number, value: number): void {
    this.attempts ??= new Uint16Array(this.positions.length)
    this.attempts[index] = value
  }

  setTarget(index: number, line: number): void {
    this.targets ??= new Uint32Array(this.positions.length)
    this.targets[index] = line
  }

  /** Finds {@link earliest} anew, after entries with a moment were settled or taken. */
  refreshEarliest(): void {
    this.earliest = this.#earliestOf(false)
  }

  /** Lowest moment of any unsettled entry: those in somebody's hands come back with a restart. */
  get earliestUnsettled(): number {
    return this.taken === 0 ? this.earliest : this.#earliestOf(true)
  }

  #earliestOf(withTaken: boolean): number {
    let earliest = Number.POSITIVE_INFINITY
    const { ats } = this
    if (ats === null) return earliest
    for (let i = 0; i < this.count; i++) {
      const at = ats[i]!
      if (at !== 0 && at < earliest && !this.isSettled(i) && (withTaken || !this.isTaken(i))) earliest = at
    }
    return earliest
  }

  /** Starts over behind the entries it had, all settled: a queue that keeps up uses one small page for ever. */
  restart(): void {
    const words = (this.count + 31) >> 5
    this.settled.fill(0, 0, words)
    this.takenBits.fill(0, 0, words)
    this.attempts?.fill(0, 0, this.count)
    this.targets?.fill(0, 0, this.count)
    this.base += this.count
    this.count = 0
    this.live = 0
    this.taken = 0
    this.ats = null
    this.earliest = Number.POSITIVE_INFINITY
    this.positionLow = Number.POSITIVE_INFINITY
    this.positionHigh = -1
    this.stored = null
    this.dirty = true
  }

  /** Drops the columns of a page that is written and in nobody's hands. */
  evict(): void {
    this.positions = NO_FLOATS
    this.sizes = this.settled = this.takenBits = NO_WORDS
    this.ats = this.attempts = this.targets = null
    this.resident = false
  }

  #grow(capacity: number): void {
    this.positions = copied(new Float64Array(capacity), this.positions)
    this.sizes = copied(new Uint32Array(capacity), this.sizes)
    this.settled = copied(new Uint32Array((capacity + 31) >> 5), this.settled)
    this.takenBits = copied(new Uint32Array((capacity + 31) >> 5), this.takenBits)
    if (this.ats !== null) this.ats = copied(new Float64Array(capacity), this.ats)
    if (this.attempts !== null) this.attempts = copied(new Uint16Array(capacity), this.attempts)
    if (this.targets !== null) this.targets = copied(new Uint32Array(capacity), this.targets)
  }
}

function copied<A extends Float64Array | Uint32Array | Uint16Array>(into: A, from: A): A {
  into.set(from)
  return into
}

const HAS_ATS = 1
const HAS_ATTEMPTS = 2
const HAS_TARGETS = 4
export const PAGE_HEADER_BYTES = 24

/** Which entries a stored page tells of. */
export interface PageName {
  readonly line: number
  readonly base: number
  readonly count: number
}

/** Reads the name out of at least {@link PAGE_HEADER_BYTES} of a page. */
export function pageName(bytes: Uint8Array): PageName {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return { base: view.getFloat64(0, true), count: view.getUint32(8, true), line: view.getUint32(16, true) }
}

/** A page of `line` as bytes (FORMAT.md, "Index pages"): header, positions, sizes, settled bits, then what is there of the rest. */
export function encodePage(page: Page, line: number): Uint8Array {
  const { count } = page
  const words = (count + 31) >> 5
  const flags =
    (page.ats !== null ? HAS_ATS : 0) |
    (page.attempts !== null ? HAS_ATTEMPTS : 0) |
    (page.targets !== null ? HAS_TARGETS : 0)
  const length =
    PAGE_HEADER_BYTES +
    count * 12 +
    words * 4 +
    (page.ats !== null ? count * 8 : 0) +
    (page.targets !== null ? count * 4 : 0) +
    (page.attempts !== null ? count * 2 : 0)
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setFloat64(0, page.base, true)
  view.setUint32(8, count, true)
  view.setUint32(12, flags, true)
  view.setUint32(16, line, true)
  let at = PAGE_HEADER_BYTES
  const put = (column: Float64Array | Uint32Array | Uint16Array, entries: number): void => {
    const part = new Uint8Array(column.buffer, column.byteOffset, entries * column.BYTES_PER_ELEMENT)
    bytes.set(part, at)
    at += part.length
  }
  put(page.positions, count)
  if (page.ats !== null) put(page.ats, count)
  put(page.sizes, count)
  put(page.settled, words)
  if (page.targets !== null) put(page.targets, count)
  if (page.attempts !== null) put(page.attempts, count)
  return bytes
}

/**
 * Puts the columns back into a page of `line` that holds its summary.
 * @throws CorruptionError when the bytes are those of another page: a checksum cannot tell
 */
export function decodePage(bytes: Uint8Array, into: Page, line: number): void {
  const { line: owner, base, count } = pageName(bytes)
  if (owner !== line || base !== into.base || count !== into.count) {
    const wanted = `entries ${into.base} to ${into.end} of line ${line}`
    throw new CorruptionError(
      `an index page should have ${wanted}, and has ${base} to ${base + count} of line ${owner}`,
    )
  }
  const own = bytes.slice()
  const view = new DataView(own.buffer)
  const flags = view.getUint32(12, true)
  const words = (count + 31) >> 5
  let at = PAGE_HEADER_BYTES
  const floats = (): Float64Array => {
    const column = new Float64Array(own.buffer.slice(at, at + count * 8))
    at += count * 8
    return column
  }
  const integers = (entries: number): Uint32Array => {
    const column = new Uint32Array(own.buffer.slice(at, at + entries * 4))
    at += entries * 4
    return column
  }
  into.positions = floats()
  into.ats = (flags & HAS_ATS) !== 0 ? floats() : null
  into.sizes = integers(count)
  into.settled = integers(words)
  into.targets = (flags & HAS_TARGETS) !== 0 ? integers(count) : null
  into.attempts = (flags & HAS_ATTEMPTS) !== 0 ? new Uint16Array(own.buffer.slice(at, at + count * 2)) : null
  into.takenBits = new Uint32Array(words)
  into.resident = true
}
