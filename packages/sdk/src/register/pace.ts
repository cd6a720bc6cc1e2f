import { SdkError } from '../errors.ts'
import type { Clock } from '../time/clock.ts'

/** So many in a time: `50/s`, `600/m`, `1000/h`. */
export type Pace = `${number}/${'s' | 'm' | 'h'}`

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000 } as const

/** How often something is let through: short enough to be even, long enough to go in batches. */
const STEP_MS = 100

/** Lets batches through so that, over time, no more pass than the pace allows. */
export interface Pacer {
  /** The largest batch, at most the given one. */
  readonly batch: number
  /** Waits until so many more may pass. */
  after(count: number): Promise<void>
}

/**
 * @param batchMax the largest batch without a pace
 * @throws {SdkError} `invalid_declaration`
 */
export function pacer(clock: Clock, pace: Pace | undefined, batchMax: number): Pacer {
  if (pace === undefined) return { batch: batchMax, after: async () => {} }
  const match = /^(\d+(?:\.\d+)?)\/([smh])$/.exec(pace)
  const perMs = match === null ? 0 : Number(match[1]) / UNIT_MS[match[2] as keyof typeof UNIT_MS]
  if (!(perMs > 0))
    throw new SdkError('invalid_declaration', `the rate ${JSON.stringify(pace)} is none; write 50/s, 600/m or 1000/h`)
  return {
    batch: Math.max(1, Math.min(batchMax, Math.floor(perMs * STEP_MS))),
    after: (count) => new Promise((resolve) => void clock.after(count / perMs, resolve)),
  }
}
