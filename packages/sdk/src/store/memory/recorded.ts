import type { Message } from '../../message/message.ts'
import type { Verdict } from '../port.ts'
import type { MemoryDatabase } from './database.ts'
import { holds, inName, inRows, laneOf, type InRow } from './in-row.ts'
import { Rows } from './rows.ts'
import type { OpenTransaction } from './transaction.ts'

interface DedupeRow {
  /** Its name in the table. */
  readonly name: string
  readonly at: number
  /** Name of the first message that had it. */
  readonly first: string
}

const dedupeName = (consumer: string, { metadata }: Message): string | null =>
  metadata.dedupeKey === undefined ? null : JSON.stringify(['dedupe', consumer, metadata.dedupeKey])

const counterName = (consumer: string, { source, type, key }: Message): string =>
  JSON.stringify([consumer, source, type, key])

/** What consumers received: by id, by dedupe key and by number. */
export class Recorded {
  readonly rows: Rows<InRow> = inRows()
  readonly #dedupe = new Rows<DedupeRow>()
  readonly #highest = new Rows<number>()
  readonly #database: MemoryDatabase

  constructor(database: MemoryDatabase) {
    this.#database = database
  }

  /** Names of the locks that recording messages takes: of their ids, dedupe keys and keys. */
  locks(consumer: string, messages: readonly Message[]): string[] {
    const names = messages.flatMap((message) => [
      inName(consumer, message.id),
      dedupeName(consumer, message),
      laneOf(consumer, message),
    ])
    return names.filter((name) => name !== null)
  }

  /** What there is to say of a message before it is recorded. Its number is seen, unless it is behind another one. */
  verdict(tx: OpenTransaction, consumer: string, message: Message, ordered: boolean): Verdict {
    const dedupe = dedupeName(consumer, message)
    const known =
      this.rows.get(tx, inName(consumer, message.id)) !== undefined ||
      (dedupe !== null && this.#dedupe.get(tx, dedupe) !== undefined)
    const lane = laneOf(consumer, message)
    const behind = !known && ordered && lane !== null && this.#held(tx, consumer, lane)
    if (behind) return { message, kind: 'behind', order: 'unknown' }
    return { message, kind: known ? 'duplicate' : 'new', order: this.#see(tx, consumer, message) }
  }

  /** Records a message that is not there yet. */
  add(tx: OpenTransaction, consumer: string, message: Message, fields: Pick<InRow, 'state'> & Partial<InRow>): InRow {
    const now = this.#database.now()
    const row: InRow = {
      consumer,
      message,
      attempts: 0,
      errors: [],
      dueAt: now,
      leaseUntil: 0,
      epoch: 0,
      reason: null,
      holdsKey: true,
      place: this.#database.serial(),
      createdAt: now,
      stateAt: now,
      ...fields,
    }
    this.put(tx, row)
    const dedupe = dedupeName(consumer, message)
    if (dedupe !== null) this.#dedupe.put(tx, dedupe, { name: dedupe, at: now, first: inName(consumer, message.id) })
    return row
  }

  put(tx: OpenTransaction, row: InRow): void {
    this.rows.put(tx, inName(row.consumer, row.message.id), row)
  }

  /** Forgets what was done before a time. @returns how many */
  prune(tx: OpenTransaction, before: number, limit: number): number {
    const done = this.rows.all(tx).filter(({ state, stateAt }) => state === 'done' && stateAt < before)
    const forgotten = done.slice(0, limit)
    for (const { consumer, message } of forgotten) this.rows.delete(tx, inName(consumer, message.id))
    return forgotten.length
  }

  /** Forgets dedupe keys that were noted before a time, unless their messages are not done or were done later. @returns how many */
  pruneDedupeKeys(tx: OpenTransaction, before: number, limit: number): number {
    const old = this.#dedupe.all(tx).filter(({ at, first }) => {
      const row = this.rows.get(tx, first)
      return at < before && (row === undefined || (row.state === 'done' && row.stateAt < before))
    })
    const forgotten = old.slice(0, limit)
    for (const { name } of forgotten) this.#dedupe.delete(tx, name)
    return forgotten.length
  }

  #held(tx: OpenTransaction, consumer: string, lane: string): boolean {
    return this.rows
      .live(tx)
      .some((row) => row.consumer === consumer && holds(row) && laneOf(consumer, row.message) === lane)
  }

  /** Compares a message's number with the highest so far, and remembers it. */
  #see(tx: OpenTransaction, consumer: string, message: Message): Verdict['order'] {
    const { key, keySeq } = message
    if (key === null || keySeq === null) return 'unknown'
    const counter = counterName(consumer, message)
    const highest = this.#highest.get(tx, counter)
    this.#highest.put(tx, counter, Math.max(highest ?? 0, keySeq))
    if (highest === undefined) return keySeq === 1 ? 'next' : 'unknown'
    if (keySeq === highest + 1) return 'next'
    return keySeq > highest ? 'gap' : 'late'
  }
}
