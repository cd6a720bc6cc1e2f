import type { Message } from '../message/message.ts'
import type { Draft, RegisterFilter } from '../store/port.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import type { Surroundings } from '../surroundings.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { Capabilities, SendResult, Subscription, Transport } from '../transport/port.ts'
import { SdkError } from '../errors.ts'
import { silentLog } from '../log.ts'
import { uuidV7 } from '../message/message-id.ts'
import { seededRandom } from '../random.ts'
import { memoryStore } from '../store/memory/memory-store.ts'
import { silentTelemetry } from '../telemetry/telemetry.ts'
import { Activity } from '../work/activity.ts'
import { manualClock, type ManualClock } from './manual-clock.ts'

/** An engine that notes what it gets, and answers what a test wants. */
class ScriptedTransport implements Transport {
  readonly name = 'scripted'
  readonly capabilities: Capabilities = {
    ordering: true,
    confirm: true,
    returns: true,
    replies: true,
    bodyBytesMax: 1000,
  }
  /** What the engine took, in its order. */
  readonly sent: Message[] = []
  /** The sizes of all batches, whatever became of them. */
  readonly batches: number[] = []
  /** What becomes of a message; throws to have nothing known of the batch. */
  answer: (message: Message) => SendResult = () => 'sent'
  /** To be waited for before an answer. */
  gate: Promise<void> | null = null
  readonly #watchers = new Set<(up: boolean) => void>()

  async send(messages: readonly Message[]): Promise<readonly SendResult[]> {
    this.batches.push(messages.length)
    if (this.gate !== null) await this.gate
    const results = messages.map((message) => this.answer(message))
    this.sent.push(...messages.filter((_, index) => results[index] === 'sent'))
    return results
  }

  watch(changed: (up: boolean) => void): () => void {
    this.#watchers.add(changed)
    return () => this.#watchers.delete(changed)
  }

  tell(up: boolean): void {
    for (const changed of this.#watchers) changed(up)
  }

  async open(): Promise<void> {}
  async declare(): Promise<void> {}
  async close(): Promise<void> {}

  subscribe(): Promise<Subscription> {
    return Promise.reject(new SdkError('capability_missing', 'a scripted engine delivers nothing'))
  }

  openReplies(): Promise<never> {
    return Promise.reject(new SdkError('capability_missing', 'a scripted engine delivers nothing'))
  }
}

/** Adds up what is counted, and reads gauges when asked. */
export class CountingTelemetry {
  readonly counts = new Map<string, number>()
  readonly #gauges = new Map<string, () => Promise<readonly { readonly value: number }[]>>()
  readonly telemetry: Telemetry = {
    ...silentTelemetry,
    count: (name: string, value: number) => void this.counts.set(name, (this.counts.get(name) ?? 0) + value),
    gauge: (name, read) => {
      this.#gauges.set(name, read)
      return () => this.#gauges.delete(name)
    },
  }

  async gauge(name: string): Promise<number | undefined> {
    return (await this.#gauges.get(name)?.())?.[0]?.value
  }
}

/** Everything around the sending side of one or several processes: a store in memory, a scripted engine, a clock that stands still. */
export class OutboxWorld {
  readonly clock: ManualClock
  readonly store: ReturnType<typeof memoryStore>
  readonly transport = new ScriptedTransport()
  readonly telemetry = new CountingTelemetry()
  readonly #random = seededRandom(7)
  readonly #newId: () => string

  /** @param now ISO time at the beginning */
  constructor(now = '2026-03-01T12:00:00Z') {
    this.clock = manualClock(Date.parse(now))
    this.store = memoryStore({ clock: this.clock })
    this.#newId = uuidV7(this.clock, this.#random)
  }

  /** A process of the service. */
  process(name = 'host:1:aaaa'): Surroundings<MemoryTransaction> {
    return {
      service: 'helpdesk',
      process: name,
      store: this.store,
      transport: this.transport,
      clock: this.clock,
      random: this.#random,
      newId: this.#newId,
      log: silentLog,
      telemetry: this.telemetry.telemetry,
      activity: new Activity(),
    }
  }

  /** Commits messages, `ticket.submitted` as if other processes had. */
  async commit(...drafts: Partial<Draft>[]): Promise<void> {
    await this.store.transaction(async (tx) => {
      await this.store.outbox.add(
        tx,
        drafts.map((fields) => this.draft(fields)),
      )
    })
  }

  draft(fields: Partial<Draft> = {}): Draft {
    const id = fields.id ?? this.#newId()
    return {
      id,
      kind: 'event',
      type: 'ticket.submitted',
      version: 1,
      source: 'helpdesk',
      time: this.clock.now(),
      key: null,
      keySeq: null,
      contentType: 'application/json',
      body: new TextEncoder().encode('{}'),
      metadata: { correlationId: id },
      ...fields,
    }
  }

  /** Ids of what the engine took. */
  sent(): string[] {
    return this.transport.sent.map(({ id }) => id)
  }

  /** `id: state` of what the register shows. */
  async states(filter: RegisterFilter = {}): Promise<Record<string, string>> {
    const { entries } = await this.store.register.list(filter, 1000, null)
    return Object.fromEntries(entries.map(({ id, state }) => [id, state]))
  }
}
