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
  /** It is up, or no longer; takes messages, or no longer. */
  changed(): void
}

/** Pause before a connection is tried again: doubled each time, up to the maximum, and half of it is chance. */
const RETRY_MS = 100
const RETRY_MS_MAX = 30_000
/** For how long a goodbye is waited for: a broker that takes no messages may not read it either. */
const CLOSE_MS = 2_000

/** A connection that comes back by itself, from when it was opened until it is closed. */
export class Link {
  readonly #options: LinkOptions
  #opening: Promise<void> | null = null
  #connection: AmqpConnection | null = null
  #timer: Timer | null = null
  #failures = 0
  #closed = false
  #blocked = false
  readonly #onBlocked = new Set<() => void>()

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

  /** The broker is short of memory or disk, and has said that it takes no messages over this connection. */
  get blocked(): boolean {
    return this.#blocked
  }

  /** Calls `blocked` whenever the broker takes messages no longer. Returns what ends it. */
  onBlocked(blocked: () => void): () => void {
    this.#onBlocked.add(blocked)
    return () => this.#onBlocked.delete(blocked)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    const connection = this.#connection
    this.#lost(connection)
    if (connection !== null) await this.#sayGoodbye(connection)
  }

  async #sayGoodbye(connection: AmqpConnection): Promise<void> {
    let unheard: Timer | null = null
    await Promise.race([
      // A connection that is lost while it says goodbye is closed as well.
      connection.close().catch(() => {}),
      new Promise<void>((resolve) => (unheard = this.#options.clock.after(CLOSE_MS, resolve))),
    ])
    ;(unheard as Timer | null)?.cancel()
    // What was not heard is cut off: the process could not end before.
    connection.connection?.stream?.destroy()
  }

  async #connect(): Promise<void> {
    const connection = await this.#options.connect()
    this.#blocked = false
    let over = false
    connection.on('error', () => {})
    connection.on('close', () => {
      over = true
      this.#lost(connection)
    })
    connection.on('blocked', (reason) => {
      this.#options.log.warn({ link: this.#options.name, reason }, 'the broker takes no messages for now')
      this.#setBlocked(true)
    })
    connection.on('unblocked', () => this.#setBlocked(false))
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
    this.#blocked = false
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

  #setBlocked(blocked: boolean): void {
    this.#blocked = blocked
    if (blocked) for (const tell of this.#onBlocked) tell()
    this.#options.changed()
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || String((error as { code?: unknown }).code) : String(error)
}
