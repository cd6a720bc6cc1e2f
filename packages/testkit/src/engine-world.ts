import {
  type BrowsedMessage,
  type Consumer,
  Draft,
  type Engine,
  type EngineOptions,
  openEngine,
  type Queue,
  type QueueDefinition,
  type QueueSettings,
  type VHost,
} from '@stathmos/engine'
import { type Delivered, Inbox, textOf } from './contracts/inbox.ts'
import { MemoryFiles, type MemoryFilesOptions } from './memory-files.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { simulate, type Simulation } from './simulation.ts'

export interface EngineWorldOptions extends Partial<EngineOptions> {
  readonly seed?: number
  /** Calls of the disk take time, so that other things happen meanwhile. */
  readonly slowDisk?: boolean
  readonly disk?: MemoryFilesOptions
}

/** An engine in a world of its own: time stands still between calls, and the disk is in memory. */
export class EngineWorld {
  readonly simulation: Simulation
  files: MemoryFiles
  engine!: Engine
  readonly #options: EngineWorldOptions

  private constructor(simulation: Simulation, options: EngineWorldOptions) {
    this.simulation = simulation
    this.files = new MemoryFiles(options.disk)
    this.#options = options
  }

  static async open(options: EngineWorldOptions = {}): Promise<EngineWorld> {
    const world = new EngineWorld(simulate({ seed: options.seed ?? 1 }), options)
    await world.#open()
    return world
  }

  get vhost(): VHost {
    return this.engine.vhost('/')!
  }

  /** Stops in order and starts again. */
  async reopen(): Promise<void> {
    await this.simulation.finish(this.engine.close())
    this.simulation.forgetAll()
    await this.#open()
  }

  /** The process dies, and another one starts on what it had written. */
  async kill(): Promise<void> {
    this.simulation.forgetAll()
    this.files = this.files.kill(this.#options.disk)
    await this.#open()
  }

  async close(): Promise<void> {
    await this.simulation.finish(this.engine.close())
  }

  /** Lets everything happen that is to happen now, and a moment later. */
  async settle(): Promise<void> {
    await this.simulation.finish(this.engine.durably())
    await this.simulation.elapse(1)
  }

  queue(name: string, settings: Partial<QueueSettings> = {}, rest: Partial<QueueDefinition> = {}): Queue {
    const definition: QueueDefinition = {
      name,
      durable: true,
      exclusive: false,
      autoDelete: false,
      opaque: '',
      ...rest,
      settings: { overflow: 'drop-head', ...settings },
    }
    return this.vhost.declareQueue(definition, null).queue
  }

  /** Publishes to the queue of that name, or to an exchange with that routing key. */
  publish(key: string, text: string, options: Partial<Draft> & { readonly exchange?: string } = {}): number {
    const { exchange = '', ...fields } = options
    const route = this.vhost.route(exchange, key)
    if (route === undefined) throw new Error(`there is no exchange "${exchange}"`)
    return this.vhost.publish(route, draftOf(text, fields))
  }

  subscribe(
    queue: Queue,
    options: Partial<Parameters<Queue['subscribe']>[0]> = {},
  ): { inbox: Inbox; consumer: Consumer } {
    const inbox = new Inbox(this.engine)
    const consumer = queue.subscribe({
      receiver: inbox,
      credit: Number.POSITIVE_INFINITY,
      autoAccept: false,
      ...options,
    })
    return { inbox, consumer }
  }

  /** Takes one message; null when there is none. */
  async get(queue: Queue, autoAccept = false, leaseMs?: number): Promise<Delivered | null> {
    const taken = new Promise<Delivered | null>((resolve) =>
      queue.get(
        autoAccept,
        (ticket, message) => {
          if (message === null) return resolve(null)
          const { redelivered, attempts } = message
          resolve({ ticket, text: textOf(message.body()), redelivered, attempts })
        },
        leaseMs === undefined ? {} : { leaseMs },
      ),
    )
    return this.simulation.finish(taken)
  }

  /** Texts of the messages in a queue, in order, whatever their state. */
  async texts(queue: Queue): Promise<string[]> {
    const messages = await this.simulation.finish(queue.browse({ limit: Number.POSITIVE_INFINITY }))
    return messages.map((message: BrowsedMessage) => textOf(message.body))
  }

  async #open(): Promise<void> {
    const { files, simulation } = this
    const opening = openEngine({
      dataDir: '/data',
      files: this.#options.slowDisk === true ? new SimulatedDisk(files, simulation) : files,
      clock: simulation.clock,
      random: simulation.random,
      ...this.#options,
      limits: { reserveBytes: 0, diskFreeMin: 0, ...this.#options.limits },
    })
    this.engine = await simulation.finish(opening)
  }
}

export function draftOf(text: string, fields: Partial<Draft> = {}): Draft {
  const body = new TextEncoder().encode(text)
  const bodyView = new DataView(body.buffer, body.byteOffset, body.byteLength)
  return Object.assign(new Draft(), { body, bodyView, bodyEnd: body.length, ...fields })
}
