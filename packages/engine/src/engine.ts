import { dirname, resolve } from 'node:path'
import { assert, type Clock, type Random, systemClock, systemRandom } from '@stathmos/std'
import { Access, type AccessChange } from './access/access.ts'
import { EngineError } from './errors.ts'
import type { ExchangeDefinition } from './exchange/exchange.ts'
import { Flow } from './flow/flow.ts'
import { type Limits, LIMITS } from './limits.ts'
import type { Headers } from './message/headers.ts'
import { isHalfRepaired } from './repair/repair.ts'
import { finishLines, Replay, restoreLines } from './recovery/replay.ts'
import { type DurableWaiter, Shard } from './line/shard.ts'
import { leaveClean, readCheckpoint, takeClean } from './recovery/checkpoint-file.ts'
import { Checkpointer } from './recovery/checkpointer.ts'
import { Scrubber } from './recovery/scrubber.ts'
import type { Files } from './storage/files.ts'
import type { Line } from './line/line.ts'
import { Journal } from './storage/journal.ts'
import type { FrameStore } from './storage/frame-store.ts'
import { type FrameStoreOptions, LocalFrameStore } from './storage/local-frame-store.ts'
import { nodeFiles } from './storage/node-files.ts'
import { PageStore } from './line/page-store.ts'
import { RECORD_DEFINITION, RECORD_HEADER_BYTES, RECORD_LENGTH } from './storage/record.ts'
import { mayPass, meansFault, StorageFullError } from './storage/storage-errors.ts'
import type { Definition } from './topology/definition.ts'
import { VHost, type VHostContext } from './topology/vhost.ts'

export interface EngineOptions {
  readonly dataDir: string
  readonly files?: Files
  readonly clock?: Clock
  readonly random?: Random
  readonly limits?: Partial<Limits>
  /** Exchanges that every vhost has from the start. */
  readonly standardExchanges?: readonly ExchangeDefinition[]
  /** Vhosts of a new data directory. */
  readonly firstVHosts?: readonly string[]
  /** How to find typed headers in the opaque bytes that senders hand in, by their kind. */
  readonly originHeaders?: ReadonlyMap<number, (origin: Uint8Array) => Headers>
  /** How to find further routing keys in them: dead letters and delayed messages are routed by all. */
  readonly originKeys?: ReadonlyMap<number, (origin: Uint8Array) => readonly string[] | null>
  /** Opens what keeps the journal's frames; without it they are files in {@link dataDir}. */
  readonly openStore?: (options: FrameStoreOptions) => Promise<FrameStore>
  /** Resident memory of the process, bytes. */
  readonly residentBytes?: () => number
  /**
   * Storage can no longer be believed (a failed sync, damage found while running). Nothing is confirmed
   * any more, and the process must stop.
   */
  readonly onFatal?: (error: Error) => void
  /**
   * The disk has a fault that does not stop the engine: it refused a write, and publishers are blocked until it takes it;
   * or stored messages that nobody asked for cannot be read any more, which is fatal when somebody does.
   */
  readonly onDiskFault?: (error: Error) => void
}

/** What recovery found. */
export interface RecoveryReport {
  /** No data directory was there. */
  readonly fresh: boolean
  /** The last stop was clean: nothing may come twice. */
  readonly clean: boolean
  readonly messages: number
  readonly frames: number
  readonly records: number
  readonly elapsedMs: number
}

const UTF8 = new TextEncoder()

/** Opens the engine on a data directory, recovering what is there. @throws CorruptionError and what the disk says */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  return Engine.open(options)
}

/**
 * The broker without a network: vhosts, exchanges, queues and the journal under them. Deterministic, given
 * clock, random and files. Single-threaded: calls need no locks.
 */
export class Engine {
  readonly access: Access
  readonly flow: Flow
  readonly limits: Limits
  readonly recovery: RecoveryReport
  readonly #shard: Shard
  readonly #store: FrameStore
  readonly #files: Files
  readonly #dataDir: string
  readonly #vhosts: Map<string, VHost>
  readonly #context: VHostContext
  readonly #checkpointer: Checkpointer
  readonly #scrubber: Scrubber
  readonly #onFatal: (error: Error) => void
  readonly #onDiskFault: (error: Error) => void
  #accepting: (() => void)[] = []
  #advancedTo = 0
  #closed = false
  /** Everything is written; what was being read is of no use any more. */
  #stopped = false
  #failed: Error | null = null
  #cut: readonly Line[] = []

  static async open(options: EngineOptions): Promise<Engine> {
    const clock = options.clock ?? systemClock
    const started = clock.monotonic()
    const files = options.files ?? nodeFiles
    const limits: Limits = { ...LIMITS, ...options.limits }
    const { dataDir } = options
    await files.makeDirectory(`${dataDir}/index`)
    await files.syncDirectory(dataDir)
    // The directory itself may be new, and is lost with its name.
    await files.syncDirectory(dirname(resolve(dataDir)))
    if (await isHalfRepaired(files, dataDir)) {
      throw new Error(`the repair of ${dataDir} was interrupted; run \`stathmos repair\` again`)
    }
    const checkpoint = await readCheckpoint(files, dataDir)
    const clean = await takeClean(files, dataDir)
    const random = options.random ?? systemRandom
    const openStore = options.openStore ?? ((store) => LocalFrameStore.open(store))
    const store = await openStore({
      files,
      directory: dataDir,
      random,
      limits,
      table: checkpoint?.table ?? null,
    })
    const shard = new Shard(clock, limits.pageEntries)
    shard.pages = new PageStore(files, `${dataDir}/index`)
    shard.nextLine = checkpoint?.nextLine ?? 1
    const engine = new Engine(options, { files, limits, shard, store, position: checkpoint?.position ?? 0 })
    for (const definition of checkpoint?.definitions ?? []) engine.#apply(definition)
    restoreLines(shard, checkpoint?.lines ?? [])
    const replay = new Replay(shard, (definition) => engine.#apply(definition))
    const from = checkpoint?.position ?? 0
    await store.replay(from, (frame) => replay.frame(frame))
    await finishLines(shard, store, clean && replay.frames === 0)
    // Only now: what cannot be recovered is left as it is, for a repair to find more.
    await shard.pages.sweep()
    shard.space = store
    const fresh = checkpoint === null && replay.frames === 0
    let messages = 0
    for (const line of shard.lines.values()) messages += line.live
    const elapsedMs = clock.monotonic() - started
    const { frames, records } = replay
    Object.assign(engine.recovery, { fresh, clean: clean || fresh, messages, frames, records, elapsedMs })
    await engine.#start(fresh)
    return engine
  }

  private constructor(
    options: EngineOptions,
    parts: { files: Files; limits: Limits; shard: Shard; store: FrameStore; position: number },
  ) {
    const { files, limits, shard, store } = parts
    this.limits = limits
    this.#files = files
    this.#dataDir = options.dataDir
    this.#shard = shard
    this.#store = store
    this.#vhosts = new Map()
    this.#onDiskFault = options.onDiskFault ?? (() => {})
    this.#onFatal =
      options.onFatal ??
      ((error) => {
        throw error
      })
    this.recovery = { fresh: false, clean: false, messages: 0, frames: 0, records: 0, elapsedMs: 0 }
    this.access = new Access((change) => this.#recordAccess(change))
    this.#firstVHosts = options.firstVHosts ?? ['/']
    this.#context = {
      shard,
      limits,
      standardExchanges: options.standardExchanges ?? [],
      originHeaders: options.originHeaders ?? new Map(),
      originKeys: options.originKeys ?? new Map(),
      record: (definition) => this.#record(definition),
    }
    this.#checkpointer = new Checkpointer(
      {
        files,
        directory: options.dataDir,
        shard,
        store,
        definitions: () => this.#definitions(),
        full: () => this.flow.diskFull(true),
      },
      parts.position,
    )
    this.flow = new Flow({
      clock: shard.clock,
      watchMs: limits.watchMs,
      diskFreeMin: limits.diskFreeMin,
      memoryMax: limits.memoryMax,
      freeBytes: () => files.freeBytes(options.dataDir),
      residentBytes: options.residentBytes ?? (() => 0),
      restoreReserve: () => store.restoreReserve(),
      makeRoom: () => this.#checkpointer.makeRoom(),
      fail: (error) => shard.fail(error),
    })
    this.#scrubber = new Scrubber({
      clock: shard.clock,
      store,
      everyMs: limits.scrubMs,
      bytes: limits.scrubBytes,
      damaged: this.#onDiskFault,
    })
    shard.onFail = (error) => this.#fail(error)
  }

  readonly #firstVHosts: readonly string[]

  async #start(fresh: boolean): Promise<void> {
    const shard = this.#shard
    shard.journal = new Journal(this.#store, shard.clock, this.limits, {
      beforeCut: () => shard.recordSettlements(),
      cut: (end) => {
        this.#cut = shard.cutLines()
        this.#checkpointer.atFrameEnd(end)
      },
      takeCut: () => shard.takeLines(this.#cut),
      durable: (position, lines) => this.#advanced(position, lines as readonly Line[]),
      full: (full, error) => {
        if (error !== undefined && meansFault(error.cause)) this.#onDiskFault(error)
        this.flow.refused(full)
      },
      fatal: (error) => this.#fail(error),
    })
    if (fresh) {
      for (const name of this.#firstVHosts) this.createVHost(name)
      await this.durably()
    }
    for (const vhost of this.#vhosts.values()) vhost.recovered()
    shard.agenda.start()
    this.flow.start()
    this.#scrubber.start()
  }

  // ---- vhosts

  vhost(name: string): VHost | undefined {
    return this.#vhosts.get(name)
  }

  vhosts(): Iterable<VHost> {
    return this.#vhosts.values()
  }

  /** Makes the vhost, or finds the one that is there. Durable with the open frame. */
  createVHost(name: string): VHost {
    const existing = this.#vhosts.get(name)
    if (existing !== undefined) return existing
    const scheduleLine = this.#shard.allocateLines(1)
    this.#record({ kind: 'vhost', vhost: name, scheduleLine })
    return this.#addVHost(name, scheduleLine)
  }

  /** Deletes the vhost with everything in it. @throws {EngineError} `vhost_not_found` */
  deleteVHost(name: string): void {
    const vhost = this.#vhosts.get(name)
    if (vhost === undefined) throw new EngineError('vhost_not_found', `there is no vhost "${name}"`)
    this.#vhosts.delete(name)
    vhost.dispose()
    this.access.clearVHost(name)
    this.#record({ kind: 'vhost_deleted', vhost: name })
  }

  // ---- durability

  /** Everything below this position is on disk. */
  get durablePosition(): number {
    return this.#shard.journal.durable
  }

  /** Calls `waiter` once, at the next advance of {@link durablePosition}; before deliveries of what became durable. */
  awaitDurable(waiter: DurableWaiter): void {
    this.#shard.awaitDurable(waiter)
  }

  /** Resolves when everything done so far is on disk. */
  durably(): Promise<void> {
    return this.#shard.settledUp()?.then(() => this.#shard.flushed()) ?? this.#shard.flushed()
  }

  /** Whether senders may be read: `false` while too much waits for the disk, until {@link onAccept}. */
  canAccept(): boolean {
    return this.#shard.journal.pendingBytes < this.limits.pendingBytesMax
  }

  /** Calls `resume` once, when {@link canAccept} is true again. */
  onAccept(resume: () => void): void {
    this.#accepting.push(resume)
  }

  /** Why the engine no longer works; null: it does. */
  get failed(): Error | null {
    return this.#failed
  }

  /** Bytes on disk. */
  get storedBytes(): number {
    return this.#store.bytes
  }

  /** Stops: everything is on disk, with a checkpoint that leaves nothing to replay. Sessions are closed before. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.flow.close()
    this.#shard.agenda.close()
    await this.#scrubber.close()
    if (this.#failed === null) {
      try {
        await this.#writeAll()
      } catch (error) {
        // What is confirmed is on disk; the next start reads the journal instead of a checkpoint.
        if (!(error instanceof StorageFullError) && !mayPass(error)) throw error
      }
    }
    this.#stopped = true
    await this.#shard.pages.close()
    await this.#store.close()
  }

  // ---- inside

  #advanced(position: number, lines: readonly Line[]): void {
    this.flow.wrote(position - this.#advancedTo)
    this.#advancedTo = position
    this.#shard.advance(position, lines)
    const behind = position - this.#checkpointer.position
    if (behind >= this.limits.checkpointBytes) this.#checkpointer.request()
    if (this.#accepting.length > 0 && this.canAccept()) {
      const waiting = this.#accepting
      this.#accepting = []
      for (const resume of waiting) resume()
    }
  }

  async #writeAll(): Promise<void> {
    this.#shard.journal.stopTrying()
    await this.durably()
    await this.#checkpointer.idle()
    await this.durably()
    for (const line of this.#shard.lines.values()) line.markTaken()
    await this.#checkpointer.run(this.#shard.journal.end)
    await leaveClean(this.#files, this.#dataDir)
    await this.#shard.journal.close()
  }

  #fail(error: Error): void {
    if (this.#failed !== null || this.#stopped) return
    if (this.#closed && error instanceof StorageFullError) return
    this.#failed = error
    this.#onFatal(error)
  }

  #record(definition: Definition): void {
    const json = UTF8.encode(JSON.stringify(definition))
    const length = RECORD_HEADER_BYTES + json.length
    // Settlements that came before this change must be replayed before it.
    this.#shard.recordSettlements()
    const { journal } = this.#shard
    journal.reserve(length)
    const { bytes, view, at } = journal
    view.setUint32(at, RECORD_DEFINITION, true)
    view.setUint32(at + RECORD_LENGTH, length, true)
    bytes.set(json, at + RECORD_HEADER_BYTES)
    journal.commit(length)
  }

  #recordAccess(change: AccessChange): void {
    this.#record({ kind: 'access', change })
  }

  *#definitions(): Iterable<Definition> {
    const { users, permissions } = this.access.definitions()
    for (const user of users) yield { kind: 'access', change: { kind: 'user_set', user } }
    for (const permission of permissions) yield { kind: 'access', change: { kind: 'permission_set', permission } }
    for (const vhost of this.#vhosts.values()) yield* vhost.definitions()
  }

  #apply(definition: Definition): void {
    switch (definition.kind) {
      case 'vhost':
        this.#addVHost(definition.vhost, definition.scheduleLine)
        break
      case 'vhost_deleted':
        this.#vhosts.get(definition.vhost)?.dispose()
        this.#vhosts.delete(definition.vhost)
        break
      case 'access':
        this.access.apply(definition.change)
        break
      default: {
        const vhost = this.#vhosts.get(definition.vhost)
        assert(vhost !== undefined, `a definition names the unknown vhost "${definition.vhost}"`)
        vhost.apply(definition)
      }
    }
  }

  #addVHost(name: string, scheduleLine: number): VHost {
    if (scheduleLine >= this.#shard.nextLine) this.#shard.nextLine = scheduleLine + 1
    const vhost = new VHost(this.#context, name, scheduleLine)
    this.#vhosts.set(name, vhost)
    return vhost
  }
}
