import type { Socket } from 'node:net'
import type { Clock, Timer } from '@stathmos/std'
import { isLoopback } from './loopback.ts'
import { readShared } from './shared-reads.ts'
import type { Peer, Protocol, Session, Transport } from '../session/protocol.ts'

/** How long a peer may take to read our last bytes and close, once we have said goodbye. */
const LINGER_MS = 5_000

/** Silence after which the kernel asks whether the peer's machine is still there, for peers without heartbeats. */
const KEEP_ALIVE_MS = 60_000

/** One accepted socket and the session that talks through it. */
export class Connection implements Transport {
  readonly peer: Peer
  readonly #socket: Socket
  readonly #session: Session
  readonly #clock: Clock
  /** What to call for each write that is under way, in order; null where nobody waits. */
  readonly #releases: ((() => void) | null)[] = []
  #backlogged = false
  #linger: Timer | null = null

  /** @param accepted from a server with `pauseOnConnect` */
  constructor(accepted: Socket, protocol: Protocol, clock: Clock, closed: () => void) {
    const socket = readShared(accepted, (chunk) => this.#session.receive(chunk))
    this.#socket = socket
    this.#clock = clock
    const address = socket.remoteAddress ?? ''
    this.peer = { address, port: socket.remotePort ?? 0, loopback: isLoopback(address), tls: false }
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    this.#session = protocol.open(this)
    // Every error is followed by "close", which tells the session; a peer that resets is nothing to report.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#linger?.cancel()
      this.#session.disconnected()
      closed()
    })
  }

  get backlog(): number {
    return this.#socket.writableLength
  }

  write(bytes: Uint8Array, release: (() => void) | null): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) {
      release?.()
      return
    }
    this.#releases.push(release)
    this.#socket.write(bytes, this.#written)
    if (this.#socket.writableLength > 0) this.#backlogged = true
  }

  pauseReading(): void {
    this.#socket.pause()
  }

  resumeReading(): void {
    this.#socket.resume()
  }

  end(): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return
    this.#socket.end()
    this.#linger = this.#clock.after(LINGER_MS, () => this.destroy())
  }

  destroy(): void {
    this.#socket.destroy()
  }

  drain(reason: string): void {
    this.#session.drain(reason)
  }

  /** One function for all writes: the socket finishes them in order, those of a broken connection too. */
  readonly #written = (): void => {
    this.#releases.shift()?.()
    if (!this.#backlogged || this.#socket.writableLength > 0) return
    this.#backlogged = false
    if (!this.#socket.destroyed) this.#session.writable()
  }
}
