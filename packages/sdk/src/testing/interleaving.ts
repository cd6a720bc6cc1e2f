import { seededRandom, type Random } from '../random.ts'
import { nextTurn, type Clock } from '../time/clock.ts'
import type { Chaos } from '../transport/memory/index.ts'
import type { Fault, Step } from './faults.ts'

/** What may go wrong in a run, and how often. */
export interface Dangers {
  /** Most crashes of one run. */
  readonly crashesMax: number
  /** Most connections that are lost in one run. */
  readonly lossesMax: number
  readonly duplicates: boolean
  readonly reorder: boolean
  /** The longest delay, in ms; 0 for none. */
  readonly delayMsMax: number
}

/** Seeds below this one are numbers of steps, at which there is one crash and nothing else. */
export const RANDOM_SEEDS = 1_000_000

/** Of a hundred steps that could be delayed, and deliveries that could come twice. */
const DELAYED_PERCENT = 8
const DUPLICATED_PERCENT = 10
/** Delays of no time at all: in turns of the event loop, so that others come first. */
const TURNS_MAX = 5

/** Steps that nobody waits for. */
const UNDELAYED: ReadonlySet<string> = new Set(['deliver', 'reply', 'accept', 'release'])

/**
 * One way in which a scenario can go: decides at each step of each process what goes wrong there. The same seed decides
 * the same at the same steps, and as long as all else is the same, too, the steps are the same.
 */
export class Interleaving {
  /** All steps, as `shop#1 outbox.add before`, with what went wrong there. */
  readonly trace: string[] = []
  /** What went wrong, as sentences. */
  readonly injected: string[] = []
  readonly #random: Random
  readonly #dangers: Dangers | null
  readonly #crashes: ReadonlySet<number>
  readonly #losses: ReadonlySet<number>
  #over = false

  /**
   * @param seed 0 for nothing at all, below {@link RANDOM_SEEDS} a crash at that step, otherwise by chance
   * @param steps how many there are about
   */
  constructor(seed: number, steps: number, dangers: Dangers) {
    this.#random = seededRandom(seed)
    const isRandom = seed >= RANDOM_SEEDS
    this.#dangers = isRandom ? dangers : null
    if (isRandom) {
      this.#crashes = this.#places(dangers.crashesMax, steps)
      this.#losses = this.#places(dangers.lossesMax, steps)
    } else {
      this.#crashes = new Set(seed === 0 ? [] : [seed])
      this.#losses = new Set()
    }
  }

  /** What goes wrong at a step of the process. */
  readonly decide = (process: string, { call, when }: Step): Fault | null => {
    const fault = this.#over ? null : this.#fault(call)
    const step = `${process} ${call} ${when}`
    this.trace.push(fault === null ? step : `${step}: ${fault}`)
    if (fault === 'crash') this.#tell(`${process} dies ${when} ${call}`)
    if (fault === 'fail') this.#tell(`${process} loses its connection ${when} ${call}`)
    if (fault === 'duplicate') this.#tell(`a delivery to ${process} comes twice`)
    return fault
  }

  /** What goes wrong at the engine. */
  get chaos(): Chaos {
    const dangers = this.#dangers
    if (dangers === null) return {}
    return {
      ...(dangers.reorder ? { pick: (count: number) => this.#below(count) } : {}),
      duplicate: (queue) => {
        if (this.#over || !dangers.duplicates || !this.#chance(DUPLICATED_PERCENT)) return false
        this.#tell(`a message of ${queue} comes again after it was accepted`)
        return true
      },
    }
  }

  /** Takes as long as a delay is. */
  readonly pause = async (clock: Clock): Promise<void> => {
    const delayMsMax = this.#dangers?.delayMsMax ?? 0
    if (this.#chance(50)) for (let turns = this.#below(TURNS_MAX) + 1; turns > 0; turns--) await nextTurn()
    else await new Promise<void>((resolve) => clock.after(this.#below(delayMsMax) + 1, resolve))
  }

  /** From now on nothing goes wrong any more. */
  end(): void {
    this.#over = true
  }

  #fault(call: string): Fault | null {
    const place = this.trace.length + 1
    if (this.#crashes.has(place)) return 'crash'
    if (this.#losses.has(place)) return 'fail'
    if (this.#dangers === null) return null
    const { duplicates, delayMsMax } = this.#dangers
    if (call === 'deliver') return duplicates && this.#chance(DUPLICATED_PERCENT) ? 'duplicate' : null
    return delayMsMax > 0 && !UNDELAYED.has(call) && this.#chance(DELAYED_PERCENT) ? 'delay' : null
  }

  /** Beyond the steps that are known: what goes wrong makes more of them. */
  #places(max: number, steps: number): Set<number> {
    const count = max === 0 ? 0 : this.#below(max + 1)
    return new Set(Array.from({ length: count }, () => 1 + this.#below(Math.ceil(steps * 1.5))))
  }

  #tell(what: string): void {
    this.injected.push(`step ${this.trace.length}: ${what}`)
  }

  #chance(percent: number): boolean {
    return this.#below(100) < percent
  }

  #below(count: number): number {
    return this.#random.uint32() % Math.max(count, 1)
  }
}
