import { type Engine, type EngineOptions, type Files, type Limits, openEngine } from '@stathmos/engine'
import { Ledger, type MemoryFiles, type Sighting, SimulatedDisk, Simulation } from '@stathmos/testkit'
import { Declarations } from './declarations.ts'
import { sightingOf, Station } from './station.ts'
import { CHURNING, declareAll, inOrderOfDeath, openAccounts, STANDARD_EXCHANGES } from './topology.ts'

/** So small that everything happens all the time: rolling, checkpoints, rewriting, reading back. */
const TINY: Partial<Limits> = {
  fileBytes: 8 * 1024,
  blockBytes: 512,
  ringBytes: 4 * 1024,
  coldBytes: 4 * 1024,
  checkpointBytes: 8 * 1024,
  pageEntries: 8,
  reserveBytes: 2000,
  openFilesMax: 3,
  diskFreeMin: 0,
}

/** What stands between the broker and the disk: nothing, faults, or a mistake that a test must find. */
export interface Ground {
  readonly files?: (files: Files, simulation: Simulation) => Files
  readonly openStore?: EngineOptions['openStore']
  /** Transactions reject, too, what may have to be read from disk for it. */
  readonly rejects?: boolean
  /** Storage may turn out to be beyond belief, and the broker must stop then. */
  readonly fails?: boolean
}

/** One data directory through all its lives, and what was promised on the way. */
export class History {
  readonly simulation: Simulation
  readonly ledger = new Ledger()
  readonly declarations = new Declarations()
  readonly ground: Ground
  files: MemoryFiles

  constructor(seed: number, files: MemoryFiles, ground: Ground = {}) {
    this.simulation = new Simulation(seed)
    this.files = files
    this.ground = ground
    openAccounts(this.ledger)
  }

  /** The process is gone, and nothing else. */
  kill(): void {
    this.files = this.files.kill()
  }

  /** The machine is without power. */
  cutPower(): void {
    this.files = this.files.crash(this.simulation.random)
  }
}

export interface LifeOptions {
  readonly actions: number
  /** The process dies at this call to the disk. */
  readonly crashAtCall?: number
  /** Ends in good order instead of being cut off. */
  readonly closes?: boolean
}

/** What came of a life. */
export interface Ending {
  readonly calls: number
  /** It ended in good order. */
  readonly closed: boolean
  /** Why the broker stopped by itself. */
  readonly failure: Error | null
}

/**
 * Opens the engine, compares what it recovered with the accounts, works it for a while and leaves the disk as
 * it is at the end.
 */
export async function live(history: History, options: LifeOptions): Promise<Ending> {
  const { simulation, ground } = history
  simulation.forgetAll()
  const found = history.files.kill()
  const limit = options.crashAtCall === undefined ? {} : { crashAtCall: options.crashAtCall }
  const disk = new SimulatedDisk(ground.files?.(history.files, simulation) ?? history.files, simulation, limit)
  const failures: Error[] = []
  const fail = (error: Error): void => {
    failures.push(error)
    disk.die()
  }
  const ending = (closed: boolean): Ending => {
    const failure = failures[0]
    if (failure !== undefined && ground.fails !== true) throw failure
    return { calls: disk.calls, closed, failure: failure ?? null }
  }
  let engine: Engine | null = null
  try {
    engine = await unlessDead(history, disk, openEngine(optionsOf(simulation, disk, ground, fail)))
  } catch (error) {
    fail(error as Error)
  }
  if (engine === null) return ending(false)
  // Only now: what a recovery saw that was cut off itself may still be lost.
  await audit(history, found)
  declareAll(engine.vhost('/')!)
  const station = new Station(engine, simulation, history, ground.rejects ?? false)
  for (let i = 0; i < options.actions && !disk.dead; i++) {
    station.act()
    for (let steps = simulation.pick(12); steps > 0 && !disk.dead; steps--) await simulation.step()
    if (simulation.pick(12) === 0 && !disk.dead) await simulation.elapse(simulation.pick(40))
    if (station.broken !== null) throw station.broken
  }
  if (options.closes !== true || disk.dead) return ending(false)
  const closing = station.close().then(() => true)
  const closed = (await unlessDead(history, disk, closing)) !== null
  if (station.broken !== null) throw station.broken
  return ending(closed)
}

function optionsOf(
  simulation: Simulation,
  files: Files,
  { openStore }: Ground,
  onFatal: (error: Error) => void,
): EngineOptions {
  const { clock, random } = simulation
  const limits = { ...TINY, fileBytes: 4096 * (1 + (simulation.seed % 4)), watchMs: 5000 }
  const options = { dataDir: '/data', files, clock, random, limits, standardExchanges: STANDARD_EXCHANGES, onFatal }
  return openStore === undefined ? options : { ...options, openStore }
}

async function unlessDead<T>({ simulation }: History, disk: SimulatedDisk, promise: Promise<T>): Promise<T | null> {
  let over = false
  const end = (): void => {
    over = true
  }
  promise.then(end, end)
  await simulation.until(() => over || disk.dead)
  return over ? promise : null
}

/** Recovers on a copy of the disk and compares all that is there with the accounts. */
async function audit(history: History, files: MemoryFiles): Promise<void> {
  const { found, present } = await inventory(files, history.simulation.nowMs, history.ground)
  history.ledger.survived(found)
  history.declarations.survived(present)
}

export interface Inventory {
  /** By queue, in the order in which it hands them out. */
  readonly found: ReadonlyMap<string, readonly Sighting[]>
  /** Names of what comes and goes. */
  readonly present: ReadonlySet<string>
}

/** Everything that a broker hands out that starts on these files, when all that was to come has come. */
export async function inventory(files: MemoryFiles, nowMs: number, ground: Ground = {}): Promise<Inventory> {
  const simulation = new Simulation(1, nowMs)
  const failures: Error[] = []
  const fail = (error: Error): void => void failures.push(error)
  // A fault that is armed for the life itself has no business here; a mistake that was built in has.
  const view = ground.fails === true ? files : (ground.files?.(files, simulation) ?? files)
  const engine = await simulation.finish(openEngine(optionsOf(simulation, view, ground, fail)))
  const vhost = engine.vhost('/')!
  await simulation.elapse(1000)
  const found = new Map<string, Sighting[]>()
  for (const queue of inOrderOfDeath(vhost)) {
    const sightings: Sighting[] = []
    found.set(queue.name, sightings)
    for (let empty = false; !empty;) {
      let answered = false
      queue.get(false, (_ticket, message) => {
        answered = true
        empty = message === null
        if (message !== null) sightings.push(sightingOf(queue.name, message))
      })
      await simulation.until(() => answered || failures.length > 0)
      for (const failure of failures) throw failure
    }
  }
  const present = new Set(CHURNING.filter((name) => vhost.queue(name) !== undefined))
  for (const { source, destination } of vhost.bindings()) {
    if (source === 'tidings') present.add(`${source} to ${destination.name}`)
  }
  await simulation.finish(engine.close())
  for (const failure of failures) throw failure
  return { found, present }
}
