import type { Message } from '../message/message.ts'
import type { Attempt } from './attempt.ts'

export type { Attempt } from './attempt.ts'

/**
 * What a service keeps: messages to send, messages that were received, timers, schedules and rates, in the database of
 * its own data. The store is the truth for all of it; transports only move bytes.
 *
 * Rules for every store:
 * - What a method with a `tx` wrote is there when that transaction commits, and not at all when it does not.
 * - A method without `tx` is a transaction of its own: when its promise resolves, it is as durable as the database makes it.
 * - Time is the database's: `now`, and every comparison with a due time. Times are ms since 1970.
 * - Methods of different processes run at the same time; whoever would do what another one has done changes nothing.
 * - A database that cannot be reached or wants the work repeated (deadlock, serialization) rejects with an
 *   {@link SdkError} `store_down` or `conflict` that is `retryable`.
 *
 * Wherever a message's key is counted, held back or waited for, it is the key of its type: messages of different types
 * never wait for each other.
 *
 * `Tx` is the handle that the user's own code has in a transaction: a Kysely `Transaction`, a pg `Client`, …
 */
export interface Store<Tx> {
  /** For the operator: `postgres`, `sqlite via kysely`. */
  readonly name: string
  /** Whether a transaction that has written keeps all others from writing until it ends, as in SQLite. Default: it does not. */
  readonly oneWriter?: boolean
  /** Whether the handle is a transaction that statements can be added to. Never true for the database's root handle. */
  isTransaction(handle: unknown): handle is Tx
  /**
   * Runs `work` in a transaction, commits when it resolves and rolls back when it rejects. SQLite takes the write lock at
   * the beginning. Not repeated by itself.
   */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Brings the tables to this version; harmless when they are, and when several processes call it at once. */
  migrate(): Promise<void>
  /** @throws {SdkError} `not_migrated` with the remedy, when the tables are missing or of another version */
  check(): Promise<void>
  /** @param tx in which it is asked, where its connection is the only one. Default: outside of transactions */
  now(tx?: Tx): Promise<number>
  /**
   * Calls `changed` when messages to send may have been committed, by this process or another: at once where the
   * database can tell, never where it cannot. It may be called for nothing, and a moment too early. Returns what ends it.
   */
  watch(changed: () => void): () => void
  /**
   * Tells watchers of other processes that something was committed, or is about to be. Outside of any transaction; may do
   * nothing. The first call goes out at once, what is called shortly after it as one.
   */
  notify(): Promise<void>
  readonly outbox: OutboxStore<Tx>
  readonly timers: TimerStore<Tx>
  readonly inbox: InboxStore<Tx>
  readonly schedules: ScheduleStore<Tx>
  readonly rates: RateStore
  readonly register: RegisterStore
  /** Gives back what the store opened itself; the user's database handle stays open. */
  close(): Promise<void>
}

/* ---------------------------------------------------------------- outbox */

/** A message before the store has given it its place in its key. */
export type Draft = Omit<Message, 'keySeq'> & {
  /** Set by an application that versions its aggregates itself; otherwise the store counts. */
  readonly keySeq: number | null
}

/** A message in the outbox. */
export interface OutboxEntry {
  readonly message: Message
  /** Rises in the order of insertion; within a key it is the order of commits. */
  readonly seq: number
  readonly bucket: number
  readonly attempts: number
  /** The latest failed attempts, oldest first; as many as the store keeps. */
  readonly errors: readonly Attempt[]
}

/** A share of the buckets, for a time. */
export interface BucketLease {
  readonly bucket: number
  /** Rises with every new owner: what an earlier owner still tells the store is refused. */
  readonly epoch: number
}

/** What became of an entry that could not be sent. */
export interface OutboxFailure {
  readonly entry: OutboxEntry
  readonly attempt: Attempt
  /**
   * `retry` at a time, holding back the key's later messages until then; `park-key` holds them back until an operator
   * decides; `park-message` lets them pass; `drop` forgets the message.
   */
  readonly next: { readonly retryAt: number } | 'park-key' | 'park-message' | 'drop'
}

export interface OutboxDepth {
  readonly pending: number
  readonly parked: number
  /** Keys that are held back until an operator decides. */
  readonly parkedKeys: number
  /** ms since 1970 of the oldest pending message; null when there is none. */
  readonly oldestAt: number | null
}

export interface OutboxStore<Tx> {
  /**
   * Adds messages, all in one statement. At the latest when `due` returns them they have their `keySeq`: one more than the
   * last of the same type and key, in the order of the commits. Two transactions that use one key may wait for each other
   * here; keys are taken in sorted order, against deadlocks. What has an id that is there already (in any state) is not
   * added, and what is there stays as it is.
   */
  add(tx: Tx, drafts: readonly Draft[]): Promise<void>
  /**
   * Renews the owner's buckets for `leaseMs` and takes what is free, up to its fair share among the owners that were seen
   * within their leases; gives up what is beyond the share. Proves by writing that the database is not a read-only copy.
   */
  lease(owner: string, leaseMs: number): Promise<readonly BucketLease[]>
  /** Who leases buckets now, or waits for some. */
  owners(): Promise<readonly string[]>
  /** Gives all buckets of the owner back at once. */
  unlease(owner: string): Promise<void>
  /**
   * Pending messages that are due, of the given buckets, in the order of `seq`; none whose key is held back, and of one
   * key only a run without a hole. May return fewer than it could, and none while very many are held back.
   *
   * @param bytesMax of all bodies together, which are then what is in memory; a message that is larger comes alone. Default:
   * no bound
   */
  due(buckets: readonly number[], limit: number, bytesMax?: number): Promise<readonly OutboxEntry[]>
  /**
   * Says that the engine has them. They are deleted, or kept as `sent` for the register when `keep` is set. Entries of a
   * bucket whose epoch has passed are left alone.
   *
   * @returns how many were still ours
   */
  sent(leases: readonly BucketLease[], entries: readonly OutboxEntry[], keep: boolean): Promise<number>
  /** Notes the attempt and what comes next; entries of a bucket whose epoch has passed are left alone. */
  failed(leases: readonly BucketLease[], failures: readonly OutboxFailure[]): Promise<void>
  /** When the earliest pending message that waits for a retry is due; null when none waits. */
  nextDue(buckets: readonly number[]): Promise<number | null>
  depth(): Promise<OutboxDepth>
}

/* ---------------------------------------------------------------- timers */

/** A message that is to be sent later. */
export interface TimerDraft {
  readonly draft: Draft
  /** ms since 1970. */
  readonly dueAt: number
  /** Name to cancel it by; a second timer with the same name replaces the first. */
  readonly cancelKey: string | null
}

export interface TimerStore<Tx> {
  /** Adds timers. Apart from names, one whose message id is there already, as a timer or in the outbox, is left as it is. */
  set(tx: Tx, timers: readonly TimerDraft[]): Promise<void>
  /** Forgets the timer of that name. A timer that has fired is a message and stays one. @returns whether there was one */
  cancel(tx: Tx, cancelKey: string): Promise<boolean>
  /**
   * Moves what is due into the outbox, earliest first, in a transaction of its own. What waits for another transaction, which
   * is about to cancel it or holds its key, is left for later and stops no others. Of bodies it takes at most `bytesMax`
   * together, or one that is larger; default: no bound. @returns how many
   */
  fire(limit: number, bytesMax?: number): Promise<number>
  /** When the earliest timer is due; null when there is none. */
  nextDue(): Promise<number | null>
}

/* ---------------------------------------------------------------- inbox */

/**
 * States of a received message, per consumer:
 *
 * - `done`: handled; the row stays as the memory that it was, without its body, until retention ends.
 * - `waiting`: behind an earlier message of its key, or for a free place.
 * - `retrying`: failed; due again at `dueAt`.
 * - `running`: claimed by a process until `leaseUntil`.
 * - `uncertain`: an effect was begun and its outcome was never recorded.
 * - `parked`: given up; an operator decides.
 * - `cancelled`, `expired`: not to be handled any more.
 */
export type InboxState = 'done' | 'waiting' | 'retrying' | 'running' | 'uncertain' | 'parked' | 'cancelled' | 'expired'

export interface InboxEntry {
  readonly consumer: string
  readonly message: Message
  readonly state: InboxState
  /** Times the handler was begun. */
  readonly attempts: number
  readonly errors: readonly Attempt[]
  readonly dueAt: number
  /** Rises with every claim: a claim that was lost cannot finish. */
  readonly epoch: number
  /** Why it is parked, when no error says so: `unknown-contract`, `invalid-data`, `expired`, … */
  readonly reason: string | null
}

/** What the inbox says of a message that is about to be handled. */
export interface Verdict {
  readonly message: Message
  /**
   * `new`: recorded as done by this transaction. `duplicate`: was received before (whatever its state), or its dedupe key
   * was. `behind`: an earlier message of its key is not done; not recorded.
   */
  readonly kind: 'new' | 'duplicate' | 'behind'
  /**
   * What its `keySeq` says, compared with the highest of its source, type and key that this consumer has seen: services count
   * for themselves. `unknown` without one, when nothing is there to compare it with and it is not number 1, and of what is
   * `behind`, which is compared when it is kept. The number of everything else is seen from now on, of duplicates as well.
   */
  readonly order: 'next' | 'gap' | 'late' | 'unknown'
}

/** What the inbox says of a message whose effect is about to be begun. */
export interface EffectVerdict extends Verdict {
  /** The claim of a `new` one, null of all others: nothing was recorded of them. */
  readonly entry: InboxEntry | null
}

/** A message to keep because it cannot be handled now. */
export interface Kept {
  readonly message: Message
  readonly state: 'waiting' | 'retrying' | 'parked' | 'expired'
  readonly attempts: number
  readonly attempt?: Attempt
  readonly dueAt: number
  readonly reason?: string
  /** Of a parked message: whether later ones of its key wait until an operator decides. Default: true. */
  readonly holdsKey?: boolean
}

/**
 * Messages of a key are in the order in which the inbox recorded them. Waiting, retrying, running and uncertain ones are
 * not done; parked ones neither, unless they were parked with `holdsKey: false`.
 */
export interface InboxStore<Tx> {
  /**
   * The first statement of a handler's transaction: records the messages as done by this consumer and says which were new.
   * A concurrent duplicate waits here for the outcome of the other transaction. `ordered` looks for earlier messages of the
   * same key that are not done.
   */
  begin(tx: Tx, consumer: string, messages: readonly Message[], ordered: boolean): Promise<readonly Verdict[]>
  /**
   * Keeps messages that were not begun, so that the transport may forget them. One that is there already stays as it is;
   * one whose dedupe key was received before is not kept. @returns in their order what was kept, as `new`, and what is a
   * `duplicate`; none is `behind`
   */
  keep(consumer: string, kept: readonly Kept[]): Promise<readonly Verdict[]>
  /**
   * Claims stored messages that are due (retries, those whose turn has come, claims whose lease has run out), counts an
   * attempt for each, and returns them. Of a key only the earliest that is not done, when `ordered`. A message whose lease
   * ran out is returned with the state that it had: `running`.
   *
   * With `runs`, and when the earliest of a key only waited, also those right behind it that are `waiting` and due, up to
   * the limit, in their order: whoever claims them handles them one after the other, and settles as `waiting` what comes
   * behind one that fails. A store may return fewer than it could.
   *
   * @param bytesMax of all bodies together; a message that is larger comes alone. Default: no bound
   */
  claim(
    consumer: string,
    ordered: boolean,
    leaseMs: number,
    limit: number,
    runs?: boolean,
    bytesMax?: number,
  ): Promise<readonly InboxEntry[]>
  /** Says in the handler's transaction that a claimed message is done. @throws {SdkError} `lease_lost` */
  finish(tx: Tx, entry: InboxEntry): Promise<void>
  /** Notes what became of a claim that did not finish; a claim that was lost is left alone. */
  settle(
    entry: InboxEntry,
    outcome: {
      readonly state: 'waiting' | 'retrying' | 'parked' | 'uncertain' | 'expired'
      readonly dueAt: number
      readonly attempt?: Attempt
      readonly reason?: string
      /** Gives the attempt back that the claim counted: it was not the message's fault. */
      readonly uncounted?: boolean
      /** Of a parked or uncertain message: whether later ones of its key wait until an operator decides. Default: true. */
      readonly holdsKey?: boolean
    },
  ): Promise<void>
  /**
   * Records that an effect is begun, with an attempt counted and a lease, before the outside world is called. `duplicate`
   * when the message or its dedupe key was received before, whatever became of it; `behind` as in `begin`.
   */
  start(consumer: string, message: Message, ordered: boolean, leaseMs: number): Promise<EffectVerdict>
  /** Records that an effect is done. @returns false when the claim was lost */
  complete(entry: InboxEntry): Promise<boolean>
  /** Prolongs the lease of claims that are still being worked on. @returns those that are still ours, by message id */
  renew(consumer: string, entries: readonly InboxEntry[], leaseMs: number): Promise<readonly string[]>
  /**
   * When there is something to claim: the earliest due time, or end of a lease, among the consumer's stored messages; null
   * when there is none. When `ordered`, only the earliest of each key counts.
   */
  nextDue(consumer: string, ordered: boolean): Promise<number | null>
  /** Deletes the memory of messages that were done before a time, at most `limit`. @returns how many */
  prune(before: number, limit: number): Promise<number>
  /**
   * Deletes dedupe keys that were noted before a time, at most `limit`; none whose message is not done, or was done since then.
   * A key that is there tells duplicates also when the memory of its message is gone. @returns how many
   */
  pruneDedupeKeys(before: number, limit: number): Promise<number>
  /** How many messages are kept that are not done; those that are cost nothing here, however many there are. */
  depth(): Promise<readonly InboxDepth[]>
}

export interface InboxDepth {
  readonly consumer: string
  readonly state: Exclude<InboxState, 'done'>
  readonly count: number
}

/* ---------------------------------------------------------------- schedules */

export interface ScheduleRow {
  readonly name: string
  /** What the declaration said, to notice a changed one. */
  readonly definition: string
  /** When the next occurrence is, in ms since 1970. */
  readonly nextAt: number
  /** The latest occurrence that became a message; null before the first. */
  readonly lastAt: number | null
}

export interface ScheduleStore<Tx> {
  list(): Promise<readonly ScheduleRow[]>
  /** Adds or changes a row when `expected` is what is there (null: nothing). @returns whether it was */
  save(tx: Tx, row: ScheduleRow, expected: ScheduleRow | null): Promise<boolean>
  remove(name: string): Promise<void>
}

/* ---------------------------------------------------------------- rates */

export interface RateStore {
  /**
   * Takes up to `want` tokens from the bucket of that name, which holds `capacity` and is filled at `capacity` per `perMs`;
   * a new one is full.
   *
   * @returns how many were granted, and when one more will be there
   */
  take(name: string, capacity: number, perMs: number, want: number): Promise<{ granted: number; nextAt: number }>
}

/* ---------------------------------------------------------------- register */

/** A message as the register shows it, of either direction. */
export interface RegisterEntry {
  readonly direction: 'out' | 'in'
  /** The consumer's name; empty for what goes out. */
  readonly consumer: string
  readonly id: string
  readonly type: string
  readonly version: number
  readonly key: string | null
  readonly externalId: string | null
  readonly state: RegisterState
  readonly attempts: number
  readonly createdAt: number
  readonly dueAt: number | null
  readonly reason: string | null
  /** Of the last error; null when there is none. */
  readonly fingerprint: string | null
  readonly errors: readonly Attempt[]
  /** Null when the body is no longer kept. */
  readonly message: Message | null
}

/** `scheduled`, `pending` and `sent` go out; `parked` and `cancelled` are of both directions; all others came in. */
export type RegisterState = 'scheduled' | 'pending' | 'sent' | InboxState

export interface RegisterFilter {
  readonly direction?: 'out' | 'in'
  readonly state?: RegisterState | readonly RegisterState[]
  /** A contract's name; `*` stands for any run of characters. */
  readonly contract?: string
  readonly consumer?: string
  /** Leaves out what this consumer received. */
  readonly notConsumer?: string
  readonly id?: string
  readonly key?: string
  readonly externalId?: string
  /** Fingerprint of the last error. */
  readonly fingerprint?: string
  /** Only older or younger ones, in ms since 1970. */
  readonly before?: number
  readonly after?: number
}

/** What is read for a page. Without `bodies` every `message` is null, without `errors` there are none; default: true. */
export interface RegisterReading {
  readonly bodies?: boolean
  readonly errors?: boolean
  /** Of all that is read of both, together; a message that is larger comes alone. Default: no bound. */
  readonly bytesMax?: number
}

export interface RegisterPage {
  /** May be fewer than were asked for, or none, and be followed by others nevertheless. */
  readonly entries: readonly RegisterEntry[]
  /** To be handed in for the next page; null at the end. */
  readonly next: string | null
}

/** A message in the register, for a change. */
export interface RegisterKey {
  readonly direction: 'out' | 'in'
  readonly consumer: string
  readonly id: string
}

export interface RegisterStore {
  /** Oldest first, by the time the store got to know of them. @param limit at most 1000 */
  list(filter: RegisterFilter, limit: number, after: string | null, reading?: RegisterReading): Promise<RegisterPage>
  count(filter: RegisterFilter): Promise<number>
  /**
   * Makes parked, uncertain, cancelled and expired messages due now, with their attempts counted from nought again; frees
   * a key that was parked by them. They keep their places in their keys. @returns how many were in such a state
   */
  retry(keys: readonly RegisterKey[]): Promise<number>
  /**
   * Takes messages that are not sent, done or running out of the way: `cancelled`; frees their keys. Timers are forgotten.
   * @returns how many
   */
  cancel(keys: readonly RegisterKey[]): Promise<number>
  /**
   * Replaces a parked message by a new one that takes its place and number in its key and is due now, and cancels the old
   * one, in one transaction.
   *
   * @throws {SdkError} `not_found` when there is no such parked message
   */
  replace(key: RegisterKey, message: Message): Promise<void>
  /** Deletes at most so many messages; their keys are free then. @returns how many */
  purge(what: Purge, limit: number): Promise<number>
}

/** Messages that nothing more will happen to: what has still to be sent, handled or decided is never deleted. */
export interface Purge {
  readonly state: 'sent' | 'done' | 'parked' | 'cancelled' | 'expired'
  /** Only what the store got to know before this time, in ms since 1970. */
  readonly before: number
  /** Only of these contracts, or of all but these, by their exact names. Default: of all. */
  readonly contracts?: { readonly only: readonly string[] } | { readonly except: readonly string[] }
}
