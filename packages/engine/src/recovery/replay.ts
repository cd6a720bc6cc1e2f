import { Page, TRANSIENT } from '../line/page.ts'
import { lowerTtl } from '../queue/expiry.ts'
import type { Line } from '../line/line.ts'
import type { Shard } from '../line/shard.ts'
import type { Space } from '../line/space.ts'
import type { LineRow } from './checkpoint-file.ts'
import type { ReplayedFrame } from '../storage/frame-store.ts'
import {
  FLAG_PERSISTENT,
  MESSAGE_BODY_LENGTH,
  MESSAGE_EXPIRES,
  MESSAGE_FLAGS,
  MESSAGE_HEADER_BYTES,
  MESSAGE_PLACES,
  MESSAGE_TIMESTAMP,
  PLACE_BYTES,
  RECORD_DEFINITION,
  RECORD_HEADER_BYTES,
  RECORD_LENGTH,
  RECORD_MESSAGE,
  RECORD_PLACE,
  RECORD_RELEASE,
  RECORD_SETTLE,
} from '../storage/record.ts'
import { CorruptionError } from '../storage/storage-errors.ts'
import type { Definition } from '../topology/definition.ts'

const UTF8 = new TextDecoder()

/** Puts the lines of a checkpoint back. Their pages are read when somebody needs them. */
export function restoreLines(shard: Shard, rows: readonly LineRow[]): void {
  for (const row of rows) {
    const line = shard.lines.get(row.id)
    if (line === undefined) continue
    const pages = row.pages.map((saved) => {
      const page = new Page(saved.base)
      const [file, offset, length] = saved.at
      page.count = saved.count
      page.live = saved.live
      page.bytes = saved.bytes
      page.earliest = saved.earliest ?? Number.POSITIVE_INFINITY
      page.positionLow = saved.low
      page.positionHigh = saved.high
      page.stored = { file, offset, length }
      page.holds = saved.holds
      page.transient = saved.transient === true
      page.dirty = false
      page.resident = false
      shard.pages.keep(page.stored)
      return page
    })
    line.restore(row.nextSeq, pages)
    line.suspect = row.suspect
  }
}

/** Does again what a frame of the journal recorded. */
export class Replay {
  readonly #shard: Shard
  readonly #apply: (definition: Definition) => void
  frames = 0
  records = 0

  constructor(shard: Shard, apply: (definition: Definition) => void) {
    this.#shard = shard
    this.#apply = apply
  }

  frame({ position, bytes, view, start, end }: ReplayedFrame): void {
    this.frames++
    const frameAt = start
    const base = position - (frameAt - FRAME_HEADER_IN_VIEW)
    let at = start
    while (at < end) {
      const length = view.getUint32(at + RECORD_LENGTH, true)
      if (length < RECORD_HEADER_BYTES || at + length > end) throw this.#damaged(base + at, 'a record has no length')
      this.records++
      switch (bytes[at]) {
        case RECORD_MESSAGE:
          this.#message(bytes, view, at, base + at)
          break
        case RECORD_SETTLE:
          this.#line(view, at + 8)?.replaySettle(view.getFloat64(at + 12, true), view.getFloat64(at + 20, true))
          break
        case RECORD_RELEASE:
          this.#line(view, at + 8)?.replayRelease(view.getFloat64(at + 12, true), view.getUint16(at + 2, true))
          break
        case RECORD_DEFINITION:
          this.#apply(JSON.parse(UTF8.decode(bytes.subarray(at + RECORD_HEADER_BYTES, at + length))) as Definition)
          break
        case RECORD_PLACE:
          this.#place(view, at)
          break
        default:
          throw this.#damaged(base + at, `a record has the unknown type ${bytes[at]}`)
      }
      at += length
    }
  }

  #message(bytes: Uint8Array, view: DataView, at: number, position: number): void {
    const places = view.getUint32(at + MESSAGE_PLACES, true)
    const size = view.getUint32(at + MESSAGE_BODY_LENGTH, true)
    const persistent = (bytes[at + MESSAGE_FLAGS]! & FLAG_PERSISTENT) !== 0
    const stamp = view.getFloat64(at + MESSAGE_TIMESTAMP, true)
    const expires = view.getFloat64(at + MESSAGE_EXPIRES, true)
    const ttl = expires === 0 ? -1 : expires - stamp
    for (let i = 0; i < places; i++) {
      const place = at + MESSAGE_HEADER_BYTES + i * PLACE_BYTES
      const line = this.#line(view, place)
      if (line === undefined) continue
      this.#expectNext(line, view.getUint32(place + 4, true), position)
      const lower = lowerTtl(ttl, line.ttlMs)
      this.#push(line, position, size, lower < 0 ? 0 : stamp + lower, persistent)
    }
  }

  #place(view: DataView, at: number): void {
    const line = this.#line(view, at + 8)
    if (line === undefined) return
    const position = view.getFloat64(at + 16, true)
    this.#expectNext(line, view.getUint32(at + 12, true), position)
    const size = view.getUint32(at + 32, true)
    const seq = this.#push(line, position, size, view.getFloat64(at + 24, true), (size & TRANSIENT) === 0)
    const page = line.pageOf(seq)
    if (page === null) return
    const target = view.getUint32(at + 36, true)
    const attempts = view.getUint16(at + 2, true)
    if (target !== 0) page.setTarget(seq - page.base, target)
    if (attempts !== 0) page.setAttempts(seq - page.base, attempts)
  }

  /** What does not survive a restart only takes its number. */
  #push(line: Line, position: number, size: number, at: number, persistent: boolean): number {
    const seq = line.push(position, size, at)
    if (!persistent) line.replaySettle(seq, 1)
    return seq
  }

  #line(view: DataView, at: number): Line | undefined {
    return this.#shard.lines.get(view.getUint32(at, true))
  }

  #expectNext(line: Line, seqLow: number, position: number): void {
    if (line.nextSeq >>> 0 === seqLow) return
    throw this.#damaged(position, `line ${line.id} expects entry ${line.nextSeq}, and the record has ${seqLow}`)
  }

  #damaged(position: number, what: string): CorruptionError {
    return new CorruptionError(`position ${position}: ${what}`, { file: 'journal', offset: position })
  }
}

/** The frame header lies before the records in what replay shows. */
const FRAME_HEADER_IN_VIEW = 32

/**
 * Brings the lines from "replayed" to "in service": reads the pages that replay could not finish without,
 * drops what does not survive a restart, counts the places of every journal file.
 */
export async function finishLines(shard: Shard, space: Space, clean: boolean): Promise<void> {
  for (const line of shard.lines.values()) {
    for (const page of line.unfinished()) await line.load(page)
    for (const page of line.pages.filter((candidate) => candidate.transient)) {
      await line.load(page)
      dropTransient(line, page)
    }
    line.sweep()
    line.visible = line.nextSeq
    line.touched = false
    if (!clean) line.suspect = line.nextSeq
  }
  shard.touched = []
  for (const line of shard.lines.values()) {
    for (const page of line.pages) {
      if (page.resident) {
        for (let i = 0; i < page.count; i++) if (!page.isSettled(i)) space.hold(page.positions[i]!, 1)
      } else {
        for (let i = 0; i < page.holds.length; i += 2) space.hold(page.holds[i]!, page.holds[i + 1]!)
      }
    }
  }
}

function dropTransient(line: Line, page: Page): void {
  page.transient = false
  const { base, count } = page
  for (let i = 0; i < count && page.base === base; i++) {
    if ((page.sizes[i]! & TRANSIENT) !== 0 && !page.isSettled(i)) line.replaySettle(base + i, 1)
  }
}
