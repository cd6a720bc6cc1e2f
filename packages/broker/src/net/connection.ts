import type { Socket } from 'node:net'
import type { Clock, Timer } from '@stathmos/std'
import { isLoopback } from './loopback.ts'
import { readShared } from './shared-reads.ts'
import type { Peer, Protocol, Session, Transport } from '../session/protocol.ts'

/** How long a peer may take to read our last bytes and close, once we have said goodbye. */
const LINGER_MS = 5_000

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

  /** @param socket accepted by a server with `pauseOnConnect` */
  constructor(socket: Socket, protocol: Protocol, clock: Clock, closed: () => void) {
    this.#socket = socket
    this.#clock = clock
    const address = socket.remoteAddress ?? ''
    this.peer = { address, port: socket.remotePort ?? 0, loopback: isLoopback(address), tls: false }
    this.#session = protocol.open(this)
    readShared(socket, (chunk) => this.#session.receive(chunk))
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
    if (this.#linger === null) this.#socket.pause()
  }

  resumeReading(): void {
    this.#socket.resume()
  }

  end(): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return
    this.#socket.end()
    // A session may end while it has reading paused; the peer's close has to be seen, or the socket lingers for nothing.
    this.#socket.resume()
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
