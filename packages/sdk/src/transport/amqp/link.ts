import type { Log } from '../../log.ts'
import type { Random } from '../../random.ts'
import type { Clock, Timer } from '../../time/clock.ts'
import { transportDown } from '../outgoing.ts'
import type { AmqpConnection } from './client.ts'

export interface LinkOptions {
  /** For the log: `sending`, `receiving`. */
  readonly name: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  connect(): Promise<AmqpConnection>
  /** Makes what the connection is for, before anybody hears that it is up. When it rejects, the connection is given up. */
  up(connection: AmqpConnection): Promise<void>
  down(): void
  /** It is up, or no longer. */
  changed(): void
}

/** Pause before a connection is tried again: doubled each time, up to the maximum, and half of it is chance. */
const RETRY_MS = 100
const RETRY_MS_MAX = 30_000

/** A connection that comes back by itself, from when it was opened until it is closed. */
export class Link {
  readonly #options: LinkOptions
  #opening: Promise<void> | null = null
  #connection: AmqpConnection | null = null
  #timer: Timer | null = null
  #failures = 0
  #closed = false
  #blocked = false
  readonly #freed: (() => void)[] = []

  constructor(options: LinkOptions) {
    this.#options = options
  }

  /** Somebody asked for it. */
  get wanted(): boolean {
    return this.#opening !== null
  }

  /** The connection, when it is up. */
  get connection(): AmqpConnection | null {
    return this.#connection
  }

  /** Connects; once is enough. @throws {SdkError} `transport_down`, and it is not tried again by itself */
  open(): Promise<void> {
    this.#opening ??= this.#connect().catch((error: unknown) => {
      this.#opening = null
      throw transportDown(`the broker cannot be reached: ${reasonOf(error)}`, error)
    })
    return this.#opening
  }

  /** Resolves when the broker takes messages, or the connection is gone. */
  async untilTaken(): Promise<void> {
    while (this.#blocked) await new Promise<void>((resolve) => this.#freed.push(resolve))
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    const connection = this.#connection
    this.#lost(connection)
    // A connection that is lost while it says goodbye is closed as well.
    await connection?.close().catch(() => {})
  }

  async #connect(): Promise<void> {
    const connection = await this.#options.connect()
    let over = false
    connection.on('error', () => {})
    connection.on('close', () => {
      over = true
      this.#lost(connection)
    })
    connection.on('blocked', (reason) => {
      this.#options.log.warn({ link: this.#options.name, reason }, 'the broker takes no messages for now')
      this.#blocked = true
    })
    connection.on('unblocked', () => this.#free())
    try {
      await this.#options.up(connection)
      if (over || this.#closed) throw transportDown('the connection was lost at once')
    } catch (error) {
      if (!over) await connection.close().catch(() => {})
      throw error
    }
    this.#failures = 0
    this.#connection = connection
    this.#options.changed()
  }

  #lost(connection: AmqpConnection | null): void {
    if (connection === null || this.#connection !== connection) return
    this.#connection = null
    this.#free()
    this.#options.down()
    this.#options.changed()
    if (!this.#closed) this.#retry(null)
  }

  #retry(error: unknown): void {
    const { clock, random, log, name } = this.#options
    const pauseMs = Math.min(RETRY_MS * 2 ** this.#failures++, RETRY_MS_MAX)
    const inMs = Math.round(pauseMs / 2 + (pauseMs / 2) * (random.uint32() / 2 ** 32))
    log.warn({ link: name, err: error, againInMs: inMs }, 'the connection to the broker is lost; it is tried again')
    this.#timer = clock.after(inMs, () => void this.#again())
  }

  async #again(): Promise<void> {
    if (this.#closed) return
    try {
      await this.#connect()
    } catch (error) {
      if (!this.#closed) this.#retry(error)
    }
  }

  #free(): void {
    this.#blocked = false
    for (const resolve of this.#freed.splice(0)) resolve()
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || String((error as { code?: unknown }).code) : String(error)
}
