import type { DeathReason } from '../message/death.ts'

export interface ReleaseOptions {
  /** The attempt failed: it counts toward the delivery limit. */
  readonly failed?: boolean
  /** Comes back after this time: at the end of the queue, or where nothing survives a restart, to its own place. */
  readonly delayMs?: number
}

/** How a delivery ends, or goes on: what whoever holds its ticket may ask of the queue. */
export interface Outcomes {
  /** The delivery was processed: the message is gone from this queue. Durable with the next frame. */
  accept(ticket: number): void
  /** The delivery comes back to its own place, marked as a repeat, or is given up at the delivery limit. */
  release(ticket: number, options?: ReleaseOptions): void
  /** The delivery will never be processed: dead-lettered where the queue says so, else dropped. */
  reject(ticket: number, reason: DeathReason): void
  /** Gives the holder of a delivery `leaseMs` from now on. `false`: the delivery has ended. */
  renew(ticket: number, leaseMs: number): boolean
}
