import type { Service } from '../service.ts'
import type { Store } from '../store/port.ts'
import { nextTurn, systemClock } from '../time/clock.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import type { Activity } from '../work/activity.ts'
import { agendaOf, type Agenda } from './agenda.ts'
import { TestProcess, type Ground } from './test-process.ts'

/** A service of a test, with the store that it has there. */
export interface Party<Tx> {
  readonly service: Service<Tx>
  readonly store: Store<Tx>
}

export interface WorldOptions {
  /** Of each service. */
  readonly processes: number
  /** Messages that the engine is about to hand over. */
  readonly handovers: Activity
  /** For how long {@link World.settled} lets time go on, in ms; null for not at all. */
  readonly patienceMs: number | null
}

/** Turns of the event loop between two looks whether everything is idle. */
const TURNS = 3
/** Looks in turns only: work on memory alone is through long before. */
const LOOKS_MAX = 40
/** The same where calls are delayed on purpose: time may go on before all of them have ended. */
const LOOKS_MAX_DELAYED = 6
/** Looks with a real pause between them, for handlers and stores that wait for something real. */
const PAUSES_MAX = 5
const PAUSES_SETTLING_MAX = 500
const PAUSE_MS = 2
/** New processes in the place of dead ones: more means that they die of something that does not end. */
const RESTARTS_MAX = 200

/** The running processes of a test, and the time that they live in. */
export class World<Tx> {
  readonly #parties: readonly Party<Tx>[]
  readonly #ground: Ground
  readonly #options: WorldOptions
  readonly #processes = new Map<Service<Tx>, TestProcess<Tx>[]>()
  readonly #starting = new Set<Promise<void>>()
  readonly #onlyMemory: boolean
  #count = 0
  /** Calls that move time on, or wait for it. */
  #busy = 0
  #closed = false
  /** Why the latest process that could not start did not. */
  #failure: unknown

  constructor(parties: readonly Party<Tx>[], ground: Ground, options: WorldOptions) {
    this.#parties = parties
    this.#ground = ground
    this.#options = options
    this.#onlyMemory = parties.every(({ store }) => store.name === 'memory')
  }

  get stores(): readonly Store<Tx>[] {
    return [...new Set(this.#parties.map(({ store }) => store))]
  }

  /** ms since 1970. */
  get startedAt(): number {
    return this.#ground.time.start
  }

  async start(): Promise<void> {
    for (const party of this.#parties) {
      await party.store.migrate()
      this.#processes.set(party.service, [])
      for (let n = 0; n < this.#options.processes; n++) await this.#begin(party)
    }
    // What is published before a service was there once, it never gets.
    while (this.#all.some(({ gone }) => gone)) {
      this.#revive()
      await Promise.allSettled(this.#starting)
    }
  }

  /** Something was committed for a service. */
  wake(service: Service<Tx>): void {
    for (const process of this.#processes.get(service) ?? []) {
      if (process.gone) continue
      process.runtime.wake()
      // Timers that were set are looked for at once.
      process.runtime.outbox.committed({ messages: 1, dueAt: this.#ground.time.now })
    }
  }

  advance(by: Duration): Promise<void> {
    return this.#moving(async () => {
      const until = this.#ground.time.now + milliseconds(by)
      await this.#calm(PAUSES_MAX)
      while (await this.#step(until)) await this.#calm(PAUSES_MAX)
      this.#ground.time.moveTo(until)
      await this.#calm(PAUSES_MAX)
    })
  }

  settled(): Promise<void> {
    const { patienceMs } = this.#options
    if (patienceMs !== null) return this.rested(patienceMs)
    return this.#moving(async () => {
      if (!(await this.#calm(PAUSES_SETTLING_MAX)))
        throw new Error(`not settled: ${await this.#stuck()}; it may wait for time, which clock.advance moves on`)
    })
  }

  rested(within: Duration): Promise<void> {
    return this.#moving(async () => {
      const until = this.#ground.time.now + milliseconds(within)
      for (;;) {
        const calm = await this.#calm(PAUSES_MAX)
        if (calm && !(await this.#owes())) return
        if (!(await this.#step(until))) throw new Error(`not at rest after ${within}: ${await this.#stuck()}`)
      }
    })
  }

  /**
   * Lets time go on wherever a scenario waits for something, until it ends, or waits for what died with a process.
   *
   * @throws what it throws, and when it waits for something else that never comes
   */
  async drive(scenario: Promise<void>, withinMs: number): Promise<void> {
    const until = this.#ground.time.now + withinMs
    let ended = false
    const done = scenario.finally(() => (ended = true))
    done.catch(() => {})
    for (;;) {
      for (let turn = 0; turn < TURNS && !ended; turn++) await nextTurn()
      if (ended) return done
      if (this.#busy > 0) continue
      await this.#calm(0)
      // It may have needed no time at all: a step could lead as far as to the next occurrence of a schedule.
      if (ended || this.#busy > 0 || (await this.#step(until))) continue
      if (this.#anyDied) return
      throw new Error('the scenario waits for something that never comes')
    }
  }

  async crash(service?: Service<Tx>): Promise<void> {
    const ended = service === undefined ? this.#all : (this.#processes.get(service) ?? [])
    for (const process of ended) process.crash()
    this.#revive()
    await Promise.all(this.#starting)
    await this.settled()
  }

  async close(): Promise<void> {
    this.#closed = true
    const stopping = Promise.allSettled(this.#all.map((process) => process.stop()))
    let stopped = false
    void stopping.then(() => (stopped = true))
    for (let look = 0; look < LOOKS_MAX && !stopped; look++) await this.#look(look)
    // A handler that waits for a time which never comes ends with its process.
    for (const process of this.#all) process.crash()
  }

  get #all(): readonly TestProcess<Tx>[] {
    return [...this.#processes.values()].flat()
  }

  /** Whether a process has died by now. */
  get #anyDied(): boolean {
    return this.#count > this.#parties.length * this.#options.processes || this.#all.some(({ gone }) => gone)
  }

  get #idle(): boolean {
    return this.#options.handovers.idle && this.#starting.size === 0 && this.#all.every(({ idle }) => idle)
  }

  async #moving<T>(work: () => Promise<T>): Promise<T> {
    this.#busy++
    try {
      return await work()
    } finally {
      this.#busy--
    }
  }

  async #begin({ service, store }: Party<Tx>): Promise<void> {
    const processes = this.#processes.get(service)!
    const process = new TestProcess(`${service.name}#${++this.#count}`, service, store, this.#ground)
    processes.push(process)
    const starting = process.start()
    this.#starting.add(starting)
    try {
      await starting
    } catch (error) {
      this.#failure = error
      // Where things go wrong on purpose, somebody starts it again.
      if (this.#options.patienceMs === null) throw error
    } finally {
      this.#starting.delete(starting)
    }
  }

  /** Somebody watches over processes: a new one takes the place of one that is gone. */
  #revive(): void {
    if (this.#closed) return
    for (const party of this.#parties) {
      const processes = this.#processes.get(party.service) ?? []
      const gone = processes.filter((process) => process.gone)
      for (const process of gone) {
        if (this.#count >= RESTARTS_MAX)
          throw new Error(`${process.name} is the last of ${RESTARTS_MAX} processes that ended`, {
            cause: this.#failure,
          })
        processes.splice(processes.indexOf(process), 1)
        // What it could not start because of is seen by the next look: it is gone again.
        this.#begin(party).catch(() => {})
      }
    }
  }

  /** Lets everything happen that needs no time. @returns whether there is an end to it */
  async #calm(pausesMax: number): Promise<boolean> {
    const looksMax = this.#options.patienceMs === null ? LOOKS_MAX + pausesMax : LOOKS_MAX_DELAYED
    for (let look = 0; look < looksMax; look++) {
      await this.#look(look)
      this.#revive()
      if (this.#ground.time.fire()) continue
      if (this.#idle && this.#all.every(({ gone }) => !gone)) return true
    }
    return false
  }

  async #look(look: number): Promise<void> {
    for (let turn = 0; turn < TURNS; turn++) await nextTurn()
    if (look >= LOOKS_MAX || (!this.#onlyMemory && !this.#idle))
      await new Promise<void>((resolve) => systemClock.after(PAUSE_MS, resolve))
  }

  /** Moves time on to what comes next and lets it begin. @returns false when that is later than `until` */
  async #step(until: number): Promise<boolean> {
    const { time } = this.#ground
    const nextAt = time.nextAt
    if (nextAt === null || nextAt > until) return false
    if (nextAt > time.now) time.moveTo(Math.max(nextAt, await this.#passable(until)))
    time.fire()
    return true
  }

  /** Until when there is nothing to be found, so that looks for it can be left out; 0 when nobody knows. */
  async #passable(until: number): Promise<number> {
    const { engine, time } = this.#ground
    const asking = this.#all.some(({ runtime, gone }) => !gone && runtime.asker.outstanding > 0)
    if (!this.#idle || engine.size > 0 || asking) return 0
    const times = [until, time.nextExactAt ?? until]
    for (const { owedInMs, laterInMs } of await this.#agendas()) {
      if (owedInMs === 0) return 0
      times.push(time.now + (owedInMs ?? Infinity), time.now + (laterInMs ?? Infinity))
    }
    return Math.min(...times)
  }

  async #owes(): Promise<boolean> {
    if (this.#ground.engine.size > 0) return true
    return (await this.#agendas()).some(({ owedInMs }) => owedInMs !== null)
  }

  async #agendas(): Promise<readonly Agenda[]> {
    const agendas: Agenda[] = []
    for (const { service, store } of this.#parties) agendas.push(await agendaOf(store, service))
    return agendas
  }

  async #stuck(): Promise<string> {
    const what: string[] = []
    for (const process of this.#all) if (!process.idle) what.push(`${process.name} is at work`)
    for (const { consumer, message } of this.#ground.chronicle.open())
      what.push(`${consumer} has not ended its transaction for ${message.type} ${message.key ?? message.id}`)
    const { size } = this.#ground.engine
    if (size > 0) what.push(`${size} ${size === 1 ? 'message is' : 'messages are'} at the engine`)
    for (const store of this.stores) {
      const { entries } = await store.register.list({ state: ['pending', 'waiting', 'retrying', 'running'] }, 10, null)
      for (const { type, key, id, consumer, state } of entries)
        what.push(`${type} ${key ?? id} is ${state}${consumer === '' ? ' in the outbox' : ` at ${consumer}`}`)
    }
    return what.length === 0 ? 'nobody says what it is' : what.join('; ')
  }
}
