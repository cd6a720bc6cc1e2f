import { SdkError } from '../../errors.ts'
import type { Message } from '../../message/message.ts'
import type { EffectVerdict, InboxDepth, InboxEntry, InboxStore, Kept, Verdict } from '../port.ts'
import type { MemoryDatabase } from './database.ts'
import { candidates, claimableAt, entryOf, inName, withRuns, type InRow } from './in-row.ts'
import { withAttempt } from './out-row.ts'
import { Recorded } from './recorded.ts'
import type { MemoryTransaction, OpenTransaction } from './transaction.ts'

/** Received messages, in memory. */
export class MemoryInbox implements InboxStore<MemoryTransaction> {
  readonly recorded: Recorded
  readonly #database: MemoryDatabase

  constructor(database: MemoryDatabase) {
    this.#database = database
    this.recorded = new Recorded(database)
  }

  async begin(
    tx: MemoryTransaction,
    consumer: string,
    messages: readonly Message[],
    ordered: boolean,
  ): Promise<readonly Verdict[]> {
    const own = this.#database.own(tx)
    await own.lock(this.recorded.locks(consumer, messages))
    return messages.map((message) => {
      const verdict = this.recorded.verdict(own, consumer, message, ordered)
      if (verdict.kind === 'new') this.recorded.add(own, consumer, message, { state: 'done', attempts: 1 })
      return verdict
    })
  }

  keep(consumer: string, kept: readonly Kept[]): Promise<readonly Verdict[]> {
    const messages = kept.map(({ message }) => message)
    return this.#database.change(this.recorded.locks(consumer, messages), (tx) =>
      kept.map(({ message, state, attempts, attempt, dueAt, reason, holdsKey }) => {
        const verdict = this.recorded.verdict(tx, consumer, message, false)
        if (verdict.kind === 'duplicate') return verdict
        const errors = withAttempt([], attempt)
        const fields = { state, attempts, errors, dueAt, reason: reason ?? null, holdsKey: holdsKey ?? true }
        this.recorded.add(tx, consumer, message, fields)
        return verdict
      }),
    )
  }

  claim(
    consumer: string,
    ordered: boolean,
    leaseMs: number,
    limit: number,
    runs = false,
    bytesMax = Infinity,
  ): Promise<readonly InboxEntry[]> {
    return this.#database.change([], (tx) => {
      const now = this.#database.now()
      const rows = this.recorded.rows.live(tx)
      const isFree = (row: InRow): boolean =>
        // Whoever has it locked is about to finish or change it.
        claimableAt(row)! <= now && tx.tryLock(inName(consumer, row.message.id))
      const due = candidates(rows, consumer, ordered).filter(isFree).slice(0, limit)
      const taken = ordered && runs ? withRuns(rows, due, limit, isFree) : due
      let bytes = 0
      const fitting = taken.filter((row, at) => (bytes += row.message.body.byteLength) <= bytesMax || at === 0)
      return fitting.map((row) => ({ ...entryOf(this.#run(tx, row, now + leaseMs)), state: row.state }))
    })
  }

  async finish(tx: MemoryTransaction, entry: InboxEntry): Promise<void> {
    const own = this.#database.own(tx)
    await own.lock([nameOf(entry)])
    if (!this.#done(own, entry))
      throw new SdkError('lease_lost', `another process has claimed ${entry.message.id} of ${entry.consumer} meanwhile`)
  }

  settle(entry: InboxEntry, outcome: Parameters<InboxStore<MemoryTransaction>['settle']>[1]): Promise<void> {
    return this.#database.change([nameOf(entry)], (tx) => {
      const row = this.#claimed(tx, entry)
      if (row === null) return
      const { state, dueAt, attempt, reason, uncounted, holdsKey } = outcome
      this.recorded.put(tx, {
        ...row,
        state,
        dueAt,
        attempts: row.attempts - (uncounted === true ? 1 : 0),
        errors: withAttempt(row.errors, attempt),
        reason: reason ?? row.reason,
        holdsKey: holdsKey ?? true,
        stateAt: this.#database.now(),
      })
    })
  }

  start(consumer: string, message: Message, ordered: boolean, leaseMs: number): Promise<EffectVerdict> {
    return this.#database.change(this.recorded.locks(consumer, [message]), (tx) => {
      const verdict = this.recorded.verdict(tx, consumer, message, ordered)
      if (verdict.kind !== 'new') return { ...verdict, entry: null }
      const row = this.recorded.add(tx, consumer, message, { state: 'waiting' })
      return { ...verdict, entry: entryOf(this.#run(tx, row, this.#database.now() + leaseMs)) }
    })
  }

  complete(entry: InboxEntry): Promise<boolean> {
    return this.#database.change([nameOf(entry)], (tx) => this.#done(tx, entry))
  }

  renew(consumer: string, entries: readonly InboxEntry[], leaseMs: number): Promise<readonly string[]> {
    const own = entries.filter((entry) => entry.consumer === consumer)
    return this.#database.change(own.map(nameOf), (tx) => {
      const rows = own.map((entry) => this.#claimed(tx, entry)).filter((row) => row !== null)
      const leaseUntil = this.#database.now() + leaseMs
      for (const row of rows) this.recorded.put(tx, { ...row, leaseUntil })
      return rows.map(({ message }) => message.id)
    })
  }

  async nextDue(consumer: string, ordered: boolean): Promise<number | null> {
    const times = candidates(this.recorded.rows.live(null), consumer, ordered).map((row) => claimableAt(row)!)
    return times.length === 0 ? null : Math.min(...times)
  }

  prune(before: number, limit: number): Promise<number> {
    return this.#database.change([], (tx) => this.recorded.prune(tx, before, limit))
  }

  pruneDedupeKeys(before: number, limit: number): Promise<number> {
    return this.#database.change([], (tx) => this.recorded.pruneDedupeKeys(tx, before, limit))
  }

  async depth(): Promise<readonly InboxDepth[]> {
    const counts = new Map<string, InboxDepth & { count: number }>()
    for (const { consumer, state } of this.recorded.rows.all(null)) {
      if (state === 'done') continue
      const name = JSON.stringify([consumer, state])
      const counted = counts.get(name) ?? { consumer, state, count: 0 }
      counted.count++
      counts.set(name, counted)
    }
    return [...counts.values()]
  }

  /** The row of a claim that was not lost. */
  #claimed(tx: OpenTransaction, entry: InboxEntry): InRow | null {
    const row = this.recorded.rows.get(tx, nameOf(entry))
    return row?.state === 'running' && row.epoch === entry.epoch ? row : null
  }

  #run(tx: OpenTransaction, row: InRow, leaseUntil: number): InRow {
    const { attempts, epoch } = row
    const stateAt = this.#database.now()
    const running: InRow = { ...row, state: 'running', attempts: attempts + 1, epoch: epoch + 1, leaseUntil, stateAt }
    this.recorded.put(tx, running)
    return running
  }

  #done(tx: OpenTransaction, entry: InboxEntry): boolean {
    const row = this.#claimed(tx, entry)
    if (row !== null) this.recorded.put(tx, { ...row, state: 'done', stateAt: this.#database.now() })
    return row !== null
  }
}

const nameOf = ({ consumer, message }: InboxEntry): string => inName(consumer, message.id)
