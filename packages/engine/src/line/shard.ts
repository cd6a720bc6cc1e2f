import { assert, type Clock, copyOf, copyRange } from '@stathmos/std'
import { Agenda } from './agenda.ts'
import type { Draft } from '../message/draft.ts'
import { encodeExtension } from '../message/extension.ts'
import type { History } from '../message/death.ts'
import { MessageView } from '../message/message-view.ts'
import type { Line, LineHost } from './line.ts'
import { TRANSIENT } from './page.ts'
import type { Journal } from '../storage/journal.ts'
import type { PageStore } from './page-store.ts'
import type { SettlementRecorder } from './settlement-recorder.ts'
import { NO_SPACE, type Space } from './space.ts'
import {
  FLAG_PERSISTENT,
  MESSAGE_ADDRESS_LENGTH,
  MESSAGE_BODY_LENGTH,
  MESSAGE_EXPIRES,
  MESSAGE_EXTENSION_LENGTH,
  MESSAGE_FLAGS,
  MESSAGE_HEADER_BYTES,
  MESSAGE_ORIGIN_LENGTH,
  MESSAGE_PLACES,
  MESSAGE_RESERVED,
  MESSAGE_TIMESTAMP,
  PLACE_BYTES,
  PLACE_RECORD_BYTES,
  RECORD_LENGTH,
  RECORD_MESSAGE,
  RECORD_PLACE,
} from '../storage/record.ts'

const NOTHING = new Uint8Array(0)

/** Settlements without an answer are on disk after this time, even when nothing else is written. */
const SETTLE_WITHIN_MS = 10

/** Messages of one frame that may share a time stamp: some 10 µs of work. */
const STAMP_RUN = 16

/** Whoever waits for the journal: called once, when it has moved on. */
export interface DurableWaiter {
  durable(position: number): void
}

/** A receiver's burst of deliveries is over. */
export interface Flushable {
  flush(): void
}

/**
 * One journal and everything that lives in it, single-threaded: what queues, schedule and topology share.
 * A second shard would be only another instance.
 */
export class Shard implements LineHost {
  readonly clock: Clock
  readonly agenda: Agenda
  readonly lines = new Map<number, Line>()
  /** Lines with entries in the open frame. */
  touched: Line[] = []
  /** Lines with settlements not yet recorded. */
  readonly settling: SettlementRecorder[] = []
  readonly message = new MessageView()
  /** Set once, while the engine opens. */
  journal!: Journal
  space: Space = NO_SPACE
  /** Positions that got a further place while somebody gathers the live ones; null: nobody does. */
  placed: number[] | null = null
  pages!: PageStore
  nextLine = 1
  /** Entries of an index page. */
  readonly pageEntries: number
  onFail: (error: Error) => void = () => {}

  #waiters: DurableWaiter[] = []
  #bursts: Flushable[] = []
  #soonLines = new Set<Line>()
  #turn = false
  #settleTimer = false
  readonly #debts = new Set<Promise<unknown>>()
  #stampMs = 0
  #stampLeft = 0

  constructor(clock: Clock, pageEntries: number) {
    this.clock = clock
    this.pageEntries = pageEntries
    this.agenda = new Agenda(clock, (error) => this.fail(error))
  }

  /** An id for a new line; ids are never used again. */
  allocateLines(count: number): number {
    const first = this.nextLine
    this.nextLine += count
    return first
  }

  fail(error: unknown): void {
    this.onFail(error instanceof Error ? error : new Error(String(error)))
  }

  /**
   * The time for a message, ms since 1970: the clock is read for the first message after each frame and
   * every {@link STAMP_RUN} ones, as reading it costs as much as routing.
   */
  stamp(): number {
    if (--this.#stampLeft < 0) {
      this.#stampLeft = STAMP_RUN
      this.#stampMs = this.clock.now()
    }
    return this.#stampMs
  }

  /** Calls `waiter` once, at the journal's next advance. */
  awaitDurable(waiter: DurableWaiter): void {
    this.#waiters.push(waiter)
  }

  /** Ends a burst of deliveries: `receiver` is flushed once when this turn's work is done. */
  burst(receiver: Flushable): void {
    this.#bursts.push(receiver)
    this.#atEndOfTurn()
  }

  /** Has a line's owner look at it at the end of this turn: it has entries that wait for no disk. */
  lookSoon(line: Line): void {
    this.#soonLines.add(line)
    this.#atEndOfTurn()
  }

  #atEndOfTurn(): void {
    if (this.#turn) return
    this.#turn = true
    this.clock.soon(this.#endTurn)
  }

  readonly #endTurn = (): void => {
    // Whoever asks from now on gets a turn of its own.
    this.#turn = false
    const lines = this.#soonLines
    this.#soonLines = new Set()
    for (const line of lines) line.onVisible(line)
    this.flushBursts()
  }

  flushBursts(): void {
    const bursts = this.#bursts
    if (bursts.length === 0) return
    this.#bursts = []
    for (const receiver of bursts) receiver.flush()
  }

  /** Takes the journal's word that everything below `position` is on disk: confirms go out, then deliveries. */
  advance(position: number, lines: readonly Line[]): void {
    this.#stampLeft = 0
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.durable(position)
    for (const line of lines) {
      line.visible = line.durableSeq
      line.onVisible(line)
    }
    this.flushBursts()
  }

  touches(line: Line): void {
    this.touched.push(line)
  }

  /** Sets aside the lines of the frame that was just cut. */
  cutLines(): Line[] {
    const lines = this.touched
    this.touched = []
    for (const line of lines) {
      line.touched = false
      line.cutSeq = line.nextSeq
    }
    return lines
  }

  /** The frame of these lines is on disk, and none was cut since. */
  takeLines(lines: readonly Line[]): readonly Line[] {
    for (const line of lines) line.durableSeq = line.cutSeq
    return lines
  }

  /**
   * The line has settlements to record. Nobody waits for them, so they ride in the next frame that others
   * ask for; there will be one within {@link SETTLE_WITHIN_MS}.
   */
  settles(recorder: SettlementRecorder): void {
    if (this.settling.push(recorder) > 1 || this.#settleTimer) return
    this.#settleTimer = true
    this.clock.after(SETTLE_WITHIN_MS, () => {
      this.#settleTimer = false
      if (this.settling.length > 0) this.journal.request()
    })
  }

  /** Appends the settlements that gathered, so that they ride in the frame about to be cut. */
  recordSettlements(): void {
    this.#stampLeft = 0
    const recorders = this.settling
    if (recorders.length === 0) return
    for (const recorder of recorders) recorder.flush()
    recorders.length = 0
  }

  /**
   * Appends a message with its places and returns its position. The caller pushes the entries onto the
   * same lines, in the same order, before anything else happens.
   */
  appendMessage(
    draft: Draft,
    address: Uint8Array,
    addressView: DataView,
    nowMs: number,
    expiresAtMs: number,
    lines: readonly Line[],
  ): number {
    const { journal } = this
    const extension = draft.history.deaths.length === 0 ? NOTHING : encodeExtension({ history: draft.history })
    const originLength = draft.originEnd - draft.originStart
    const bodyLength = draft.bodyEnd - draft.bodyStart
    const places = lines.length
    const length =
      MESSAGE_HEADER_BYTES + places * PLACE_BYTES + address.length + originLength + extension.length + bodyLength
    journal.reserve(length)
    const { bytes, view } = journal
    const start = journal.at
    view.setUint32(start, RECORD_MESSAGE | (draft.originKind << 16) | (draft.priority << 24), true)
    if (draft.persistent) bytes[start + MESSAGE_FLAGS] = FLAG_PERSISTENT
    view.setUint32(start + RECORD_LENGTH, length, true)
    view.setFloat64(start + MESSAGE_TIMESTAMP, nowMs, true)
    view.setFloat64(start + MESSAGE_EXPIRES, expiresAtMs, true)
    view.setUint32(start + MESSAGE_BODY_LENGTH, bodyLength, true)
    view.setUint32(start + MESSAGE_ORIGIN_LENGTH, originLength, true)
    view.setUint32(start + MESSAGE_ADDRESS_LENGTH, address.length, true)
    view.setUint32(start + MESSAGE_PLACES, places, true)
    view.setUint32(start + MESSAGE_EXTENSION_LENGTH, extension.length, true)
    view.setUint32(start + MESSAGE_RESERVED, 0, true)
    let at = start + MESSAGE_HEADER_BYTES
    for (let i = 0; i < places; i++) {
      const line = lines[i]!
      view.setUint32(at, line.durable ? line.id : 0, true)
      view.setUint32(at + 4, line.nextSeq >>> 0, true)
      at += PLACE_BYTES
    }
    at = copyRange(bytes, view, at, address, addressView, 0, address.length)
    at = copyRange(bytes, view, at, draft.origin, draft.originView, draft.originStart, draft.originEnd)
    if (extension.length > 0) {
      bytes.set(extension, at)
      at += extension.length
    }
    at = copyRange(bytes, view, at, draft.body, draft.bodyView, draft.bodyStart, draft.bodyEnd)
    assert(at - start === length, 'a message record has another length than was reserved')
    return journal.commit(length)
  }

  /**
   * Gives a stored message a further place, at the end of `to`, and returns its sequence number. Durable with the open
   * frame where the line is; a place that the message leaves for it is the caller's to settle, before it awaits anything.
   */
  place(to: Line, position: number, size: number, at: number, target: number, attempts: number): number {
    if (to.durable) {
      const { journal } = this
      journal.reserve(PLACE_RECORD_BYTES)
      const { view } = journal
      const start = journal.at
      view.setUint32(start, RECORD_PLACE | (attempts << 16), true)
      view.setUint32(start + RECORD_LENGTH, PLACE_RECORD_BYTES, true)
      view.setUint32(start + 8, to.id, true)
      view.setUint32(start + 12, to.nextSeq >>> 0, true)
      view.setFloat64(start + 16, position, true)
      view.setFloat64(start + 24, at, true)
      view.setUint32(start + 32, size, true)
      view.setUint32(start + 36, target, true)
      for (let i = start + 40; i < start + PLACE_RECORD_BYTES; i += 4) view.setUint32(i, 0, true)
      journal.commit(PLACE_RECORD_BYTES)
    } else {
      size = (size | TRANSIENT) >>> 0
      this.lookSoon(to)
    }
    this.placed?.push(position)
    const seq = to.push(position, size, at)
    const page = to.pageOf(seq)!
    if (target !== 0) page.setTarget(seq - page.base, target)
    if (attempts !== 0) page.setAttempts(seq - page.base, attempts)
    return seq
  }

  /** The message at `position` if it is in memory; valid until the next call. */
  peek(position: number): MessageView | null {
    const { journal } = this
    if (!journal.locate(position)) return null
    return this.message.read(journal.foundBytes, journal.foundView, journal.foundAt, position)
  }

  /** Brings a message that has a place into memory. It does not leave the disk meanwhile, though its place may go. */
  load(position: number): Promise<void> {
    this.space.hold(position, 1)
    return this.journal.load(position).finally(() => this.space.letGo(position, 1))
  }

  /**
   * Notes something that was asked for and waits for a read: who asks for an answer now waits for it, too. One that
   * fails stays: from then on nobody is told that all is well.
   */
  owe(debt: Promise<unknown>): void {
    this.#debts.add(debt)
    debt.then(
      () => this.#debts.delete(debt),
      () => {},
    )
  }

  /** Resolves when everything done so far is on disk. */
  flushed(): Promise<void> {
    this.recordSettlements()
    return this.journal.flushed()
  }

  /** Resolves when everything asked for so far is done in memory; null: it is. */
  settledUp(): Promise<unknown> | null {
    return this.#debts.size === 0 ? null : Promise.all(this.#debts)
  }

  /** The message at `position`, read from disk if need be, handed to `use` synchronously. */
  withMessage(position: number, use: (message: MessageView) => void): void {
    const message = this.peek(position)
    if (message !== null) return use(message)
    this.load(position).then(
      () => this.withMessage(position, use),
      (error: unknown) => this.fail(error),
    )
  }

  /** Goes on when something has come from disk. */
  after(loaded: Promise<void>, then: () => void): void {
    loaded.then(then, (error: unknown) => this.fail(error))
  }

  /** A draft that repeats a stored message, its bytes copied. */
  redraft(message: MessageView, draft: Draft, history: History): Draft {
    const bytes = copyOf(message.bytes, message.originStart, message.bodyEnd)
    const view = new DataView(bytes.buffer)
    draft.originKind = message.originKind
    draft.origin = draft.body = bytes
    draft.originView = draft.bodyView = view
    draft.originStart = 0
    draft.originEnd = message.originEnd - message.originStart
    draft.bodyStart = message.bodyStart - message.originStart
    draft.bodyEnd = message.bodyEnd - message.originStart
    draft.persistent = message.persistent
    draft.priority = message.priority
    draft.ttlMs = -1
    draft.delayMs = 0
    draft.history = history
    return draft
  }
}
