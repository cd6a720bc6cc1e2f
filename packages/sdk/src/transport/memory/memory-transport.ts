import type { Message } from '../../message/message.ts'
import { SdkError } from '../../errors.ts'
import { readMessage } from '../incoming.ts'
import { transportDown, unroutable, written } from '../outgoing.ts'
import type {
  Capabilities,
  ConsumerTopology,
  Delivery,
  ReplyPlace,
  SendResult,
  Subscription,
  Topology,
  Transport,
  TransportSurroundings,
} from '../port.ts'
import type { Wired } from '../../wire/wire-form.ts'
import type { MemoryQueue, Reader } from './memory-queue.ts'

/** The engine, as the processes see it that share it. */
export interface SharedEngine {
  readonly name: string
  readonly bodyBytesMax: number
  readonly chaos: { send?(messages: readonly Message[]): 'done' | 'lost' | 'unanswered' }
  declare(topology: ConsumerTopology): MemoryQueue
  /** Puts a message into every queue that it is for. `false`: there is none. */
  put(message: Message, raw: Wired): boolean
  openReplies(service: string, receive: (raw: Wired) => void): { readonly address: string; close(): void }
}

/** One process's way to an engine in memory. */
export class MemoryTransport implements Transport {
  readonly name = 'memory'
  readonly capabilities: Capabilities
  readonly engine: string
  readonly #engine: SharedEngine
  readonly #watchers = new Set<(up: boolean) => void>()
  readonly #readers: Reader[] = []
  readonly #closers: (() => void)[] = []
  #surroundings: TransportSurroundings | null = null
  #up = false

  constructor(engine: SharedEngine) {
    this.#engine = engine
    this.engine = engine.name
    this.capabilities = {
      ordering: true,
      confirm: true,
      returns: true,
      replies: true,
      bodyBytesMax: engine.bodyBytesMax,
    }
  }

  async open(surroundings: TransportSurroundings): Promise<void> {
    this.#surroundings = surroundings
    this.#connect(true)
  }

  async declare({ consumers }: Topology): Promise<void> {
    this.#assertUp()
    for (const consumer of consumers) this.#engine.declare(consumer)
  }

  async send(messages: readonly Message[]): Promise<readonly SendResult[]> {
    const { form } = this.#assertUp()
    const fate = this.#engine.chaos.send?.(messages) ?? 'done'
    if (fate === 'lost') throw transportDown('the messages were lost on the way to the memory engine')
    const results = messages.map((message): SendResult => {
      const wired = written(message, form, this.#engine.bodyBytesMax)
      if (wired instanceof SdkError) return wired
      // A copy: nobody changes what others were sent.
      const raw = { ...wired, headers: { ...wired.headers }, body: wired.body.slice() }
      return this.#engine.put(message, raw) || message.kind === 'event' ? 'sent' : unroutable(message)
    })
    if (fate === 'unanswered') throw transportDown('the memory engine did not answer')
    return results
  }

  async subscribe(
    consumer: ConsumerTopology,
    prefetch: number,
    receive: (delivery: Delivery) => void,
  ): Promise<Subscription> {
    const reader = this.#engine.declare(consumer).read(this.#assertUp(), prefetch, receive)
    this.#readers.push(reader)
    return reader
  }

  async openReplies(receive: (message: Message) => void): Promise<ReplyPlace> {
    const { service, form, log } = this.#assertUp()
    const place = this.#engine.openReplies(service, (raw) => {
      if (!this.#up) return
      const message = readMessage(raw, form)
      if (message !== null) receive(message)
      else log.warn({ contentType: raw.contentType }, 'a reply is no message that this service can read; it is dropped')
    })
    this.#closers.push(() => place.close())
    return { address: () => place.address, close: async () => place.close() }
  }

  watch(changed: (up: boolean) => void): () => void {
    this.#watchers.add(changed)
    changed(this.#up)
    return () => this.#watchers.delete(changed)
  }

  async close(): Promise<void> {
    this.crash()
  }

  /** The connection breaks: what is unsettled goes back, until {@link restore}. */
  cut(): void {
    this.#connect(false)
  }

  restore(): void {
    if (this.#surroundings !== null) this.#connect(true)
  }

  /** The process dies. What it held goes to others; a new transport takes its place. */
  crash(): void {
    this.cut()
    for (const reader of this.#readers) void reader.close()
    for (const close of this.#closers.splice(0)) close()
    this.#surroundings = null
  }

  #connect(up: boolean): void {
    if (this.#up === up) return
    this.#up = up
    for (const reader of this.#readers) reader.connect(up)
    for (const changed of this.#watchers) changed(up)
  }

  #assertUp(): TransportSurroundings {
    if (this.#surroundings === null || !this.#up) throw transportDown('the memory transport is not connected')
    return this.#surroundings
  }
}
