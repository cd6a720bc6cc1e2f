import { assert } from '@stathmos/std'
import { FILE_HEADER_BYTES, journalFileName } from './file-header.ts'
import type { FileRow } from './file-table.ts'

export interface BlockExtent {
  /** Positions. */
  readonly start: number
  readonly end: number
  /** Bytes in the file. */
  readonly offset: number
  readonly length: number
}

interface Identity {
  readonly directory: string
  readonly number: number
  readonly generation: number
  readonly salt: number
  readonly base: number
}

/**
 * What is known about one journal file: which positions it answers for, where its blocks begin, and
 * how many places refer to it. It touches no disk.
 */
export class JournalFile {
  readonly number: number
  readonly generation: number
  readonly salt: number
  readonly base: number
  readonly path: string
  /** Position after its last frame. */
  end: number
  /** Bytes, the file header included. */
  size = FILE_HEADER_BYTES
  places = 0
  /** Most places at one time: how much was alive once. */
  placesMax = 0
  /** Nobody may refer to it any more: the next checkpoint removes it. */
  dead = false
  readonly #starts: number[] = []
  /** Null where a block's offset follows from its position, as in every file that was never rewritten. */
  readonly #offsets: number[] | null
  #row: FileRow | null = null

  constructor(identity: Identity) {
    this.number = identity.number
    this.generation = identity.generation
    this.salt = identity.salt
    this.base = identity.base
    this.end = identity.base
    this.path = `${identity.directory}/${journalFileName(identity.number, identity.generation)}`
    this.#offsets = identity.generation === 0 ? null : []
  }

  static fromRow(directory: string, row: FileRow): JournalFile {
    const file = new JournalFile({ ...row, directory })
    file.end = row.end
    file.size = row.size
    file.placesMax = row.placesMax
    for (const start of row.starts) file.#starts.push(row.base + start)
    for (const offset of row.offsets ?? []) file.#offsets?.push(offset)
    return file
  }

  row(): FileRow {
    const { number, generation, salt, base, end, size, placesMax } = this
    if (this.#row?.end === end && this.#row.placesMax === placesMax) return this.#row
    const starts = this.#starts.map((start) => start - base)
    const row = { number, generation, salt, base, end, size, placesMax, starts }
    return (this.#row = this.#offsets === null ? row : { ...row, offsets: [...this.#offsets] })
  }

  holds(position: number): boolean {
    return position >= this.base && position < this.end
  }

  hold(places: number): void {
    assert(!this.dead, 'a journal file got a place after it was given up')
    this.places += places
    if (this.places > this.placesMax) this.placesMax = this.places
  }

  letGo(places: number): void {
    this.places -= places
    assert(this.places >= 0, 'a journal file lost more places than it had')
  }

  /** Where the frame at a position begins in a file that was never rewritten. */
  offsetOf(position: number): number {
    return position - this.base + FILE_HEADER_BYTES
  }

  /** Takes note of a frame that was appended at the end. */
  appended(length: number, blockBytes: number): void {
    const open = this.#starts.at(-1)
    if (open === undefined || this.end - open >= blockBytes) this.#starts.push(this.end)
    this.end += length
    this.size += length
  }

  /** Takes note of a frame of copies appended at the end: a block of its own, from its first position on. */
  copied(start: number, length: number): void {
    assert(this.#offsets !== null, 'copies belong in a rewritten file')
    this.#starts.push(start)
    this.#offsets.push(this.size)
    this.size += length
  }

  get blocks(): number {
    return this.#starts.length
  }

  /** The block that answers for a position, or null when the file (rewritten) has nothing there. */
  blockOf(position: number): BlockExtent | null {
    let low = 0
    let high = this.#starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#starts[middle]! <= position) low = middle + 1
      else high = middle
    }
    return low === 0 ? null : this.block(low - 1)
  }

  block(index: number): BlockExtent {
    const start = this.#starts[index]!
    const end = this.#starts[index + 1] ?? this.end
    if (this.#offsets === null) return { start, end, offset: this.offsetOf(start), length: end - start }
    const offset = this.#offsets[index]!
    return { start, end, offset, length: (this.#offsets[index + 1] ?? this.size) - offset }
  }
}
