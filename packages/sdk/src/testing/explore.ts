import type { Service } from '../service.ts'
import type { Store } from '../store/port.ts'
import type { Clock } from '../time/clock.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import { Interleaving, RANDOM_SEEDS, type Dangers } from './interleaving.ts'
import { servicesOf, Testbed } from './testbed.ts'

/** What is explored, and what may go wrong in it. */
export interface ExploreOptions<Tx, State> {
  /** Makes the services, and all else that a run changes: called anew for each run. */
  readonly app: () => State & Explored<Tx>
  /**
   * `everywhere` (default) ends a process once at each step of the undisturbed run, and then up to two at steps by chance;
   * a number is the most of one run, all by chance.
   */
  readonly crashes?: 'everywhere' | number
  /** Most connections, to store or engine, that are lost in one run. Default: 1. */
  readonly losses?: number
  /** Whether deliveries come twice. Default: true. */
  readonly duplicates?: boolean
  /** Whether messages of different keys, and those without one, overtake each other. Default: `across-keys`. */
  readonly reorder?: 'across-keys' | false
  /** The longest that a call of store or engine takes; false: none takes any time. Default: 50ms. */
  readonly delays?: Duration | false
  /** How many runs. Default: 200. */
  readonly runs?: number
  /** Where the seeds of the runs by chance begin. Default: 0. Others give other runs. */
  readonly from?: number
  /** Only this run: that of a failure. */
  readonly seed?: number
  /** Processes of each service. Default: 1. */
  readonly processes?: number
  /** Where all services keep their messages in one run, made of its clock and of what `app` gave. Default: as for a testbed. */
  readonly store?: (clock: Clock, state: NoInfer<State>) => Store<Tx>
  /** For how long time goes on, at most, after the scenario and where it waits. Default: 1h. */
  readonly patience?: Duration
}

/** What a run is made of. */
export interface Explored<Tx> {
  readonly app: Service<Tx> | readonly Service<Tx>[]
}

/** What was explored. */
export interface Exploration {
  readonly runs: number
  /** Steps of the undisturbed run: calls of stores and transports, before and after each. */
  readonly steps: number
  /** Things that went wrong, of all runs. */
  readonly injected: number
  /** The steps of the last run, with what went wrong there. */
  readonly trace: readonly string[]
}

/** An invariant that did not hold, or a run that did not end. */
export class ExplorationFailure extends Error {
  override readonly name = 'ExplorationFailure'
  /** To be handed to `explore` for the same run; 0 is the one in which nothing goes wrong. */
  readonly seed: number
  /** What went wrong, as sentences. */
  readonly injected: readonly string[]
  readonly trace: readonly string[]

  constructor(seed: number, { injected, trace }: Interleaving, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const what = injected.length === 0 ? 'nothing went wrong' : injected.join('; ')
    super(`${reason}\n\nseed ${seed} (${what}); explore({ seed: ${seed} }) does it again`, { cause })
    this.seed = seed
    this.injected = injected
    this.trace = trace
  }
}

/** Crashes by chance in one run, beside those at each step once. */
const CRASHES_BY_CHANCE = 2
/** Of the runs, those that are for one crash at each step, where there are more steps than that. */
const SYSTEMATIC_SHARE = 0.6

/**
 * Runs a scenario many times, each time with other things that go wrong: processes die between any two calls of their
 * stores and transports and are started again, connections are lost, deliveries come twice and in another order, calls
 * take time. After each run it waits until everything is at rest and then asks for the invariants.
 *
 * The scenario's own calls of the testbed never fail; what it awaits of a service directly may die with the process, and
 * the run goes on without it. `settled` lets time go on there, until nothing is owed any more.
 *
 * A handler's own code cannot be ended by force: after its process has died it runs on to its next call of the store. It
 * has to be such that a call of the outside world, once begun, counts as having happened.
 *
 * @param scenario publishes, moves the clock; the same calls in every run
 * @param invariants throws when something is not as it has to be, whatever went wrong
 * @throws {ExplorationFailure} for the first run that fails
 */
export async function explore<Tx, State>(
  options: ExploreOptions<Tx, State>,
  scenario: (t: Testbed<Tx>, state: State) => Promise<void>,
  invariants: (t: Testbed<Tx>, state: State) => Promise<void> | void,
): Promise<Exploration> {
  const { app, processes = 1, crashes = 'everywhere', runs = 200, from = 0 } = options
  const patienceMs = milliseconds(options.patience ?? '1h')
  const dangers = dangersOf(options)

  const run = async (seed: number, steps: number): Promise<Interleaving> => {
    const interleaving = new Interleaving(seed, steps, dangers)
    const { chaos, pause } = interleaving
    const state = app()
    const { store } = options
    const given = store === undefined ? {} : { store: (clock: Clock) => store(clock, state) }
    const surroundings = { seed: 1, processes, ...given }
    const bed = new Testbed<Tx>(servicesOf(state.app), surroundings, {
      decide: (process) => (step) => interleaving.decide(process, step),
      chaos,
      pause,
      patienceMs,
    })
    try {
      await bed.drive(bed.start(), patienceMs)
      await bed.drive(scenario(bed, state), patienceMs)
      await bed.settled()
      interleaving.end()
      await invariants(bed, state)
    } catch (error) {
      throw new ExplorationFailure(seed, interleaving, error)
    } finally {
      interleaving.end()
      await bed.close()
    }
    return interleaving
  }

  const undisturbed = await run(0, 0)
  const steps = undisturbed.trace.length
  const seeds = options.seed === undefined ? seedsOf(runs, steps, crashes, from) : [options.seed]
  let injected = 0
  let last = undisturbed
  for (const next of seeds) {
    last = await run(next, steps)
    injected += last.injected.length
  }
  return { runs: seeds.length + 1, steps, injected, trace: last.trace }
}

function dangersOf<Tx, State>(options: ExploreOptions<Tx, State>): Dangers {
  const { crashes = 'everywhere', losses = 1, duplicates = true, reorder = 'across-keys', delays = '50ms' } = options
  return {
    crashesMax: crashes === 'everywhere' ? CRASHES_BY_CHANCE : crashes,
    lossesMax: losses,
    duplicates,
    reorder: reorder !== false,
    delayMsMax: delays === false ? 0 : milliseconds(delays),
  }
}

/** A crash at each step, or at steps evenly spread where there are too many, and then what chance brings. */
function seedsOf(runs: number, steps: number, crashes: 'everywhere' | number, from: number): readonly number[] {
  const all = steps <= runs ? steps : Math.ceil(runs * SYSTEMATIC_SHARE)
  const systematic = crashes === 'everywhere' ? all : 0
  const places = Array.from({ length: systematic }, (_, n) => 1 + Math.floor((n * steps) / systematic))
  const byChance = Array.from({ length: Math.max(runs - systematic, 0) }, (_, n) => RANDOM_SEEDS + from + n)
  return [...places, ...byChance]
}
