import type { Surroundings } from '../surroundings.ts'
import { Pump } from '../work/pump.ts'
import type { CleanUpRule } from './message-settings.ts'

/** Rows of one statement: it holds locks for some milliseconds only. */
const ROWS_MAX = 500
/** Between statements as long as there is more, so that deleting never takes all of the database. */
const BETWEEN_MS = 100
/** Between looks when there is nothing to delete. */
const LOOK_MS = 300_000

/**
 * Deletes what is done with and old enough by the settings of the external systems, a little at a time. Any number of
 * processes do it at once.
 */
export class CleanUp<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #rules: readonly CleanUpRule[]
  readonly #pump: Pump

  constructor(surroundings: Surroundings<Tx>, rules: readonly CleanUpRule[]) {
    const { clock, activity, log } = surroundings
    this.#surroundings = surroundings
    this.#rules = rules
    this.#pump = new Pump({ name: 'clean-up', clock, activity, log, turn: () => this.#turn() })
  }

  start(): void {
    if (this.#rules.length > 0) this.#pump.start()
  }

  async stop(): Promise<void> {
    await this.#pump.stop()
  }

  async #turn(): Promise<number> {
    const { store } = this.#surroundings
    const now = await store.now()
    let most = 0
    for (const { state, ageMs, contracts } of this.#rules)
      most = Math.max(most, await store.register.purge({ state, before: now - ageMs, contracts }, ROWS_MAX))
    return most >= ROWS_MAX ? BETWEEN_MS : LOOK_MS
  }
}
