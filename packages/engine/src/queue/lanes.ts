import { COLD, FOUND } from '../line/cursor.ts'
import type { Line } from '../line/line.ts'
import type { Page } from '../line/page.ts'

/** Lanes in a ticket: `sequence number * 256 + priority`. */
const LANES = 256

/** The lines of a queue, one for each priority, as one sequence: higher priorities first. */
export class Lanes {
  /** The lowest priority first. */
  readonly lines: readonly Line[]
  /** What {@link first} has to wait for; null: nothing. */
  cold: Promise<void> | null = null

  constructor(lines: readonly Line[]) {
    this.lines = lines
  }

  /** Messages that wait. */
  get ready(): number {
    let ready = 0
    for (const line of this.lines) ready += line.live - line.taken
    return ready
  }

  /** Messages in somebody's hands. */
  get taken(): number {
    let taken = 0
    for (const line of this.lines) taken += line.taken
    return taken
  }

  /** Bytes of all messages. */
  get bytes(): number {
    let bytes = 0
    for (const line of this.lines) bytes += line.bytes
    return bytes
  }

  /** Bytes of the messages that wait. */
  get readyBytes(): number {
    let bytes = 0
    for (const line of this.lines) bytes += line.bytes - line.takenBytes
    return bytes
  }

  /** Entries that the disk has not seen yet. */
  get invisible(): number {
    let invisible = 0
    for (const line of this.lines) invisible += line.nextSeq - line.visible
    return invisible
  }

  /** How many numbers one entry takes among the tickets. */
  get stride(): number {
    return this.lines.length === 1 ? 1 : LANES
  }

  /** Where a message of this priority goes. */
  for(priority: number): Line {
    const { lines } = this
    return priority < lines.length ? lines[priority]! : lines[lines.length - 1]!
  }

  /** The line whose turn it is, pointing at its first entry; null: none, or none before {@link cold} resolves. */
  first(): Line | null {
    const { lines } = this
    this.cold = null
    for (let i = lines.length - 1; i >= 0; i--) {
      const line = lines[i]!
      if (line.live === line.taken) continue
      const found = line.next()
      if (found === FOUND) return line
      if (found === COLD) {
        this.cold = line.load(line.page)
        return null
      }
    }
    return null
  }

  /**
   * The line with the message that is to make room, the oldest ready one of the lowest priority, whether it is
   * on disk yet or not; null: none, or none before {@link cold} resolves.
   */
  last(): Line | null {
    this.cold = null
    for (const line of this.lines) {
      if (line.live === line.taken) continue
      const saved = line.visible
      line.visible = line.nextSeq
      const found = line.next()
      line.visible = saved
      if (found === FOUND) return line
      if (found === COLD) {
        this.cold = line.load(line.page)
        return null
      }
    }
    return null
  }

  /** The name of a delivery of the line's entry. */
  ticket(line: Line, seq: number): number {
    return this.lines.length === 1 ? seq : seq * LANES + this.lines.indexOf(line)
  }

  /** The page of a delivery that is in somebody's hands; null: it has ended. */
  pageOfTaken(ticket: number): Page | null {
    const seq = this.seqOf(ticket)
    const page = this.lineOf(ticket).pageOf(seq)
    return page !== null && page.isTaken(seq - page.base) ? page : null
  }

  lineOf(ticket: number): Line {
    return this.lines.length === 1 ? this.lines[0]! : this.lines[ticket % LANES]!
  }

  seqOf(ticket: number): number {
    return this.lines.length === 1 ? ticket : Math.floor(ticket / LANES)
  }
}
