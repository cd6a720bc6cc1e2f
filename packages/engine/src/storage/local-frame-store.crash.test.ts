import { assert, seededRandom } from '@stathmos/std'
import type { Random } from '@stathmos/std'
import { FaultyFiles, MemoryFiles, MUTATIONS, mutantFiles } from '@stathmos/testkit'
import type { Fault, Mutation } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import type { FileTable } from './file-table.ts'
import type { Files } from './files.ts'
import { FRAME_HEADER_BYTES } from './frame.ts'
import { LocalFrameStore } from './local-frame-store.ts'
import { systemCode } from './storage-errors.ts'

const LIMITS = { fileBytes: 6000, blockBytes: 700, reserveBytes: 5000, openFilesMax: 3 }

/** What outlives every process: who was told what. */
interface World {
  /** Text of every record whose write was confirmed, by position; settled ones are gone. */
  readonly confirmed: Map<number, string>
  /** The record in flight when the process died, which may be there or not. */
  inFlight: { readonly position: number; readonly text: string } | null
}

interface StoredCheckpoint {
  readonly position: number
  readonly table: FileTable
  /** Position and length of every living record. */
  readonly live: readonly (readonly [number, number])[]
}

/** The smallest engine that uses everything of a frame store: one record a frame, checkpoints, rewrites. */
class Engine {
  readonly #files: Files
  readonly #world: World
  readonly #store: LocalFrameStore
  readonly #live: Map<number, number>

  private constructor(files: Files, world: World, store: LocalFrameStore, live: Map<number, number>) {
    this.#files = files
    this.#world = world
    this.#store = store
    this.#live = live
  }

  /** Recovers, and checks that every confirmed record is there as it was written. */
  static async recover(files: Files, world: World, random: Random): Promise<Engine> {
    await files.makeDirectory('/data')
    await files.syncDirectory('/')
    const checkpoint = await readCheckpoint(files)
    const options = { files, directory: '/data', random, limits: LIMITS, table: checkpoint?.table ?? null }
    const store = await LocalFrameStore.open(options)
    const live = new Map(checkpoint?.live)
    for (const position of live.keys()) store.hold(position, 1)
    await store.replay(checkpoint?.position ?? 0, ({ position, start, end }) => {
      live.set(position + FRAME_HEADER_BYTES, end - start)
      store.hold(position + FRAME_HEADER_BYTES, 1)
    })
    const flight = world.inFlight
    if (flight !== null && live.has(flight.position)) world.confirmed.set(flight.position, flight.text)
    world.inFlight = null
    const engine = new Engine(files, world, store, live)
    await engine.check()
    return engine
  }

  async check(): Promise<void> {
    for (const [position, text] of this.#world.confirmed) {
      assert(this.#live.get(position) === text.length, `the record at ${position} is lost`)
      const block = await this.#store.readBlock(position)
      const offset = block.offsetOf(position)
      const found = Buffer.from(block.bytes.subarray(offset, offset + text.length)).toString()
      assert(found === text, `the record at ${position} is another`)
    }
  }

  async run(steps: number, random: Random): Promise<void> {
    for (let step = 0; step < steps; step++) {
      await this.#write(`${step}:`.padEnd(10 + (random.uint32() % 1200), String(random.uint32())))
      if (random.uint32() % 3 > 0) this.#settle(random)
      if (random.uint32() % 8 === 0) await this.#checkpoint()
      if (random.uint32() % 16 === 0) await this.#rewrite()
    }
  }

  async #write(text: string): Promise<void> {
    const position = this.#store.end + FRAME_HEADER_BYTES
    this.#world.inFlight = { position, text }
    this.#store.hold(position, 1)
    await this.#store.write([new Uint8Array(FRAME_HEADER_BYTES), Buffer.from(text)], FRAME_HEADER_BYTES + text.length)
    this.#world.inFlight = null
    this.#world.confirmed.set(position, text)
    this.#live.set(position, text.length)
  }

  /** Settles a few; a crash may undo it, but never bring back another text. */
  #settle(random: Random): void {
    const positions = [...this.#live.keys()]
    for (let count = random.uint32() % 4; count > 0 && positions.length > 0; count--) {
      // The old ones rather than the young, so that files die.
      const position = positions.splice((random.uint32() % positions.length) >>> 1, 1)[0]!
      this.#store.letGo(position, 1)
      this.#live.delete(position)
      this.#world.confirmed.delete(position)
    }
  }

  async #checkpoint(): Promise<void> {
    const position = this.#store.end
    const checkpoint: StoredCheckpoint = { position, table: this.#store.table(position), live: [...this.#live] }
    const bytes = Buffer.from(JSON.stringify(checkpoint))
    await this.#files.remove('/data/checkpoint.tmp')
    const file = await this.#files.open('/data/checkpoint.tmp', 'create')
    for (let done = 0; done < bytes.length;) done += await file.write([bytes.subarray(done)], done)
    await file.sync()
    await file.close()
    await this.#files.rename('/data/checkpoint.tmp', '/data/checkpoint')
    await this.#files.syncDirectory('/data')
    await this.#store.checkpointed(position)
  }

  async #rewrite(): Promise<void> {
    const range = this.#store.sparse()
    if (range === null) return
    const live = Float64Array.from(this.#live.keys()).filter(
      (position) => position >= range.start && position < range.end,
    )
    const sizes = [...live].map((position) => this.#live.get(position)!)
    await this.#store.rewrite(range, live, () => sizes.shift()!)
    await this.check()
  }
}

async function readCheckpoint(files: Files): Promise<StoredCheckpoint | null> {
  try {
    return JSON.parse(Buffer.from(await files.read('/data/checkpoint')).toString()) as StoredCheckpoint
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null
    throw error
  }
}

/** The process is gone: nothing it calls has an effect any more. */
class PowerCut extends Error {}

interface Trial {
  readonly seed: number
  /** The call at which the process dies. */
  readonly call: number
  readonly mutation?: Mutation
  readonly fault?: Fault
}

/** One life that ends at a call, and one after the power cut. Throws when anything confirmed is lost. */
async function liveAndDie(trial: Trial): Promise<{ finished: boolean }> {
  const random = seededRandom(trial.seed)
  const world: World = { confirmed: new Map(), inFlight: null }
  const memory = new MemoryFiles({
    beforeCall(call) {
      if (call >= trial.call) throw new PowerCut()
    },
  })
  const faulty = trial.fault === undefined ? memory : new FaultyFiles(memory, [trial.fault])
  const files = trial.mutation === undefined ? faulty : mutantFiles(faulty, trial.mutation)
  let finished = false
  try {
    const engine = await Engine.recover(files, world, random)
    await engine.run(60, random)
    finished = true
  } catch (error) {
    // A fault that was injected may end the process before the power cut does; whatever it says is its right.
    const own = trial.fault === undefined && !causedByPowerCut(error)
    if (own) throw error
  }
  const after = trial.seed % 3 === 0 ? memory.kill() : memory.crash(random)
  const engine = await Engine.recover(after, world, random)
  await engine.run(15, random)
  await Engine.recover(after.crash(random), world, random)
  return { finished }
}

function causedByPowerCut(error: unknown): boolean {
  return error instanceof PowerCut || (error instanceof Error && causedByPowerCut(error.cause))
}

test('a power cut at any call loses no confirmed frame', async () => {
  const outcomes: string[] = []
  for (let seed = 1; seed <= 4; seed++) {
    for (let call = 1, finished = false; !finished; call++) {
      const trial = { seed: seed * 1000 + call, call }
      try {
        finished = (await liveAndDie(trial)).finished
      } catch (error) {
        outcomes.push(`seed ${trial.seed}, call ${call}: ${String(error)}`)
      }
    }
  }
  expect(outcomes).toEqual([])
})

test.each(MUTATIONS)('the checks notice storage that is mutated: %s', async (mutation) => {
  const faults: Record<Mutation, Fault | undefined> = {
    'no-sync': undefined,
    'no-directory-sync': undefined,
    'sync-error-swallowed': { kind: 'sync-error', nth: 12 },
    'short-write-as-full': { kind: 'short-write', nth: 12, takenBytes: 40 },
  }
  const fault = faults[mutation]
  const caught: unknown[] = []
  for (let call = 20; call < 400 && caught.length === 0; call += 3) {
    const trial = { seed: call, call, ...(fault === undefined ? {} : { fault }) }
    await liveAndDie({ ...trial, mutation }).catch((error: unknown) => caught.push(error))
    // The same life without the mistake is fine.
    await liveAndDie(trial)
  }
  expect(caught).toHaveLength(1)
})
