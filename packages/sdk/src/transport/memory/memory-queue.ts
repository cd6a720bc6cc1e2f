import { Incoming } from '../incoming.ts'
import type { ConsumerTopology, Delivery, Subscription } from '../port.ts'
import type { Reading } from '../incoming.ts'
import { type Entry, Lane } from './lane.ts'

/** What a queue asks of the engine that it is in. */
export interface QueueHost {
  /** Runs `turn` soon, and never within the caller's call. */
  soon(turn: () => void): void
  pick?(count: number): number
  /** Whether a message that was just accepted comes once more, as after a settlement that was lost. */
  duplicates(queue: string): boolean
}

/** A consumer's queue with its lanes, one for each partition, and the processes that share them. */
export class MemoryQueue {
  readonly topology: ConsumerTopology
  readonly #host: QueueHost
  readonly #lanes: readonly { readonly lane: Lane; owner: Reader | null }[]
  readonly #readers: Reader[] = []
  #next = 0
  #turning = false

  constructor(host: QueueHost, topology: ConsumerTopology, partitions: number) {
    this.#host = host
    this.topology = topology
    this.#lanes = Array.from({ length: partitions }, () => ({ lane: new Lane(), owner: null }))
  }

  /** Messages that wait. */
  get waiting(): number {
    return this.#lanes.reduce((sum, { lane }) => sum + lane.size, 0)
  }

  /** Messages that were delivered and not settled. */
  get unsettled(): number {
    return this.#readers.reduce((sum, { held }) => sum + held.size, 0)
  }

  put(entry: Entry, bucket: number): void {
    this.#lanes[bucket % this.#lanes.length]!.lane.add(entry)
    this.#turnSoon()
  }

  read(reading: Reading, prefetch: number, receive: (delivery: Delivery) => void): Reader {
    const reader = new Reader(prefetch, () => this.#turnSoon())
    reader.deliver = (entry, partition) => {
      const { lane } = this.#lanes[partition]!
      const held: Held = { partition, entry, incoming: null }
      const incoming = new Incoming(entry.raw, entry.redelivered, reading, (outcome) => {
        reader.held.delete(held)
        if (outcome === 'release' || this.#host.duplicates(this.topology.queue))
          lane.add({ ...entry, redelivered: true })
        this.#turnSoon()
      })
      held.incoming = incoming
      reader.held.add(held)
      receive(incoming)
    }
    reader.lost = () => {
      for (const { entry, partition, incoming } of reader.held) {
        incoming?.revoke()
        this.#lanes[partition]!.lane.add({ ...entry, redelivered: true })
      }
      reader.held.clear()
      this.#turnSoon()
    }
    this.#readers.push(reader)
    this.#turnSoon()
    return reader
  }

  #turnSoon(): void {
    if (this.#turning) return
    this.#turning = true
    this.#host.soon(() => {
      this.#turning = false
      this.#turn()
    })
  }

  /** Delivers one message at most, so that whatever comes of it may come before the next. */
  #turn(): void {
    for (let i = this.#readers.length - 1; i >= 0; i--) if (this.#readers[i]!.gone) this.#readers.splice(i, 1)
    for (let n = 0; n < this.#lanes.length; n++) {
      const partition = (this.#next + n) % this.#lanes.length
      const reader = this.#readerOf(partition)
      if (reader === undefined) continue
      const entry = this.#lanes[partition]!.lane.take(this.#host.pick?.bind(this.#host))
      if (entry === undefined) continue
      this.#next++
      this.#turnSoon()
      reader.deliver(entry, partition)
      return
    }
  }

  #readerOf(partition: number): Reader | undefined {
    const readers = this.#readers
    if (!this.topology.ordered) {
      for (let n = 0; n < readers.length; n++) {
        const reader = readers[(this.#next + n) % readers.length]!
        if (reader.ableToTake) return reader
      }
      return undefined
    }
    const slot = this.#lanes[partition]!
    if (slot.owner?.holds(partition) !== true) {
      const present = readers.filter((reader) => reader.present)
      slot.owner = present[partition % present.length] ?? null
    }
    return slot.owner?.ableToTake === true ? slot.owner : undefined
  }
}

interface Held {
  readonly partition: number
  readonly entry: Entry
  incoming: Incoming | null
}

/** One process's subscription to a queue. */
export class Reader implements Subscription {
  readonly held = new Set<Held>()
  deliver: (entry: Entry, partition: number) => void = () => {}
  /** The process is gone, or its connection: what it holds goes back. */
  lost: () => void = () => {}
  readonly #prefetch: number
  readonly #changed: () => void
  #paused = false
  #closed = false
  #connected = true

  constructor(prefetch: number, changed: () => void) {
    this.#prefetch = prefetch
    this.#changed = changed
  }

  /** It may be handed messages, now or later. */
  get present(): boolean {
    return this.#connected && !this.#closed
  }

  get gone(): boolean {
    return this.#closed && this.held.size === 0
  }

  get ableToTake(): boolean {
    return this.present && !this.#paused && this.held.size < this.#prefetch
  }

  holds(partition: number): boolean {
    for (const held of this.held) if (held.partition === partition) return true
    return false
  }

  connect(connected: boolean): void {
    this.#connected = connected
    if (!connected) this.lost()
    this.#changed()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#changed()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#changed()
  }
}
