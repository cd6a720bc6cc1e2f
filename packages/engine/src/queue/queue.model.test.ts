import { type BrowsedMessage, type Queue, type QueueSettings } from '../index.ts'
import { EngineWorld, textOf } from '@stathmos/testkit'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

/** Pages, ring and files so small that everything is on disk, read back and collected all the time. */
const SMALL = {
  pageEntries: 4,
  ringBytes: 1024,
  coldBytes: 512,
  blockBytes: 256,
  fileBytes: 6144,
  checkpointBytes: 512,
}

interface Setup {
  readonly lengthMax: number | undefined
  readonly bytesMax: number | undefined
  readonly overflow: QueueSettings['overflow']
  readonly priorityMax: number | undefined
  readonly deliveryLimit: number | undefined
  readonly messageTtlMs: number | undefined
  readonly deadLetters: boolean
}

type Step =
  | { kind: 'publish'; count: number; priority: number; ttlMs: number; size: number; persistent: boolean }
  | { kind: 'get' }
  | { kind: 'consume'; count: number }
  | { kind: 'accept'; pick: number }
  | { kind: 'reject'; pick: number }
  | { kind: 'release'; pick: number; failed: boolean }
  | { kind: 'postpone'; pick: number; failed: boolean; delayMs: number }
  | { kind: 'purge' }
  | { kind: 'reopen' }
  | { kind: 'kill' }
  | { kind: 'elapse'; ms: number }

interface Entry {
  readonly text: string
  readonly size: number
  readonly lane: number
  readonly persistent: boolean
  readonly ownEndMs: number
  endMs: number
  order: number
  attempts: number
  redelivered: boolean
  taken: boolean
  ticket: number
}

/** What a queue does, in as few words as possible: a list, searched from the start for everything. */
class Model {
  readonly setup: Setup
  nowMs: number
  entries: Entry[] = []
  postponed: { entry: Entry; atMs: number }[] = []
  dead: { text: string; persistent: boolean }[] = []
  #order = 0

  constructor(setup: Setup, nowMs: number) {
    this.setup = setup
    this.nowMs = nowMs
  }

  get ready(): Entry[] {
    return this.entries.filter((entry) => !entry.taken)
  }

  get taken(): Entry[] {
    return this.entries.filter((entry) => entry.taken)
  }

  publish(text: string, step: Extract<Step, { kind: 'publish' }>): void {
    const { lengthMax = Infinity, bytesMax = Infinity, overflow, priorityMax = 0 } = this.setup
    const { size, persistent } = step
    const full = this.ready.length >= lengthMax || bytesOf(this.ready) + size > bytesMax
    if (overflow !== 'drop-head' && full) {
      if (overflow === 'reject-dead-letter') this.#die({ text, persistent })
      return
    }
    const lane = Math.min(step.priority, priorityMax)
    const ownEndMs = step.ttlMs < 0 ? Infinity : this.nowMs + step.ttlMs
    const entry = { text, size, lane, persistent, ownEndMs, attempts: 0, redelivered: false, taken: false, ticket: -1 }
    this.#enter({ ...entry, order: 0, endMs: 0 })
    this.#dropHead()
  }

  take(): Entry | undefined {
    const first = this.ready[0]
    if (first !== undefined) first.taken = true
    return first
  }

  accept(entry: Entry): void {
    this.entries = this.entries.filter((other) => other !== entry)
  }

  giveUp(entry: Entry): void {
    this.accept(entry)
    this.#die(entry)
  }

  release(entry: Entry, failed: boolean, delayMs = 0): void {
    entry.attempts += failed ? 1 : 0
    if (failed && entry.attempts > (this.setup.deliveryLimit ?? Infinity)) return this.giveUp(entry)
    entry.redelivered = true
    entry.taken = false
    if (delayMs > 0) {
      this.accept(entry)
      this.postponed.push({ entry, atMs: this.nowMs + delayMs })
    } else this.#dropHead()
  }

  purge(): void {
    this.entries = this.taken
  }

  elapse(ms: number): void {
    const end = this.nowMs + ms
    for (;;) {
      for (const entry of this.ready) if (entry.endMs <= this.nowMs) this.giveUp(entry)
      for (const { entry } of this.postponed.filter(({ atMs }) => atMs <= this.nowMs)) this.#enter(entry)
      this.postponed = this.postponed.filter(({ atMs }) => atMs > this.nowMs)
      if (this.nowMs === end) return
      this.nowMs++
    }
  }

  restart(clean: boolean): void {
    this.entries = this.entries.filter(({ persistent }) => persistent)
    this.dead = this.dead.filter(({ persistent }) => persistent)
    this.postponed = this.postponed.filter(({ entry }) => entry.persistent)
    for (const entry of this.entries) {
      if (entry.taken || !clean) entry.redelivered = true
      entry.taken = false
    }
    this.#dropHead()
  }

  #enter(entry: Entry): void {
    entry.order = this.#order++
    entry.endMs = Math.min(entry.ownEndMs, this.nowMs + (this.setup.messageTtlMs ?? Infinity))
    this.entries.push(entry)
    this.entries.sort((one, other) => other.lane - one.lane || one.order - other.order)
  }

  #dropHead(): void {
    const { lengthMax = Infinity, bytesMax = Infinity, overflow } = this.setup
    if (overflow !== 'drop-head') return
    while (this.ready.length > lengthMax || (bytesOf(this.ready) > bytesMax && this.ready.length > 0)) {
      const lowest = Math.min(...this.ready.map(({ lane }) => lane))
      this.giveUp(this.ready.find(({ lane }) => lane === lowest)!)
    }
  }

  #die({ text, persistent }: { text: string; persistent: boolean }): void {
    if (this.setup.deadLetters) this.dead.push({ text, persistent })
  }
}

const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined, freq: 1 })

const setups: fc.Arbitrary<Setup> = fc.record({
  lengthMax: maybe(fc.integer({ min: 0, max: 12 })),
  bytesMax: maybe(fc.integer({ min: 0, max: 300 })),
  overflow: fc.constantFrom('drop-head', 'reject', 'reject-dead-letter'),
  priorityMax: maybe(fc.integer({ min: 1, max: 3 })),
  deliveryLimit: maybe(fc.integer({ min: 0, max: 2 })),
  messageTtlMs: maybe(fc.integer({ min: 1, max: 60 })),
  deadLetters: fc.boolean(),
})

const pick = fc.nat({ max: 20 })
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('publish' as const),
        count: fc.integer({ min: 1, max: 9 }),
        priority: fc.nat({ max: 4 }),
        ttlMs: fc.oneof(fc.constant(-1), fc.nat({ max: 80 })),
        size: fc.integer({ min: 8, max: 90 }),
        persistent: fc.boolean(),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('get' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('consume' as const), count: fc.integer({ min: 1, max: 12 }) }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('accept' as const, 'reject' as const), pick }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), pick, failed: fc.boolean() }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('postpone' as const),
        pick,
        failed: fc.boolean(),
        delayMs: fc.integer({ min: 1, max: 50 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom('purge' as const, 'reopen' as const, 'kill' as const) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('elapse' as const), ms: fc.integer({ min: 1, max: 60 }) }) },
  ),
  { maxLength: 40 },
)

class Comparison {
  readonly world: EngineWorld
  readonly model: Model
  #texts = 0

  constructor(world: EngineWorld, setup: Setup) {
    this.world = world
    this.model = new Model(setup, world.simulation.nowMs)
    const { lengthMax, bytesMax, overflow, priorityMax, deliveryLimit, messageTtlMs, deadLetters } = setup
    world.queue('dead')
    world.queue('q', {
      overflow,
      ...(lengthMax === undefined ? {} : { lengthMax }),
      ...(bytesMax === undefined ? {} : { bytesMax }),
      ...(priorityMax === undefined ? {} : { priorityMax }),
      ...(deliveryLimit === undefined ? {} : { deliveryLimit }),
      ...(messageTtlMs === undefined ? {} : { messageTtlMs }),
      ...(deadLetters ? { deadLetterExchange: '', deadLetterKey: 'dead' } : {}),
    })
  }

  get queue(): Queue {
    return this.world.vhost.queue('q')!
  }

  async run(step: Step): Promise<void> {
    await this.#do(step)
    await this.#elapse(1)
    await this.#compare()
  }

  async #do(step: Step): Promise<void> {
    const { world, model, queue } = this
    const { taken } = model
    switch (step.kind) {
      case 'publish':
        for (let i = 0; i < step.count; i++) {
          const text = `${this.#texts++}`.padEnd(step.size, '.')
          const { priority, ttlMs, persistent } = step
          world.publish('q', text, { priority, ttlMs, persistent })
          model.publish(text, step)
        }
        break
      case 'get': {
        const [delivered, expected] = [await world.get(queue), model.take()]
        expect(delivered?.text).toBe(expected?.text)
        if (delivered !== null && expected !== undefined) expected.ticket = delivered.ticket
        break
      }
      case 'consume': {
        const { inbox, consumer } = world.subscribe(queue, { credit: step.count })
        await this.#elapse(0)
        consumer.cancel()
        const expected = Array.from({ length: step.count }, () => model.take()).filter((entry) => entry !== undefined)
        expect(inbox.texts).toEqual(expected.map(({ text }) => text))
        for (const [i, entry] of expected.entries()) entry.ticket = inbox.got[i]!.ticket
        break
      }
      case 'purge':
        expect(queue.purge()).toBe(model.ready.length)
        model.purge()
        break
      case 'elapse':
        await this.#elapse(step.ms)
        break
      case 'reopen':
        await world.reopen()
        // What happens in time while it closes and opens happens to both.
        this.#catchUp()
        model.restart(true)
        break
      case 'kill':
        // Settlements without an answer are on disk a moment later.
        await this.#elapse(20)
        await world.kill()
        this.#catchUp()
        model.restart(false)
        break
      default: {
        const entry = taken[step.pick % Math.max(taken.length, 1)]
        if (entry === undefined) break
        if (step.kind === 'accept') {
          queue.accept(entry.ticket)
          model.accept(entry)
        } else if (step.kind === 'reject') {
          queue.reject(entry.ticket, 'rejected')
          model.giveUp(entry)
        } else if (step.kind === 'release') {
          queue.release(entry.ticket, { failed: step.failed })
          model.release(entry, step.failed)
        } else if (
          model.setup.overflow === 'drop-head' &&
          model.setup.lengthMax === undefined &&
          model.setup.bytesMax === undefined
        ) {
          queue.release(entry.ticket, { failed: step.failed, delayMs: step.delayMs })
          model.release(entry, step.failed, step.delayMs)
        }
      }
    }
  }

  #catchUp(): void {
    this.model.nowMs = this.world.simulation.nowMs
  }

  async #elapse(ms: number): Promise<void> {
    await this.world.simulation.finish(this.world.engine.durably())
    await this.world.simulation.elapse(ms)
    this.model.elapse(ms)
  }

  async #compare(): Promise<void> {
    const { world, model, queue } = this
    expect(world.engine.failed).toBeNull()
    const browsed = await world.simulation.finish(queue.browse({ limit: 1000 }))
    const seen = browsed.map((message: BrowsedMessage) => ({
      text: textOf(message.body),
      state: message.state,
      attempts: message.attempts,
      redelivered: message.redelivered,
    }))
    const expected = model.entries.map(({ text, taken, attempts, redelivered }) => ({
      text,
      state: taken ? 'in_flight' : 'ready',
      attempts,
      redelivered,
    }))
    expect(seen).toEqual(expected)
    expect([queue.ready, queue.inFlight]).toEqual([model.ready.length, model.taken.length])
    expect([queue.bytes, queue.readyBytes]).toEqual([bytesOf(model.entries), bytesOf(model.ready)])
    expect(world.vhost.schedule.size).toBe(model.postponed.length)
    const dead = await world.texts(world.vhost.queue('dead')!)
    expect(dead.toSorted()).toEqual(model.dead.map(({ text }) => text).toSorted())
  }
}

function bytesOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { size }) => sum + size, 0)
}

test('a queue does what a plain list would do, through limits, expiry, restarts and crashes', async () => {
  await fc.assert(
    fc.asyncProperty(setups, steps, async (setup, run) => {
      const world = await EngineWorld.open({ limits: SMALL })
      const comparison = new Comparison(world, setup)
      for (const step of run) await comparison.run(step)
      await world.close()
    }),
    {
      numRuns: Number(process.env['MODEL_RUNS'] ?? 150),
      ...(process.env['MODEL_SEED'] === undefined ? {} : { seed: Number(process.env['MODEL_SEED']) }),
    },
  )
}, 120_000)
