import type { Contract } from '../contract/contract.ts'
import type { Store } from '../store/port.ts'
import type { DepthLimit } from './depth-limit.ts'
import type { Outgoing, OutgoingFactory, Sendable, SendOptions } from './outgoing.ts'
import { SdkError } from '../errors.ts'
import { named } from './outgoing.ts'

/** Messages of one scope: more in one transaction would hold it open for long, and its keys with it. */
export const SCOPE_MESSAGES_MAX = 10_000

/**
 * Adds messages to a transaction: they are sent if it commits, and only then. Its functions need no `this` and can be
 * taken apart. The order of the calls is the order of the messages, also of calls that nobody waited for in between.
 *
 * All of them throw {@link SdkError} `invalid_data` and `too_large` for the message, `transaction_over` when nothing can be
 * added any more, `overloaded` when the outbox has a limit and is full, and what the store says of the transaction.
 */
export interface Scope {
  /** Says that something happened, to whoever wants to know. @returns the message's id */
  readonly publish: <In>(
    event: Contract<'event', string, In>,
    data: NoInfer<In>,
    options?: SendOptions,
  ) => Promise<string>
  /** Has the command's one owner do something. @returns the message's id */
  readonly send: <In>(
    command: Contract<'command', string, In>,
    data: NoInfer<In>,
    options?: SendOptions,
  ) => Promise<string>
  /** Publishes events and sends commands, all in one statement. @returns their ids */
  readonly publishAll: <const Ins extends readonly unknown[]>(
    messages: readonly [...{ [I in keyof Ins]: SendArguments<Ins[I]> }],
  ) => Promise<readonly string[]>
  /** Takes back what was to be sent later under that name. What was sent stays sent. @returns whether there was one */
  readonly cancel: (cancelKey: string) => Promise<boolean>
}

/** Contract, data and options of one message. */
export type SendArguments<In> =
  | readonly [contract: Sendable<In>, data: In]
  | readonly [contract: Sendable<In>, data: In, options: SendOptions]

/** What was added to a transaction: what relay and timers have to look for after its commit. */
export interface Added {
  /** Messages to be sent at once. */
  readonly messages: number
  /** When the earliest of those that are to be sent later is due, in ms since 1970; null when there is none. */
  readonly dueAt: number | null
}

const ONE_ADDED: Added = { messages: 1, dueAt: null }

/** Writes messages into the transaction: one statement for the outbox, one for the timers, none for nothing. */
export async function addAll<Tx>(
  store: Pick<Store<Tx>, 'outbox' | 'timers'>,
  tx: Tx,
  outgoing: readonly Outgoing[],
): Promise<Added> {
  const [only] = outgoing
  if (outgoing.length === 1 && only!.dueAt === null) {
    await store.outbox.add(tx, [only!.draft])
    return ONE_ADDED
  }
  // Of the same id the first counts, as it does among those that are there already; of the same name the last.
  const drafts = new Map<string, Outgoing['draft']>()
  const timers = new Map<string, Outgoing & { dueAt: number }>()
  for (const { draft, dueAt, cancelKey } of outgoing) {
    if (dueAt !== null) timers.set(cancelKey === null ? `i${draft.id}` : `n${cancelKey}`, { draft, dueAt, cancelKey })
    else if (!drafts.has(draft.id)) drafts.set(draft.id, draft)
  }
  if (drafts.size > 0) await store.outbox.add(tx, [...drafts.values()])
  if (timers.size === 0) return { messages: drafts.size, dueAt: null }
  const later = [...timers.values()]
  await store.timers.set(tx, later)
  return { messages: drafts.size, dueAt: later.reduce((least, { dueAt }) => Math.min(least, dueAt), Infinity) }
}

/** Of these, messages that go to the outbox now, and not later. */
export function countNow(outgoing: readonly Outgoing[]): number {
  return outgoing.reduce((count, { dueAt }) => (dueAt === null ? count + 1 : count), 0)
}

/** @throws {SdkError} `too_large` */
export function checkCount(count: number): void {
  if (count > SCOPE_MESSAGES_MAX)
    throw new SdkError(
      'too_large',
      `a transaction sends at most ${SCOPE_MESSAGES_MAX} messages; send one command that goes on in further transactions`,
      { data: { count, max: SCOPE_MESSAGES_MAX } },
    )
}

/**
 * The scope of an application's own transaction: every call is one statement, right away.
 *
 * @param added is told what was added; nobody knows when the transaction will commit
 * @param limit that is asked before anything is written; null for none
 */
export function immediateScope<Tx>(
  store: Store<Tx>,
  tx: Tx,
  factory: Pick<OutgoingFactory, 'make'>,
  added: (what: Added) => void,
  limit: Pick<DepthLimit, 'admit'> | null = null,
): Scope {
  if (!store.isTransaction(tx))
    throw new SdkError(
      'not_a_transaction',
      `what was given to in() is no transaction of the store ${store.name}; begin one and hand in the handle that you get, not the database itself`,
    )
  let last: Promise<unknown> = Promise.resolve()
  let count = 0
  /** Statements of one transaction follow each other; a call that failed fails no later one. */
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    const before = last
    const own = before.then(work, work)
    last = own
    return own
  }
  const add = (messages: readonly SendArguments<never>[]): Promise<readonly string[]> =>
    inTurn(async () => {
      checkCount((count += messages.length))
      const outgoing: Outgoing[] = []
      for (const [contract, data, options] of messages) outgoing.push(await factory.make(contract, data, options))
      if (limit !== null) {
        checkRunning(store, tx)
        const now = countNow(outgoing)
        if (now > 0) await limit.admit(now, true)
      }
      checkRunning(store, tx)
      added(await addAll(store, tx, outgoing))
      return outgoing.map(({ draft }) => draft.id)
    })
  const addOne = async (contract: Sendable<never>, data: unknown, options: SendOptions = {}): Promise<string> => {
    const [id] = await add([[contract, data as never, options]])
    return id!
  }
  return {
    publish: addOne,
    send: addOne,
    publishAll: (messages) => add(messages as unknown as readonly SendArguments<never>[]),
    cancel: (cancelKey) =>
      inTurn(async () => {
        named('cancelKey', cancelKey)
        checkRunning(store, tx)
        return store.timers.cancel(tx, cancelKey)
      }),
  }
}

function checkRunning<Tx>(store: Store<Tx>, tx: Tx): void {
  if (store.isTransaction(tx)) return
  throw new SdkError(
    'transaction_over',
    'the transaction is over, the message would be lost; await every publish before the transaction ends',
  )
}
