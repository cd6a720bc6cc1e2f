import type { DeathReason } from '../message/death.ts'
import type { MessageView } from '../message/message-view.ts'

/** A stored message that is to become a dead letter. */
export interface Doomed {
  readonly position: number
  /** Body and properties; of one that is not in memory, about that. */
  readonly bytes: number
}

/** The message at a position, if it is in memory; valid until the next call. */
export type FindBody = (position: number) => MessageView | null

export interface ReleaseOptions {
  /** The attempt failed: it counts toward the delivery limit. */
  readonly failed?: boolean
  /** Comes back after this time: at the end of the queue, or where nothing survives a restart, to its own place. */
  readonly delayMs?: number
  /** As with {@link Outcomes.reject}. */
  readonly find?: FindBody
}

/** How a delivery ends, or goes on: what whoever holds its ticket may ask of the queue. */
export interface Outcomes {
  /** The delivery was processed: the message is gone from this queue. Durable with the next frame. */
  accept(ticket: number): void
  /** The delivery comes back to its own place, marked as a repeat, or is given up at the delivery limit. */
  release(ticket: number, options?: ReleaseOptions): void
  /**
   * The delivery will never be processed: dead-lettered where the queue says so, else dropped. The dead letter is in
   * the open frame, with the settlement, when its body is in memory and none waits before it; with `find`, that is
   * where its body is looked for, and it waits for none.
   */
  reject(ticket: number, reason: DeathReason, find?: FindBody): void
  /** What would become a dead letter if the delivery were rejected now, or released as `failed`; null: nothing. */
  doomed(ticket: number, failed?: boolean): Doomed | null
  /** Gives the holder of a delivery `leaseMs` from now on. `false`: the delivery has ended. */
  renew(ticket: number, leaseMs: number): boolean
}
