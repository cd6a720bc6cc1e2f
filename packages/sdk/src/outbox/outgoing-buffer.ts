import type { Message } from '../message/message.ts'
import type { Store } from '../store/port.ts'
import type { Cause } from './cause.ts'
import type { DepthLimit } from './depth-limit.ts'
import type { Outgoing, OutgoingFactory, Sendable, SendOptions } from './outgoing.ts'
import { SdkError } from '../errors.ts'
import { causeOf } from './cause.ts'
import { named } from './outgoing.ts'
import { addAll, checkCount, countNow, type Added, type Scope, type SendArguments } from './scope.ts'

/** A place in the order of the messages, taken when a handler calls, before its data is written. */
interface Place {
  readonly outgoing: Promise<Outgoing>
  readonly cancelKey: string | undefined
}

/**
 * Messages that handlers of one transaction publish and send: held until the one {@link flush} at its end. Handlers share
 * it when they share the transaction; each gets its own scope, which knows the message that it handles.
 */
export class OutgoingBuffer<Tx> {
  readonly #store: Store<Tx>
  readonly #tx: Tx
  readonly #factory: OutgoingFactory
  readonly #committed: (added: Added) => void
  readonly #limit: Pick<DepthLimit, 'check'> | null
  #places: Place[] = []
  readonly #cancels: Promise<boolean>[] = []
  #over = false
  #added: Added = { messages: 0, dueAt: null }

  /** @param limit that is asked before anything is written; null for none */
  constructor(
    store: Store<Tx>,
    tx: Tx,
    factory: OutgoingFactory,
    committed: (added: Added) => void,
    limit: Pick<DepthLimit, 'check'> | null = null,
  ) {
    this.#store = store
    this.#tx = tx
    this.#factory = factory
    this.#committed = committed
    this.#limit = limit
  }

  /** What the handler of a message gets, or a schedule without one. `cancel` is a statement of its own, right away. */
  scopeOf(message: Message | null): Scope {
    const cause = message === null ? null : causeOf(message)
    const addOne = (contract: Sendable<never>, data: unknown, options: SendOptions = {}): Promise<string> =>
      toldByFlush(this.#add(contract, data as never, options, cause))
    return {
      publish: addOne,
      send: addOne,
      publishAll: async (messages) => {
        const all = messages as unknown as readonly SendArguments<never>[]
        return Promise.all(all.map(([contract, data, options]) => addOne(contract, data, options)))
      },
      cancel: (cancelKey) => toldByFlush(this.#cancel(cancelKey)),
    }
  }

  /**
   * Writes all messages into the transaction, and takes no more. Waits for calls that the handlers did not wait for.
   *
   * @throws what any of the calls failed with, also when the handler caught it: a transaction never commits without a
   * message that it was asked to send; `overloaded` when the outbox is full
   */
  async flush(): Promise<void> {
    this.#checkRunning()
    this.#over = true
    await Promise.all(this.#cancels)
    const outgoing = await Promise.all(this.#places.map((place) => place.outgoing))
    if (this.#limit !== null) {
      const count = countNow(outgoing)
      if (count > 0) this.#limit.check(count)
    }
    this.#added = await addAll(this.#store, this.#tx, outgoing)
  }

  /** Takes no more: the transaction is rolled back. */
  abandon(): void {
    this.#over = true
  }

  /** To be called when the transaction has committed: the messages are sent as soon as can be. */
  committed(): void {
    this.#over = true
    if (this.#added.messages > 0 || this.#added.dueAt !== null) this.#committed(this.#added)
  }

  async #add(contract: Sendable<never>, data: never, options: SendOptions, cause: Cause | null): Promise<string> {
    this.#checkRunning()
    checkCount(this.#places.length + 1)
    const outgoing = this.#factory.make(contract, data, options, cause)
    this.#places.push({ outgoing, cancelKey: options.cancelKey })
    return (await outgoing).draft.id
  }

  async #cancel(cancelKey: string): Promise<boolean> {
    this.#checkRunning()
    named('cancelKey', cancelKey)
    const kept = this.#places.filter((place) => place.cancelKey !== cancelKey)
    const held = kept.length < this.#places.length
    this.#places = kept
    const stored = this.#store.timers.cancel(this.#tx, cancelKey)
    this.#cancels.push(stored)
    return (await stored) || held
  }

  #checkRunning(): void {
    if (this.#over)
      throw new SdkError(
        'transaction_over',
        'the transaction is over, the message would be lost; publish, send and cancel before the handler returns',
      )
  }
}

/** A call that nobody waits for fails the transaction, not the process. */
function toldByFlush<T>(call: Promise<T>): Promise<T> {
  call.catch(() => {})
  return call
}
