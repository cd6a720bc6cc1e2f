import type { Random } from '../random.ts'
import { Pump, type PumpOptions } from './pump.ts'

/** Rows of one statement: it holds locks for some milliseconds only. */
const ROWS_MAX = 500
/** Between statements as long as there is more, so that deleting never takes all of the database. */
const BETWEEN_MS = 100
/** Between looks when there is nothing to delete. Processes spread over it by chance. */
const LOOK_MS = 300_000

export interface SweepOptions extends Omit<PumpOptions, 'turn'> {
  readonly random: Random
  /** Deletes at most so many rows in each statement. @returns the most that one of them deleted */
  readonly sweep: (rowsMax: number) => Promise<number>
}

/** A pump that deletes what is done with, a little at a time. Any number of processes do it at once. */
export function sweepPump({ random, sweep, ...options }: SweepOptions): Pump {
  return new Pump({
    ...options,
    async turn() {
      const most = await sweep(ROWS_MAX)
      return most >= ROWS_MAX ? BETWEEN_MS : Math.round(LOOK_MS * (0.5 + random.uint32() / 2 ** 32))
    },
  })
}
