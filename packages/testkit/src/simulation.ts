import { type Clock, type Random, seededRandom, systemClock, type Timer } from '@stathmos/std'

interface Happening {
  readonly atMs: number
  readonly order: number
  readonly fire: () => void
  cancelled: boolean
}

/** 2024-01-01 UTC: any moment will do, as long as it is always the same one. */
const FIRST_MOMENT_MS = 1_704_067_200_000

/**
 * A world with its own time: nothing happens between two {@link step}s, and the same seed gives the same
 * history. Promises that are ready are followed up within the step that made them ready.
 */
export class Simulation {
  readonly seed: number
  readonly random: Random
  readonly clock: Clock
  #nowMs: number
  #order = 0
  #steps = 0
  /** By moment, then by the order in which they were asked for. */
  #heap: Happening[] = []

  constructor(seed: number, startMs: number = FIRST_MOMENT_MS) {
    this.seed = seed
    this.random = seededRandom(seed)
    this.#nowMs = startMs
    this.clock = {
      now: () => Math.floor(this.#nowMs),
      monotonic: () => this.#nowMs - FIRST_MOMENT_MS,
      after: (delayMs, fire) => this.at(this.#nowMs + Math.max(delayMs, 0), fire),
      soon: (run) => void this.at(this.#nowMs, run),
    }
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** Steps made so far. */
  get steps(): number {
    return this.#steps
  }

  /** When the next thing happens; Infinity: nothing ever will. */
  get nextAtMs(): number {
    while (this.#heap.length > 0 && this.#heap[0]!.cancelled) this.#pop()
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY
  }

  /** An integer from 0 to `below` - 1. */
  pick(below: number): number {
    return this.random.uint32() % below
  }

  /** Has `fire` called at a moment. */
  at(atMs: number, fire: () => void): Timer {
    const happening: Happening = { atMs, order: this.#order++, fire, cancelled: false }
    this.#push(happening)
    return {
      cancel: () => {
        happening.cancelled = true
      },
    }
  }

  /** Resolves after this time of the simulation. */
  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.at(this.#nowMs + delayMs, resolve))
  }

  /** Lets the next thing happen, and everything that follows from it at once. `false`: there is none. */
  async step(): Promise<boolean> {
    if (this.nextAtMs === Number.POSITIVE_INFINITY) return false
    const next = this.#pop()
    this.#nowMs = Math.max(this.#nowMs, next.atMs)
    this.#steps++
    next.fire()
    await settled()
    return true
  }

  /** Steps until `done`. @throws when nothing is left to happen, or after `stepsMax` steps */
  async until(done: () => boolean, stepsMax = 1_000_000): Promise<void> {
    await settled()
    for (let i = 0; !done(); i++) {
      if (i === stepsMax) throw new Error(`seed ${this.seed}: not done after ${stepsMax} steps`)
      if (!(await this.step())) throw new Error(`seed ${this.seed}: nothing is left to happen, and it is not done`)
    }
  }

  /** Steps until the promise resolves, and hands its value on. */
  async finish<T>(promise: Promise<T>): Promise<T> {
    let over = false
    const end = (): void => {
      over = true
    }
    promise.then(end, end)
    await this.until(() => over)
    return promise
  }

  /** Lets this time pass. */
  async elapse(durationMs: number): Promise<void> {
    await settled()
    const end = this.#nowMs + durationMs
    while (this.nextAtMs <= end) await this.step()
    this.#nowMs = end
  }

  /** The process dies: nothing that it waited for will happen. */
  forgetAll(): void {
    this.#heap = []
  }

  #push(happening: Happening): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(happening)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (before(heap[parent]!, happening)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = happening
  }

  #pop(): Happening {
    const heap = this.#heap
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (before(last, heap[child]!)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }
}

/** A fresh world. The same seed gives the same one. */
export function simulate({ seed }: { readonly seed: number }): Simulation {
  return new Simulation(seed)
}

function before(one: Happening, other: Happening): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)
}

/** Resolves when no promise is left that could be followed up: the only thing that is taken from the real clock. */
function settled(): Promise<void> {
  return new Promise((resolve) => systemClock.soon(resolve))
}
