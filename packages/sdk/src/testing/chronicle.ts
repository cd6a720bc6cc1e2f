import type { Message } from '../message/message.ts'
import type { Draft, Store } from '../store/port.ts'
import type { Transport, TransportSurroundings } from '../transport/port.ts'
import type { WireForm } from '../wire/wire-form.ts'

/** A transaction in which a consumer handles messages. */
interface Handling {
  consumer: string | null
  /** What was sent in it before it was known by whom. */
  readonly unsigned: string[]
}

/** Messages that a consumer has begun to handle. */
interface Begun {
  readonly consumer: string
  readonly messages: readonly Message[]
  readonly ended: () => boolean
}

/**
 * What a test's services did, as seen at their stores and transports: which messages there were, in which order, and which
 * handler sent them. What became of them, the stores know.
 */
export class Chronicle {
  /** What was handed to the engine, by id. */
  readonly messages = new Map<string, Message>()
  /** The consumer that sent a message, by its id. */
  readonly senders = new Map<string, string>()
  /** What the services write in, as soon as one was started. */
  form: WireForm | null = null
  /** Messages in the order in which they were first seen. */
  readonly #places = new Map<string, number>()
  #begun: Begun[] = []
  readonly #handlings = new WeakMap<object, Handling>()

  /** Where a message is among all; those that were never seen come last. */
  placeOf(id: string): number {
    return this.#places.get(id) ?? Number.MAX_SAFE_INTEGER
  }

  /** Messages whose handlers are in transactions that have not ended. */
  open(): readonly { readonly consumer: string; readonly message: Message }[] {
    this.#begun = this.#begun.filter(({ ended }) => !ended())
    return this.#begun.flatMap(({ consumer, messages }) => messages.map((message) => ({ consumer, message })))
  }

  /** The same store, watched. */
  store<Tx>(store: Store<Tx>): Store<Tx> {
    const outbox = watched(store.outbox, {
      add: (tx: Tx, drafts: readonly Draft[]) => this.#added(tx, drafts),
    })
    const timers = watched(store.timers, {
      set: (tx: Tx, set: readonly { readonly draft: Draft }[]) =>
        this.#added(
          tx,
          set.map(({ draft }) => draft),
        ),
    })
    const inbox = watched(store.inbox, {
      begin: (tx: Tx, consumer: string, messages: readonly Message[]) => {
        this.#handled(tx, consumer)
        this.open()
        this.#begun.push({ consumer, messages, ended: () => !store.isTransaction(tx) })
      },
      finish: (tx: Tx, entry: { readonly consumer: string }) => this.#handled(tx, entry.consumer),
    })
    return watched(store, {}, { outbox, timers, inbox })
  }

  /** The same transport, watched. */
  transport(transport: Transport): Transport {
    const send = (messages: readonly Message[]) => {
      for (const message of messages) {
        this.#seen(message.id)
        this.messages.set(message.id, message)
      }
    }
    const open = ({ form }: TransportSurroundings) => {
      this.form ??= form
    }
    return watched(transport, { send, open })
  }

  #seen(id: string): void {
    if (!this.#places.has(id)) this.#places.set(id, this.#places.size)
  }

  #added(tx: unknown, drafts: readonly Draft[]): void {
    const handling = this.#handlingOf(tx)
    for (const { id, metadata } of drafts) {
      this.#seen(id)
      if (metadata.causationId === undefined) continue
      if (handling.consumer === null) handling.unsigned.push(id)
      else this.senders.set(id, handling.consumer)
    }
  }

  #handled(tx: unknown, consumer: string): void {
    const handling = this.#handlingOf(tx)
    handling.consumer = consumer
    for (const id of handling.unsigned.splice(0)) this.senders.set(id, consumer)
  }

  #handlingOf(tx: unknown): Handling {
    const handle = tx as object
    const handling = this.#handlings.get(handle) ?? { consumer: null, unsigned: [] }
    this.#handlings.set(handle, handling)
    return handling
  }
}

/**
 * The same object, whose calls are heard of before they are made.
 *
 * @param parts members that others take the place of
 */
function watched<T extends object>(target: T, hears: Readonly<Record<string, unknown>>, parts: Partial<T> = {}): T {
  return new Proxy(target, {
    get(_, member) {
      if (Object.hasOwn(parts, member)) return parts[member as keyof T]
      const value: unknown = Reflect.get(target, member, target)
      if (typeof value !== 'function') return value
      const hear = hears[String(member)] as ((...args: unknown[]) => void) | undefined
      return (...args: unknown[]): unknown => {
        hear?.(...args)
        return Reflect.apply(value, target, args)
      }
    },
  })
}
