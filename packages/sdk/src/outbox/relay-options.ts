import { SdkError } from '../errors.ts'
import { retryPolicy, type RetryOptions, type RetryPolicy } from '../retry/retry-policy.ts'
import { milliseconds, type Duration } from '../time/duration.ts'

/** How the relay sends what is in the outbox. */
export interface RelayOptions {
  /** Messages that are read, sent and marked at once. Default 500. */
  readonly batch?: number
  /**
   * Bytes of the bodies that are read, sent and marked at once; a message that is larger goes alone. With several batches
   * under way the relay holds as many times that in memory. Default 16 MiB.
   */
  readonly batchBytes?: number
  /** Batches under way at once when there is more than one batch to send. Default 2. */
  readonly lanes?: number
  /** How long this process may do nothing before others take over its buckets. Default 15s. */
  readonly lease?: Duration
  /** How long the engine may take for a batch; less than a third of the lease. Default 4s. */
  readonly timeout?: Duration
  /** The longest pause between two looks for messages and timers, when nothing says that there is something. Default 1s. */
  readonly poll?: Duration
  /** For messages that the engine did not take; failures of the connection do not count. */
  readonly retry?: RetryOptions
  /**
   * How long a command waits that no service has declared yet to handle: it is tried again after pauses of 1s to 5m, about
   * that long, however few attempts `retry` allows. `0s` parks it at once. Default 1d.
   */
  readonly consumerWait?: Duration
  /** After the last attempt. Default: `park-key` for messages with a key, `park-message` for others. */
  readonly onExhausted?: 'park-key' | 'park-message' | 'drop'
  /** Of messages whose time was over before they could be sent. Default `park`. */
  readonly onExpired?: 'park' | 'drop'
  /** Keeps sent messages, or those of some contracts, for the register, until the cleaner takes them. Default: they are deleted. */
  readonly keepSent?: boolean | ((contract: string) => boolean)
}

/** The same, checked, in ms. */
export interface RelaySettings {
  readonly batch: number
  readonly batchBytes: number
  readonly lanes: number
  readonly leaseMs: number
  readonly timeoutMs: number
  readonly pollMs: number
  readonly retry: RetryPolicy
  /** Of what nobody consumes yet. */
  readonly patience: RetryPolicy
  readonly onExhausted: 'park-key' | 'park-message' | 'drop'
  readonly onExpired: 'park' | 'drop'
  readonly keepSent: boolean | ((contract: string) => boolean)
}

/** Messages of one batch: statements and frames of a sane size. */
const BATCH_MAX = 10_000
const LANES_MAX = 16
/** Large enough for 500 messages of 32 KiB, and small beside what a process has. */
const BATCH_BYTES = 16 * 1024 * 1024
const BATCH_BYTES_MAX = 1024 * 1024 * 1024

/** Pauses of messages that nobody consumes yet, in ms: short in the minutes of a deployment, and no load in the hours after. */
const PATIENCE_MS = 1_000
const PATIENCE_MS_MAX = 300_000

/** @throws {SdkError} `invalid_declaration` */
export function relaySettings(options: RelayOptions = {}): RelaySettings {
  const batch = whole('batch', options.batch ?? 500, BATCH_MAX)
  const batchBytes = whole('batchBytes', options.batchBytes ?? BATCH_BYTES, BATCH_BYTES_MAX)
  const lanes = whole('lanes', options.lanes ?? 2, LANES_MAX)
  const leaseMs = milliseconds(options.lease ?? '15s')
  const timeoutMs = milliseconds(options.timeout ?? Math.min(4_000, Math.floor(leaseMs / 3.5)))
  // A batch that is begun right before the renewal has to be over before the lease is.
  if (!(timeoutMs > 0 && timeoutMs < leaseMs / 3))
    throw new SdkError(
      'invalid_declaration',
      `relay.timeout is ${timeoutMs} ms; it must be more than 0 and less than a third of relay.lease, which is ${leaseMs} ms`,
    )
  const pollMs = milliseconds(options.poll ?? '1s')
  if (!(pollMs > 0)) throw new SdkError('invalid_declaration', 'relay.poll is 0; give the longest pause, like 1s')
  return {
    batch,
    batchBytes,
    lanes,
    leaseMs,
    timeoutMs,
    pollMs,
    retry: retryPolicy(options.retry),
    patience: patienceOf(milliseconds(options.consumerWait ?? '1d')),
    onExhausted: options.onExhausted ?? 'park-key',
    onExpired: options.onExpired ?? 'park',
    keepSent: options.keepSent ?? false,
  }
}

/** As many attempts as it takes to wait that long. */
function patienceOf(totalMs: number): RetryPolicy {
  let attempts = 1
  let waitedMs = 0
  for (let pauseMs = PATIENCE_MS; waitedMs < totalMs && pauseMs < PATIENCE_MS_MAX; pauseMs *= 2) {
    waitedMs += pauseMs
    attempts++
  }
  if (waitedMs < totalMs) attempts += Math.ceil((totalMs - waitedMs) / PATIENCE_MS_MAX)
  return retryPolicy({ attempts, initial: PATIENCE_MS, max: PATIENCE_MS_MAX })
}

function whole(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value
  throw new SdkError('invalid_declaration', `relay.${name} is ${value}; it must be a whole number from 1 to ${max}`)
}
