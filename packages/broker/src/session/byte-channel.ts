import type { Peer, Protocol, Session, Transport } from './protocol.ts'

const LOCAL_PEER: Peer = { address: '127.0.0.1', port: 50_000, loopback: true, tls: false }

/**
 * A connection without a socket: drives a session with bytes and keeps what it sends. For tests
 * and simulations. What the session writes is "taken" at once, unless {@link stuck}.
 */
export class ByteChannel implements Transport {
  readonly peer: Peer
  readonly session: Session
  backlog = 0
  paused = false
  /** The session said goodbye and expects the peer to read the rest. */
  ended = false
  destroyed = false
  writes = 0
  #stuck = false
  #sent: Uint8Array[] = []
  readonly #releases: (() => void)[] = []

  constructor(protocol: Protocol, peer: Peer = LOCAL_PEER) {
    this.peer = peer
    this.session = protocol.open(this)
  }

  get open(): boolean {
    return !this.ended && !this.destroyed
  }

  /** The peer sends bytes. The array is overwritten afterwards, as a shared read buffer would be. */
  receive(bytes: Uint8Array): void {
    // Not `slice`: that of a Buffer is no copy.
    const chunk = new Uint8Array(bytes)
    this.session.receive(chunk)
    chunk.fill(0xdd)
  }

  /** What the session has sent since the last call. */
  take(): Uint8Array {
    let length = 0
    for (const piece of this.#sent) length += piece.length
    const all = new Uint8Array(length)
    let at = 0
    for (const piece of this.#sent) {
      all.set(piece, at)
      at += piece.length
    }
    this.#sent = []
    return all
  }

  /** The peer stops reading: what is written piles up. */
  stick(): void {
    this.#stuck = true
  }

  /** The peer reads again. */
  unstick(): void {
    this.#stuck = false
    this.backlog = 0
    for (const release of this.#releases.splice(0)) release()
    this.session.writable()
  }

  /** The peer is gone. */
  disconnect(): void {
    this.destroyed = true
    this.session.disconnected()
  }

  write(bytes: Uint8Array, release: (() => void) | null): void {
    if (!this.open) {
      release?.()
      return
    }
    this.writes++
    this.#sent.push(bytes.slice())
    if (!this.#stuck) {
      release?.()
      return
    }
    this.backlog += bytes.length
    if (release !== null) this.#releases.push(release)
  }

  pauseReading(): void {
    this.paused = true
  }

  resumeReading(): void {
    this.paused = false
  }

  end(): void {
    this.ended = true
  }

  destroy(): void {
    this.destroyed = true
  }
}
