import { FRAME_STORE_LIMITS, type FrameStoreLimits } from './storage/frame-store.ts'

/** Every bound of the engine, by name. */
export interface Limits extends FrameStoreLimits {
  readonly ringBytes: number
  readonly coldBytes: number
  readonly pageEntries: number
  readonly fullRetryMs: number
  readonly pendingBytesMax: number
  readonly checkpointBytes: number
  readonly routesMax: number
  readonly queuesMax: number
  readonly transactionBytesMax: number
  readonly diskFreeMin: number
  readonly memoryMax: number
  readonly watchMs: number
  readonly scrubMs: number
  readonly scrubBytes: number
}

export const LIMITS: Limits = {
  ...FRAME_STORE_LIMITS,
  /**
   * Recent frames in memory: consumers that keep up within so many bytes never touch the disk. A tenth of a second at
   * full speed; twice as much is no faster and costs its size in resident memory.
   */
  ringBytes: 16 * 1024 * 1024,
  /** Blocks read back for consumers that lag, all of them together. */
  coldBytes: 32 * 1024 * 1024,
  /** Entries of an index page: the unit in which the index of a long queue leaves memory, some 50 KiB. */
  pageEntries: 4096,
  /** A full disk is tried again so often. */
  fullRetryMs: 250,
  /** Bytes that may wait for the disk before senders are no longer read. */
  pendingBytesMax: 16 * 1024 * 1024,
  /** Journal between two checkpoints: what recovery reads at most is this and what came during the last one. */
  checkpointBytes: 64 * 1024 * 1024,
  /** Interned routes of a vhost, about 300 bytes each. */
  routesMax: 65_536,
  /** Queues of a vhost, about 2 KiB of memory each. */
  queuesMax: 100_000,
  /** Messages that a transaction publishes or dead-letters. It is one frame, and a frame must fit into memory twice. */
  transactionBytesMax: 64 * 1024 * 1024,
  /** Publishers are blocked below so much room on the disk: two journal files and a checkpoint. */
  diskFreeMin: 160 * 1024 * 1024,
  /** Publishers are blocked above so much resident memory; the broker hands in what its machine allows. */
  memoryMax: Number.POSITIVE_INFINITY,
  /** How often disk and memory are looked at. */
  watchMs: 1000,
  /** So often a piece of what nobody reads is checked on the disk … */
  scrubMs: 1000,
  /** … of about so many bytes: a block, some 20 GiB a day. */
  scrubBytes: 256 * 1024,
}
