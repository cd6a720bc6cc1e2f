import type { Surroundings } from '../surroundings.ts'
import type { Pump } from '../work/pump.ts'
import { sweepPump } from '../work/sweep.ts'
import type { CleanUpRule } from './message-settings.ts'

/**
 * Deletes what is done with and old enough by the settings of the external systems, a little at a time. Any number of
 * processes do it at once.
 */
export class CleanUp<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #rules: readonly CleanUpRule[]
  readonly #pump: Pump

  constructor(surroundings: Surroundings<Tx>, rules: readonly CleanUpRule[]) {
    const { clock, activity, log, random } = surroundings
    this.#surroundings = surroundings
    this.#rules = rules
    this.#pump = sweepPump({
      name: 'clean-up',
      clock,
      activity,
      log,
      random,
      sweep: (rowsMax) => this.#sweep(rowsMax),
    })
  }

  start(): void {
    if (this.#rules.length > 0) this.#pump.start()
  }

  async stop(): Promise<void> {
    await this.#pump.stop()
  }

  async #sweep(rowsMax: number): Promise<number> {
    const { store } = this.#surroundings
    const now = await store.now()
    let most = 0
    for (const { state, ageMs, contracts } of this.#rules)
      most = Math.max(most, await store.register.purge({ state, before: now - ageMs, contracts }, rowsMax))
    return most
  }
}
