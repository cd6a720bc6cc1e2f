import type { Random } from '../random.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import { SdkError } from '../errors.ts'

/** How often something is tried, and after which pauses. */
export interface RetryOptions {
  /** Attempts in all, the first one included. Default 10. */
  readonly attempts?: number
  /** Pause after the first failure. Default 1s. */
  readonly initial?: Duration
  /** What each pause is longer than the one before. Default 2. */
  readonly factor?: number
  /** The longest pause. Default 1h. */
  readonly max?: Duration
  /** Share of the pause that is random, so that what failed together does not come back together. Default 0.2. */
  readonly jitter?: number
}

/** When to try again, and when to give up. */
export interface RetryPolicy {
  readonly attempts: number
  /** Pause in ms after the given number of failed attempts (1 and up). */
  pauseMs(failed: number, random: Random): number
}

/** @throws {SdkError} `invalid_declaration` */
export function retryPolicy(options: RetryOptions = {}): RetryPolicy {
  const attempts = options.attempts ?? 10
  const factor = options.factor ?? 2
  const jitter = options.jitter ?? 0.2
  const initialMs = milliseconds(options.initial ?? '1s')
  const maxMs = milliseconds(options.max ?? '1h')
  if (!Number.isInteger(attempts) || attempts < 1)
    throw new SdkError('invalid_declaration', `retry.attempts is ${attempts}; it must be a whole number from 1`)
  if (!(factor >= 1)) throw new SdkError('invalid_declaration', `retry.factor is ${factor}; it must be at least 1`)
  if (!(jitter >= 0 && jitter <= 1))
    throw new SdkError('invalid_declaration', `retry.jitter is ${jitter}; it must be from 0 to 1`)
  return {
    attempts,
    pauseMs(failed, random) {
      const pauseMs = Math.min(initialMs * factor ** (failed - 1), maxMs)
      return Math.round(pauseMs * (1 - jitter + (2 * jitter * random.uint32()) / 2 ** 32))
    },
  }
}
