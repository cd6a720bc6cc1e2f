import { setMaxListeners } from 'node:events'
import { event } from '../contract/event.ts'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { SdkError } from '../errors.ts'
import { Consumer } from '../inbox/consumer.ts'
import type { Declaration } from '../inbox/declaration.ts'
import type { Log } from '../log.ts'
import type { Message } from '../message/message.ts'
import { uuidV7 } from '../message/message-id.ts'
import { Outbox } from '../outbox/outbox.ts'
import { seededRandom } from '../random.ts'
import { memoryStore, type MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Kept, RegisterEntry, RegisterFilter, Store } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import { memoryEngine, type MemoryTransport } from '../transport/memory/index.ts'
import { cloudEvents } from '../wire/cloud-events.ts'
import type { Wired } from '../wire/wire-form.ts'
import { Activity } from '../work/activity.ts'
import { manualClock } from './manual-clock.ts'
import { CountingTelemetry } from './outbox-world.ts'

export interface TicketData {
  readonly ticketId: string
  readonly number: number
}

const schema: StandardSchemaV1<TicketData, TicketData> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      typeof (value as TicketData).number === 'number'
        ? { value: value as TicketData }
        : { issues: [{ message: 'number is no number' }] },
  },
}

/** What the handlers under test are told. */
export const Told = event('ticket.told', schema)
export const Ticket = event('ticket.changed', schema).key((data) => data.ticketId)

/** A running process of the service. */
export interface ServiceProcess {
  readonly surroundings: Surroundings<MemoryTransaction>
  readonly transport: MemoryTransport
  readonly outbox: Outbox<MemoryTransaction>
  consume(declaration: Declaration<MemoryTransaction>): Promise<Consumer<MemoryTransaction>>
  /** Ends without a word: nothing of it runs on, its connection is gone. */
  crash(): void
}

/** Everything around the receiving side: a store and an engine in memory, a clock that stands still, faults on demand. */
export class InboxWorld {
  readonly clock = manualClock()
  readonly store = memoryStore({ clock: this.clock })
  readonly engine = memoryEngine()
  readonly telemetry = new CountingTelemetry()
  /** Messages of the log, with their fields. */
  readonly logged: { readonly level: string; readonly text: string; readonly fields: object }[] = []
  /** Thrown by every call of every process's store while it is set. */
  fault: SdkError | null = null
  /** Bytes of a body that every process's store keeps. */
  keptBytesMax = Number.POSITIVE_INFINITY
  /** Calls of the store, as `inbox.begin`, `transaction`. */
  readonly calls: string[] = []
  readonly #random = seededRandom(7)
  readonly #newId = uuidV7(this.clock, this.#random)
  #processes = 0
  #sender: MemoryTransport | null = null

  async process(): Promise<ServiceProcess> {
    const transport = this.engine.transport()
    const { clock } = this
    const log = this.#log()
    await transport.open({ service: 'helpdesk', form: cloudEvents, clock, random: this.#random, log })
    let crashed = false
    const ended = new AbortController()
    setMaxListeners(0, ended.signal)
    const surroundings: Surroundings<MemoryTransaction> = {
      service: 'helpdesk',
      process: `host:${++this.#processes}`,
      store: this.#faulty(ended.signal),
      transport,
      clock: { ...clock, after: (delayMs, fire) => clock.after(delayMs, () => (crashed ? undefined : fire())) },
      random: this.#random,
      newId: this.#newId,
      log,
      telemetry: this.telemetry.telemetry,
      activity: new Activity(),
    }
    const outbox = new Outbox(surroundings, { relay: false })
    return {
      surroundings,
      transport,
      outbox,
      async consume(declaration) {
        const consumer = new Consumer(surroundings, outbox, declaration)
        await transport.declare({ sends: [], consumers: [consumer.topology] })
        await consumer.start()
        return consumer
      },
      crash() {
        crashed = true
        ended.abort(new Error('the process is dead'))
        transport.crash()
      },
    }
  }

  /** Sends `ticket.changed` messages `1`, `2` … of a key: their ids are `<key><number>`. */
  async send(key: string, from: number, to = from, fields: Partial<Message> = {}): Promise<void> {
    for (let number = from; number <= to; number++) await this.sendMessage(this.message(key, number, fields))
  }

  async sendMessage(message: Message): Promise<void> {
    if (this.#sender === null) {
      this.#sender = this.engine.transport()
      const { clock } = this
      await this.#sender.open({ service: 'shop', form: cloudEvents, clock, random: this.#random, log: this.#log() })
    }
    await this.#sender.send([message])
  }

  /** Puts bytes where `ticket.changed` goes to, as a stranger might. */
  async sendRaw(raw: Wired): Promise<void> {
    const stranger = this.engine.transport()
    const form = { ...cloudEvents, encode: () => raw }
    const { clock } = this
    await stranger.open({ service: 'stranger', form, clock, random: this.#random, log: this.#log() })
    await stranger.send([this.message('raw', 1)])
  }

  message(key: string, number: number, fields: Partial<Message> = {}): Message {
    const id = `${key}${number}`
    return {
      id,
      kind: 'event',
      type: 'ticket.changed',
      version: 1,
      source: 'shop',
      time: this.clock.now(),
      key,
      keySeq: null,
      contentType: 'application/json',
      body: new TextEncoder().encode(JSON.stringify({ ticketId: key, number })),
      metadata: { correlationId: id },
      ...fields,
    }
  }

  async settle(): Promise<void> {
    await this.clock.settle()
  }

  async received(filter: RegisterFilter = {}): Promise<readonly RegisterEntry[]> {
    return (await this.store.register.list({ direction: 'in', ...filter }, 1000, null)).entries
  }

  /** `id: state` of what was received. */
  async states(): Promise<Record<string, string>> {
    return Object.fromEntries((await this.received()).map(({ id, state }) => [id, state]))
  }

  counted(metric: string): number {
    return this.telemetry.counts.get(metric) ?? 0
  }

  #log(): Log {
    const add = (level: string) => (fields: object, text: string) => void this.logged.push({ level, text, fields })
    return { debug: add('debug'), info: add('info'), warn: add('warn'), error: add('error') }
  }

  /** The store is asked to keep a message in `inbox.keep` and `inbox.start`; nothing else takes a body in. */
  #refuseLarge(path: string, [, messages]: readonly unknown[]): void {
    const kept =
      path === 'inbox.keep'
        ? (messages as readonly Kept[]).map(({ message }) => message)
        : path === 'inbox.start'
          ? [messages as Message]
          : []
    if (kept.some(({ body }) => body.byteLength > this.keptBytesMax))
      throw new SdkError('too_large', 'raise max_allowed_packet')
  }

  /** The store as a process sees it that may lose its database, or its life. */
  #faulty(ended: AbortSignal): Store<MemoryTransaction> {
    const guard = <T extends object>(port: T, name: string): T =>
      new Proxy(port, {
        get: (target, property) => {
          const value: unknown = Reflect.get(target, property, target)
          const path = name === '' ? String(property) : `${name}.${String(property)}`
          if (typeof value === 'object' && value !== null && name === '') return guard(value, path)
          if (typeof value !== 'function' || path === 'isTransaction' || path === 'watch') return value
          return async (...given: unknown[]) => {
            let args = given
            if (ended.aborted) return new Promise(() => {})
            if (path !== 'now') this.calls.push(path)
            if (this.fault !== null) throw this.fault
            this.#refuseLarge(path, args)
            const call = value as (...args: unknown[]) => Promise<unknown>
            // The transactions of a dead process are rolled back; what it was answered, nobody hears.
            const [work] = args
            if (path === 'transaction')
              args = [(tx: unknown) => untilEnd(ended, (work as (tx: unknown) => unknown)(tx))]
            try {
              return await call.apply(target, args)
            } finally {
              if (ended.aborted) await new Promise(() => {})
            }
          }
        },
      })
    return guard(this.store as Store<MemoryTransaction>, '')
  }
}

function untilEnd(ended: AbortSignal, work: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    ended.addEventListener('abort', () => reject(ended.reason as Error), { once: true })
    Promise.resolve(work).then(resolve, reject)
  })
}

export const storeDown = (): SdkError => new SdkError('store_down', 'the database is gone', { retryable: true })
