import { BUCKETS } from '../message/bucket.ts'
import type { Message } from '../message/message.ts'
import type {
  Attempt,
  BucketLease,
  Draft,
  InboxEntry,
  Kept,
  RegisterFilter,
  Store,
  TimerDraft,
  Verdict,
} from './port.ts'

/** A store under test, its tables there and empty. */
export interface StoreSubject<Tx> {
  readonly store: Store<Tx>
  /** Lets at least so much time pass at the store's clock. */
  readonly pass: (ms: number) => Promise<void>
  /** The database's root handle, where there is one: it may look like a transaction, and is none. */
  readonly root?: unknown
  /**
   * Whether the database may want a transaction repeated whose messages are the first of a key, when another one that had
   * the same key failed: InnoDB gives the place to all who wait for it at once, and then finds them waiting for each other.
   */
  readonly firstOfKeyMayConflict?: boolean
  /** Whether everybody waits while a transaction is open that writes, as in SQLite. */
  readonly oneWriter?: boolean
  /** Bytes of a body that the database does not take. Absent where nobody has such a message in memory. */
  readonly tooLargeBytes?: number
  /** A store whose tables were never made, where there are tables. Closed by who asks for it. */
  readonly unmigrated?: () => Promise<Store<Tx>>
  readonly close: () => Promise<void>
}

/** A promise of a store; whatever its transactions are. */
export interface StorePromise {
  readonly name: string
  readonly run: <Tx>(subject: StoreSubject<Tx>) => Promise<void>
}

/** A lease that does not end during a test, and one that is over after {@link PAST_MS}. */
export const LONG_MS = 3_600_000
export const SHORT_MS = 20
export const PAST_MS = 50

/** A time that does not come during a test. */
export const FAR_AT = 4_000_000_000_000

export const ALL: readonly number[] = Array.from({ length: BUCKETS }, (_, bucket) => bucket)

let ids = 0

export function draftOf(fields: Partial<Draft> = {}): Draft {
  const id = fields.id ?? `message-${++ids}`
  return {
    id,
    kind: 'event',
    type: 'ticket.submitted',
    version: 1,
    source: 'helpdesk',
    time: 1_790_000_000_000,
    key: null,
    keySeq: null,
    contentType: 'application/json',
    body: new TextEncoder().encode(JSON.stringify({ id })),
    metadata: { correlationId: id },
    ...fields,
  }
}

/** A message as a transport delivers it. */
export const messageOf = (fields: Partial<Message> = {}): Message => draftOf(fields)

/** So many messages of one key, numbered from 1. */
export function messagesOf(count: number, fields: Partial<Message> = {}): Message[] {
  return Array.from({ length: count }, (_, i) => messageOf({ key: 'k', keySeq: i + 1, ...fields }))
}

/** A message with the bytes of its body as an array of no special class, to be compared. */
export const plain = <M extends { readonly body: Uint8Array }>(message: M): M => ({
  ...message,
  body: Uint8Array.from(message.body),
})

export const idsOf = (messages: readonly { readonly id: string }[]): string[] => messages.map(({ id }) => id)

/** Adds messages in a transaction of their own. @returns what is there now under their ids */
export async function add<Tx>(store: Store<Tx>, ...drafts: readonly Partial<Draft>[]): Promise<readonly Message[]> {
  const time = Math.floor(await store.now())
  const added = drafts.map((draft) => draftOf({ time, ...draft }))
  await store.transaction((tx) => store.outbox.add(tx, added))
  const there = new Map<string, Message>()
  for (let page = await store.register.list({ direction: 'out' }, 1000, null); ;) {
    for (const { id, message } of page.entries) if (message !== null) there.set(id, message)
    if (page.next === null) break
    page = await store.register.list({ direction: 'out' }, 1000, page.next)
  }
  return added.map(({ id }) => there.get(id)!)
}

/** Ids of what could be sent now. */
export async function dueIds<Tx>(store: Store<Tx>): Promise<string[]> {
  return (await store.outbox.due(ALL, 1000)).map(({ message }) => message.id)
}

/** All buckets, for longer than a test. */
export function leaseAll<Tx>(store: Store<Tx>, owner = 'relay'): Promise<readonly BucketLease[]> {
  return store.outbox.lease(owner, LONG_MS)
}

export function attempt(number = 1, fields: Partial<Attempt> = {}): Attempt {
  return {
    at: 1_790_000_000_000,
    attempt: number,
    name: 'Error',
    message: 'no',
    fingerprint: 'Error-0',
    by: 'h:1',
    ...fields,
  }
}

export function setTimers<Tx>(
  store: Store<Tx>,
  ...timers: readonly (Partial<TimerDraft> & { readonly dueAt: number })[]
): Promise<void> {
  return store.transaction((tx) =>
    store.timers.set(
      tx,
      timers.map((timer) => ({ draft: draftOf(), cancelKey: null, ...timer })),
    ),
  )
}

/** Begins messages in a transaction of their own and says what the inbox said of each. */
export async function begin<Tx>(
  store: Store<Tx>,
  messages: readonly Message[],
  { consumer = 'c', ordered = true }: { readonly consumer?: string; readonly ordered?: boolean } = {},
): Promise<string[]> {
  const verdicts = await store.transaction((tx) => store.inbox.begin(tx, consumer, messages, ordered))
  return verdicts.map(({ kind }) => kind)
}

/** Keeps messages as due at once. @returns what the inbox said of each */
export function keep<Tx>(
  store: Store<Tx>,
  messages: readonly Message[],
  fields: Partial<Kept> & { readonly consumer?: string } = {},
): Promise<readonly Verdict[]> {
  const { consumer = 'c', ...kept } = fields
  return store.inbox.keep(
    consumer,
    messages.map((message) => ({ message, state: 'waiting', attempts: 0, dueAt: 0, ...kept })),
  )
}

/** Claims what is due for longer than a test. */
export function claim<Tx>(store: Store<Tx>, { ordered = true, leaseMs = LONG_MS, limit = 100, runs = false } = {}) {
  return store.inbox.claim('c', ordered, leaseMs, limit, runs)
}

export const claimedIds = (entries: readonly InboxEntry[]): string[] => entries.map(({ message }) => message.id)

export function finish<Tx>(store: Store<Tx>, ...entries: readonly InboxEntry[]): Promise<void> {
  return store.transaction(async (tx) => {
    for (const entry of entries) await store.inbox.finish(tx, entry)
  })
}

/** Repeats what the database wants repeated. */
export async function persist<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      const retryable = error instanceof Error && 'retryable' in error && error.retryable === true
      if (!retryable || tries === 100) throw error
    }
  }
}

/** Ids and states in the register. */
export async function states<Tx>(store: Store<Tx>, filter: RegisterFilter = {}): Promise<Record<string, string>> {
  const { entries } = await store.register.list(filter, 1000, null)
  return Object.fromEntries(entries.map(({ id, state }) => [id, state]))
}

/** The key of a message in the register. */
export const outKey = (id: string) => ({ direction: 'out', consumer: '', id }) as const
export const inKey = (id: string, consumer = 'c') => ({ direction: 'in', consumer, id }) as const
