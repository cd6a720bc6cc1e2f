import type { SdkError } from '../errors.ts'

/** A moment of one process at which something may go wrong. */
export interface Step {
  /** `outbox.add`, `transaction`, `commit`, `send`, `deliver`, `accept`, … */
  readonly call: string
  readonly when: 'before' | 'after'
}

/**
 * What goes wrong at a step:
 *
 * - `crash`: the process dies. What it awaits never comes, its transactions are rolled back, its connections are gone.
 * - `fail`: the connection is lost; the call rejects as retryable, whether it was done (`after`) or not (`before`).
 * - `duplicate`: a message is delivered twice. Only at `deliver`; nothing elsewhere.
 * - `delay`: the call takes a while. Nothing at `deliver`, `reply`, `accept` and `release`, which nobody waits for.
 */
export type Fault = 'crash' | 'fail' | 'duplicate' | 'delay'

/** Says at each step of a process what goes wrong there; null for nothing. */
export type Decide = (step: Step) => Fault | null

/** Rejects open transactions of a process that died. Nobody but the store underneath sees it. */
class Died extends Error {
  override readonly name = 'Died'
}

const forever: Promise<never> = new Promise<never>(() => {})

/** The life of one process, whose store and transport fail together. Another process has its own. */
export class Faults {
  readonly #decide: Decide
  readonly #pause: () => Promise<void>
  readonly #ends: (() => void)[] = []
  readonly #died: Promise<never>
  #crashed = false

  /** @param pause how long a delay is */
  constructor(decide: Decide, pause: () => Promise<void> = () => Promise.resolve()) {
    this.#decide = decide
    this.#pause = pause
    this.#died = new Promise<never>((_, reject) => {
      this.#ends.push(() => reject(new Died('the process died here')))
    })
    this.#died.catch(() => {})
  }

  get crashed(): boolean {
    return this.#crashed
  }

  /** Ends the process now. */
  crash(): void {
    if (this.#crashed) return
    this.#crashed = true
    for (const end of this.#ends) end()
  }

  /** Has `end` called when the process dies. */
  onCrash(end: () => void): void {
    this.#ends.push(end)
  }

  /** What goes wrong now, of what the caller can do something about. After the death: `crash`, again and again. */
  at(call: string, when: Step['when']): Fault | null {
    if (this.#crashed) return 'crash'
    const fault = this.#decide({ call, when })
    if (fault === 'crash') this.crash()
    return fault
  }

  /**
   * Resolves when the process gets past the step, and never when it dies there.
   *
   * @throws what `lost` makes when the connection is lost there
   */
  async pass(call: string, when: Step['when'], lost: () => SdkError): Promise<void> {
    const fault = this.at(call, when)
    if (fault === 'crash') return forever
    if (fault === 'fail') throw lost()
    if (fault === 'delay') await this.whileAlive(this.#pause)
  }

  /** Does `work` between two steps. Never settles when the process dies before, after or meanwhile. */
  async around<T>(call: string, lost: () => SdkError, work: () => Promise<T>): Promise<T> {
    await this.pass(call, 'before', lost)
    const result = await this.whileAlive(work)
    await this.pass(call, 'after', lost)
    return result
  }

  /** As `work`, but nothing comes of it once the process is dead. */
  async whileAlive<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work()
      return this.#crashed ? await forever : result
    } catch (error) {
      if (this.#crashed) return forever
      throw error
    }
  }

  /** As `work`, but rejects at once when the process dies: for whoever has something to undo then. */
  orDie<T>(work: () => Promise<T>): Promise<T> {
    return Promise.race([work(), this.#died])
  }
}
