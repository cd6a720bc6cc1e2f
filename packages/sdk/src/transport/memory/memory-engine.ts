import type { Message } from '../../message/message.ts'
import { BUCKETS } from '../../message/bucket.ts'
import { type Random, seededRandom } from '../../random.ts'
import type { Wired } from '../../wire/wire-form.ts'
import { queuesOf } from '../consumer-queues.ts'
import { bucketFor } from '../outgoing.ts'
import type { ConsumerTopology } from '../port.ts'
import { MemoryQueue, type QueueHost } from './memory-queue.ts'
import { MemoryTransport, type SharedEngine } from './memory-transport.ts'

/** What may go wrong between processes, decided by whoever explores it. What is left out never happens. */
export interface Chaos {
  /** Which of the `count` messages comes next that could: each is the first of its key in its queue. */
  pick?(count: number): number
  /** Whether a message that was accepted comes once more: its settlement was lost. */
  duplicate?(queue: string): boolean
  /**
   * What becomes of a call of `send`: `lost` stores nothing, `unanswered` stores everything, and both reject with
   * `transport_down`.
   */
  send?(messages: readonly Message[]): 'done' | 'lost' | 'unanswered'
}

/** What a test may decide of an engine in memory. */
export interface MemoryEngineOptions {
  /** Spreads messages without a key over partitions. */
  readonly random?: Random
  /** Largest body in bytes. Default: 16 MiB. */
  readonly bodyBytesMax?: number
  readonly chaos?: Chaos
  /** Runs a hand-over later, in any order that it likes. Default: as a microtask. */
  readonly defer?: (turn: () => void) => void
  /** Counts what is under way: called when a hand-over becomes due, and what it returns when that is over. */
  readonly begin?: () => () => void
}

const BODY_BYTES_MAX = 16 * 1024 * 1024

let engines = 0

/**
 * An engine in memory, for tests: any number of services and processes share it, each through a transport of its own.
 * It has no clock: what happens next depends on nothing but what was done before, and on {@link Chaos}.
 */
export class MemoryEngine implements QueueHost, SharedEngine {
  /** Another one for each engine of this process. */
  readonly name = `memory ${++engines}`
  readonly bodyBytesMax: number
  readonly chaos: Chaos
  readonly #options: MemoryEngineOptions
  readonly #random: Random
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #replies = new Map<string, (raw: Wired) => void>()
  readonly pick?: (count: number) => number
  #places = 0
  #addresses = 0

  constructor(options: MemoryEngineOptions = {}) {
    this.#options = options
    this.#random = options.random ?? seededRandom(1)
    this.chaos = options.chaos ?? {}
    this.bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_MAX
    const { chaos } = this
    if (chaos.pick !== undefined) this.pick = (count) => chaos.pick!(count)
  }

  /** A transport for one process; open it as any other. */
  transport(): MemoryTransport {
    return new MemoryTransport(this)
  }

  /** Messages that wait in a queue; what is in a process's hands is not among them. */
  waiting(queue: string): number {
    return this.#queues.get(queue)?.waiting ?? 0
  }

  /** Messages in all queues, those in processes' hands included. */
  get size(): number {
    let size = 0
    for (const queue of this.#queues.values()) size += queue.waiting + queue.unsettled
    return size
  }

  declare(topology: ConsumerTopology): MemoryQueue {
    const partitions = queuesOf(topology).length
    let queue = this.#queues.get(topology.queue)
    if (queue === undefined) {
      queue = new MemoryQueue(this, topology, partitions)
      this.#queues.set(topology.queue, queue)
    }
    return queue
  }

  /** Puts a message into every queue that it is for. `false`: there is none. */
  put(message: Message, raw: Wired): boolean {
    if (message.kind === 'reply') return this.#reply(message, raw)
    const bucket = bucketFor(message, this.#random) % BUCKETS
    let reached = false
    for (const queue of this.#queues.values()) {
      if (queue.topology.contract.type !== message.type) continue
      reached = true
      queue.put({ place: this.#places++, raw, key: message.key, redelivered: false }, bucket)
    }
    return reached
  }

  openReplies(service: string, receive: (raw: Wired) => void): { address: string; close: () => void } {
    const address = `${service}.replies.${++this.#addresses}`
    this.#replies.set(address, receive)
    return { address, close: () => this.#replies.delete(address) }
  }

  soon(turn: () => void): void {
    const end = this.#options.begin?.()
    const defer = this.#options.defer ?? queueMicrotask
    defer(() => {
      try {
        turn()
      } finally {
        end?.()
      }
    })
  }

  duplicates(queue: string): boolean {
    return this.chaos.duplicate?.(queue) ?? false
  }

  #reply(message: Message, raw: Wired): boolean {
    const address = message.metadata.replyTo
    if (address === undefined || !this.#replies.has(address)) return false
    this.soon(() => this.#replies.get(address)?.(raw))
    return true
  }
}

/**
 * Makes an engine in memory, on which services of one process meet: `memoryEngine().transport()`. Nothing of it
 * outlives the process.
 */
export function memoryEngine(options: MemoryEngineOptions = {}): MemoryEngine {
  return new MemoryEngine(options)
}
