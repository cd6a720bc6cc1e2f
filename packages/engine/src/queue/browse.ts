import type { History } from '../message/death.ts'
import type { MessageView } from '../message/message-view.ts'
import type { Shard } from '../line/shard.ts'
import type { Line } from '../line/line.ts'
import { type Page, TRANSIENT } from '../line/page.ts'

export type BrowseState = 'ready' | 'in_flight'

export interface BrowseOptions {
  /** Begins at this ticket, or at the next message after its place. */
  readonly from?: number
  /** Begins behind this ticket: the last one of the part shown before. */
  readonly after?: number
  /** Most messages to show. */
  readonly limit: number
  /** Left out: any. */
  readonly state?: BrowseState | 'any'
}

/** A message as it lies in a queue. A copy: nothing the queue does later shows in it. */
export interface BrowsedMessage {
  /** Its place in this queue; what its delivery is or will be called. */
  readonly ticket: number
  readonly state: BrowseState
  /** Its id within the broker, the same in every queue. */
  readonly position: number
  readonly exchange: string
  readonly key: string
  readonly originKind: number
  readonly origin: Uint8Array
  readonly body: Uint8Array
  readonly persistent: boolean
  readonly priority: number
  readonly timestampMs: number
  /** When it leaves this queue unless it is delivered before, ms since 1970; 0: never. */
  readonly expiresAtMs: number
  /** It may have been in somebody's hands before. */
  readonly redelivered: boolean
  /** Failed attempts so far. */
  readonly attempts: number
  readonly history: History
}

/**
 * Shows messages of a queue's lines, the highest priority first. Pages and bodies that are on disk are read
 * one after another, and pages go back there.
 *
 * @param lanes tickets of one sequence number
 */
export async function browse(
  shard: Shard,
  lines: readonly Line[],
  lanes: number,
  { from, after, limit, state = 'any' }: BrowseOptions,
): Promise<BrowsedMessage[]> {
  const start = from ?? after
  const found: BrowsedMessage[] = []
  for (let lane = start === undefined ? lines.length - 1 : start % lanes; lane >= 0; lane--) {
    const line = lines[lane]!
    const begins = start !== undefined && lane === start % lanes
    let seq = begins ? Math.floor(start / lanes) + (from === undefined ? 1 : 0) : 0
    // Pages come and go while others are read: each round finds its page anew.
    for (let page = pageFrom(line, seq); page !== undefined && found.length < limit; page = pageFrom(line, seq)) {
      const wasCold = !page.resident
      if (wasCold) await line.load(page)
      for (seq = Math.max(seq, page.base); page.resident && seq < page.end && found.length < limit; seq++) {
        const index = seq - page.base
        if (!shows(line, page, index, state)) continue
        const position = page.positions[index]!
        if (shard.peek(position) === null) {
          await shard.load(position)
          // Whatever may have happened meanwhile: the same entry again.
          seq--
          if (page.base > seq + 1) break
          continue
        }
        found.push(copyOf(shard.peek(position)!, line, page, index, seq * lanes + lane))
      }
      if (wasCold) line.evictPage(page)
    }
    if (found.length >= limit) break
  }
  return found
}

/** The first page with entries at or behind `seq`. */
function pageFrom(line: Line, seq: number): Page | undefined {
  return line.pages.find((page) => page.count > 0 && page.end > seq)
}

function shows(line: Line, page: Page, index: number, state: BrowseState | 'any'): boolean {
  if (page.isSettled(index)) return false
  if (page.base + index >= line.visible && (page.sizes[index]! & TRANSIENT) === 0) return false
  return state === 'any' || state === (page.isTaken(index) ? 'in_flight' : 'ready')
}

function copyOf(message: MessageView, line: Line, page: Page, index: number, ticket: number): BrowsedMessage {
  const at = page.ats === null ? 0 : page.ats[index]!
  return {
    ticket,
    state: page.isTaken(index) ? 'in_flight' : 'ready',
    position: message.position,
    exchange: message.exchange,
    key: message.key,
    originKind: message.originKind,
    origin: message.origin(),
    body: message.body(),
    persistent: message.persistent,
    priority: message.priority,
    timestampMs: message.timestampMs,
    expiresAtMs: at > 0 ? at : 0,
    redelivered: line.isRepeat(page, index),
    attempts: line.attemptsOf(page, index),
    history: message.history,
  }
}
