import { encodePage, type Page, SIZE_MASK, TRANSIENT } from '../line/page.ts'
import type { Line } from '../line/line.ts'
import type { Shard } from '../line/shard.ts'
import type { Definition } from '../topology/definition.ts'
import { type Checkpoint, type LineRow, type PageRow, writeCheckpoint } from './checkpoint-file.ts'
import type { Files } from '../storage/files.ts'
import type { FrameStore } from '../storage/frame-store.ts'
import { RECORD_LENGTH } from '../storage/record.ts'
import { mayPass, StorageFullError } from '../storage/storage-errors.ts'

/** Pause before a checkpoint that found no room is tried again. */
const FULL_RETRY_MS = 1000

/**
 * Files rewritten after one checkpoint: more than come between two, or some would stay for ever under a steady load,
 * and so few that the next checkpoint is not late.
 */
const REWRITES_MAX = 4

/** What a checkpoint is made of. */
export interface CheckpointSource {
  readonly files: Files
  readonly directory: string
  readonly shard: Shard
  readonly store: FrameStore
  definitions(): Iterable<Definition>
  /** The disk has no room for a checkpoint, which is tried again. */
  full(): void
}

/**
 * Writes the state down from time to time, so that recovery never replays more than a bounded piece of
 * the journal, and removes what is no longer needed. The state is captured in one synchronous stretch at
 * the end of a frame; the disk work follows while the broker goes on.
 */
export class Checkpointer {
  readonly #source: CheckpointSource
  #running: Promise<void> | null = null
  #wanted = false
  /** The next one is to give up what it can, though little was written. */
  #making = false
  #closing = false
  /** Position of the newest checkpoint that is on disk. */
  position: number

  constructor(source: CheckpointSource, position: number) {
    this.#source = source
    this.position = position
  }

  get running(): boolean {
    return this.#running !== null
  }

  /** Asks for a checkpoint at the end of the next frame. */
  request(): void {
    if (this.#running === null) this.#wanted = true
  }

  /** A frame ends at `position` and nothing has been appended behind it. */
  atFrameEnd(position: number): void {
    // A stop makes the last one itself, and no two may be under way.
    if (!this.#wanted || this.#closing) return
    this.#wanted = false
    this.#runBehind(position)
  }

  /**
   * Makes a checkpoint as soon as possible, whatever was written since the last one: what it gives up may be
   * the only room that there is.
   */
  makeRoom(): void {
    if (this.#running !== null || this.#closing) return
    const { shard } = this.#source
    this.#making = true
    shard.recordSettlements()
    if (shard.journal.pendingBytes > 0) this.request()
    else this.#runBehind(shard.journal.end)
  }

  #runBehind(position: number): void {
    this.run(position).catch((error: unknown) => {
      if (!mayPass(error)) this.#source.shard.fail(error)
    })
  }

  /** Makes a checkpoint now. Call at the end of a frame only. */
  run(position: number): Promise<void> {
    const { shard, store, files, directory } = this.#source
    const reached = store.end
    if (this.#making) store.seal()
    this.#making = false
    const table = store.table(reached)
    const lines: LineRow[] = []
    for (const line of shard.lines.values()) if (line.durable) lines.push(this.#captureLine(line))
    const definitions = [...this.#source.definitions()]
    const checkpoint: Checkpoint = { position, nextLine: shard.nextLine, table, definitions, lines }
    const cut = shard.pages.cut()
    const dead = shard.pages.dead()
    const work = async (): Promise<void> => {
      await shard.journal.flushed()
      if (cut !== null) await this.#whenRoom(() => shard.pages.write(cut))
      await this.#whenRoom(() => writeCheckpoint(files, directory, checkpoint))
      this.position = position
      await store.checkpointed(reached)
      await shard.pages.collect(dead)
      for (const line of shard.lines.values()) line.evict()
      for (let left = REWRITES_MAX; left > 0 && (await this.#rewriteSparse()) && !this.#closing;) left--
    }
    this.#running = work().finally(() => {
      this.#running = null
    })
    return this.#running
  }

  /** Waits for the one under way; from now on a full disk is not waited for. */
  async idle(): Promise<void> {
    this.#closing = true
    await this.#running?.catch((error: unknown) => {
      if (!mayPass(error)) throw error
    })
  }

  /** A full disk is no reason to stop: recovery has more to read meanwhile, and nothing is removed. */
  async #whenRoom(write: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await write()
      } catch (error) {
        if (!mayPass(error)) throw error
        const { store } = this.#source
        this.#source.full()
        if (store.reserveHeld) {
          await store.releaseReserve()
          continue
        }
        if (this.#closing) throw error
      }
      await new Promise<void>((resolve) => void this.#source.shard.clock.after(FULL_RETRY_MS, resolve))
    }
  }

  #captureLine(line: Line): LineRow {
    const pages: PageRow[] = []
    for (const page of line.pages) {
      if (page.live === 0) continue
      if (page.dirty) this.#store(page, line.id)
      pages.push(pageRow(page))
    }
    return { id: line.id, nextSeq: line.nextSeq, suspect: line.suspect, pages }
  }

  #store(page: Page, line: number): void {
    const { shard, store } = this.#source
    if (page.stored !== null) shard.pages.drop(page.stored)
    page.stored = shard.pages.add(encodePage(page, line))
    page.dirty = false
    const holds: number[] = []
    let end = -1
    let start = 0
    page.transient = false
    page.bytes = 0
    for (let i = 0; i < page.count; i++) {
      if (page.isSettled(i)) continue
      if ((page.sizes[i]! & TRANSIENT) !== 0) page.transient = true
      page.bytes += page.sizes[i]! & SIZE_MASK
      const position = page.positions[i]!
      if (position < start || position >= end) {
        const range = store.rangeOf(position)
        start = range.start
        end = range.end
        holds.push(position, 0)
      }
      holds[holds.length - 1]!++
    }
    page.holds = holds
  }

  /**
   * Copies what is alive in a mostly dead part of the journal, so that the rest can go with the next checkpoint.
   * `false`: there was none, or no room.
   */
  async #rewriteSparse(): Promise<boolean> {
    const { shard, store } = this.#source
    const range = store.sparse()
    if (range === null) return false
    const positions: number[] = []
    shard.placed = []
    try {
      for (const line of shard.lines.values()) {
        for (const page of [...line.pages]) {
          if (page.positionHigh < range.start || page.positionLow >= range.end || page.live === 0) continue
          const wasResident = page.resident
          await line.load(page)
          for (let i = 0; i < page.count; i++) {
            const position = page.positions[i]!
            if (position >= range.start && position < range.end && !page.isSettled(i)) positions.push(position)
          }
          if (!wasResident) line.evict()
        }
      }
      for (const position of shard.placed) {
        if (position >= range.start && position < range.end) positions.push(position)
      }
    } finally {
      shard.placed = null
    }
    const live = Float64Array.from(new Set(positions)).sort()
    try {
      await store.rewrite(range, live, (_bytes, view, offset) => view.getUint32(offset + RECORD_LENGTH, true))
    } catch (error) {
      // Nothing has changed; the next checkpoint tries again.
      if (error instanceof StorageFullError) return false
      throw error
    }
    shard.journal.dropCold(range.start, range.end)
    return true
  }
}

function pageRow(page: Page): PageRow {
  const { base, count, live, bytes, positionLow: low, positionHigh: high, holds } = page
  const earliest = page.earliestUnsettled
  const stored = page.stored!
  return {
    base,
    count,
    live,
    bytes,
    earliest: earliest === Number.POSITIVE_INFINITY ? null : earliest,
    low,
    high,
    at: [stored.file, stored.offset, stored.length],
    holds,
    ...(page.transient ? { transient: true as const } : {}),
  }
}
