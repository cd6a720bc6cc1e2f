import type { Headers } from '@stathmos/engine'

import type { Peer } from './peer.ts'

/** What an operator may know of a session, and the one thing an operator may do to it. Read anew at every look. */
export interface SessionInfo {
  readonly id: number
  readonly protocol: string
  /** Null until authenticated. */
  readonly user: string | null
  readonly vhost: string | null
  readonly peer: Peer
  readonly connectedAtMs: number
  /** What the client says of itself: product, version, name. Text of a stranger. */
  readonly clientProperties: Headers
  /** Seconds; 0 when off. */
  readonly heartbeatSeconds: number
  readonly blocked: boolean
  channels(): ChannelInfo[]
  /** Closes the session in the protocol's way and tells the peer why. */
  close(reason: string): void
}

export interface ChannelInfo {
  readonly number: number
  readonly consumerCount: number
  readonly unackedCount: number
  readonly unconfirmedCount: number
  readonly prefetchCount: number
  readonly globalPrefetchCount: number
  readonly confirming: boolean
  readonly transactional: boolean
}

/** The sessions that are connected now, by id. */
export class SessionRegistry {
  readonly #sessions = new Map<number, SessionInfo>()
  #nextId = 1

  /** Ids are never used twice while the broker runs. */
  nextId(): number {
    return this.#nextId++
  }

  add(info: SessionInfo): void {
    this.#sessions.set(info.id, info)
  }

  remove(id: number): void {
    this.#sessions.delete(id)
  }

  get(id: number): SessionInfo | undefined {
    return this.#sessions.get(id)
  }

  list(): Iterable<SessionInfo> {
    return this.#sessions.values()
  }

  get count(): number {
    return this.#sessions.size
  }
}
