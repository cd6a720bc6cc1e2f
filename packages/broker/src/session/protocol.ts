import type { Engine } from '@stathmos/engine'
import type { Clock, Random } from '@stathmos/std'

import type { Peer } from './peer.ts'
import type { SessionRegistry } from './registry.ts'

export type { Peer } from './peer.ts'

/**
 * What a front-end is: a factory of sessions. A session is sans-I/O: bytes come in through
 * {@link Session}, bytes go out through the {@link Transport} it was opened with, and everything
 * else it needs is in the {@link World}. The same world and the same bytes give the same answers.
 */
export interface Protocol {
  /** What listeners, logs and metrics call it. */
  readonly name: string
  /** A session for a connection that was just accepted. May write at once. */
  open(transport: Transport): Session
}

/** One connection's conversation. The calls never throw for what a peer sent. */
export interface Session {
  /**
   * Bytes from the peer, in order, in pieces of any size. `chunk` belongs to the caller again when
   * the call returns, so one read buffer can serve every connection.
   */
  receive(chunk: Uint8Array): void
  /** The transport's backlog, once above zero, is empty again. */
  writable(): void
  /** The peer is gone or the transport failed: the last call. Deliveries return to their queues. */
  disconnected(): void
  /**
   * The broker is stopping: says goodbye in the protocol's way and ends the transport when the peer
   * has answered. Whoever calls it destroys the transport at a deadline of its own.
   */
  drain(reason: string): void
}

/** Where a session's bytes go. After {@link end} or {@link destroy} the other calls do nothing. */
export interface Transport {
  readonly peer: Peer
  /** Bytes written and not yet taken by the operating system. */
  readonly backlog: number
  /**
   * Sends `bytes`, which must not change before `release` is called. `release` may be called
   * during the call; null says that the bytes are a constant.
   */
  write(bytes: Uint8Array, release: (() => void) | null): void
  /** Asks for no more {@link Session.receive}. A chunk that was read already may still come. */
  pauseReading(): void
  resumeReading(): void
  /** Closes after what was written has been sent. A peer that does not close its side in good time is cut. */
  end(): void
  /** Closes now. */
  destroy(): void
}

/** Checks passwords, outside of the event loop's thread pool. */
export interface Authenticator {
  /**
   * False for an unknown user, a wrong password, and a user who may not come from this peer: one answer for all. No
   * promise where the answer is known already, or is not worth finding out: who guesses by the hundred costs a turn less.
   */
  verify(user: string, password: string, peer: Peer): boolean | Promise<boolean>
}

/** What every session of a broker shares. */
export interface World {
  readonly engine: Engine
  readonly clock: Clock
  readonly random: Random
  readonly authenticator: Authenticator
  readonly registry: SessionRegistry
  readonly limits: SessionLimits
}

export interface SessionLimits {
  /** Time to authenticate, ms. A peer that stalls before holds a socket and nothing else (RabbitMQ's handshake timeout). */
  readonly authenticateMs: number
  /** Largest body of a message, bytes, counted as it arrives (RabbitMQ 4's default). */
  readonly messageBytesMax: number
  /** Unsent bytes of one connection above which its consumers pause: about a tenth of a second of a fast link. */
  readonly backlogBytesHigh: number
}

export const SESSION_LIMITS: SessionLimits = {
  authenticateMs: 10_000,
  messageBytesMax: 16 * 1024 * 1024,
  backlogBytesHigh: 1024 * 1024,
}
