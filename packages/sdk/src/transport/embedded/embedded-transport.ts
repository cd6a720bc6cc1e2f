import { hostname } from 'node:os'
import { resolve as absolute } from 'node:path'
import type { Draft, Engine, Queue, VHost } from '@stathmos/engine'
import { SdkError } from '../../errors.ts'
import type { Message } from '../../message/message.ts'
import { readMessage } from '../incoming.ts'
import { bucketFor, overloaded, transportDown, unroutable, written } from '../outgoing.ts'
import type {
  Capabilities,
  ConsumerTopology,
  Delivery,
  ReplyPlace,
  SendResult,
  Subscription,
  Topology,
  Transport,
  TransportSurroundings,
} from '../port.ts'
import type { Wired } from '../../wire/wire-form.ts'
import { type EngineLease, leaseEngine } from './engine-lease.ts'
import { EngineSubscription } from './engine-subscription.ts'
import { declareConsumer, declareExchange, declareReplies } from './engine-topology.ts'
import { encodeEnvelope, readWired, SDK_ORIGIN_KIND } from './envelope.ts'
import { type EnginePackage, loadEngine } from './peer.ts'

/** With an engine, that one is used and stays open; with a directory, its engine is opened, and closed with the transport. */
export type EmbeddedOptions = ({ readonly engine: Engine } | { readonly dataDir: string }) & {
  /** Default: `/`. Made when it is not there. */
  readonly vhost?: string
  /** Largest body in bytes. Default: 16 MiB. */
  readonly bodyBytesMax?: number
  /**
   * The engine's storage failed, and what it holds is known again only after a restart of the process. Default: the error
   * is thrown, which ends it. Of those that share a directory the first one's counts.
   */
  readonly onFatal?: (error: Error) => void
}

const BODY_BYTES_MAX = 16 * 1024 * 1024

/** Everything that exists while the transport is open. */
interface Opened {
  readonly peer: EnginePackage
  readonly lease: EngineLease
  readonly vhost: VHost
  readonly draft: Draft
  readonly surroundings: TransportSurroundings
}

/** The engine in this process. */
export class EmbeddedTransport implements Transport {
  readonly name = 'embedded'
  readonly capabilities: Capabilities
  readonly #options: EmbeddedOptions
  readonly #watchers = new Set<(up: boolean) => void>()
  readonly #subscriptions = new Set<EngineSubscription>()
  readonly #places = new Set<ReplyPlace>()
  #opened: Opened | null = null

  constructor(options: EmbeddedOptions) {
    this.#options = options
    const bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_MAX
    this.capabilities = { ordering: true, confirm: true, returns: true, replies: true, bodyBytesMax }
  }

  /** An engine of the application's may have other ways in, where it is known by other names. */
  get engine(): string | null {
    const options = this.#options
    if ('engine' in options) return null
    return `embedded ${hostname()} ${absolute(options.dataDir)} ${options.vhost ?? '/'}`
  }

  async open(surroundings: TransportSurroundings): Promise<void> {
    const peer = await loadEngine()
    const lease = await this.#lease(peer, surroundings)
    const vhost = lease.engine.createVHost(this.#options.vhost ?? '/')
    this.#opened = { peer, lease, vhost, draft: new peer.Draft(), surroundings }
    for (const changed of this.#watchers) changed(true)
  }

  async declare({ sends, consumers }: Topology): Promise<void> {
    const { vhost, lease } = this.#assertOpen()
    for (const { type } of sends) declareExchange(vhost, type)
    for (const consumer of consumers) declareConsumer(vhost, consumer)
    await lease.engine.durably()
  }

  async send(messages: readonly Message[]): Promise<readonly SendResult[]> {
    const { lease, surroundings } = this.#assertOpen()
    const { form } = surroundings
    const results: SendResult[] = []
    for (const message of messages) {
      const wired = written(message, form, this.capabilities.bodyBytesMax)
      if (wired instanceof SdkError) results.push(wired)
      else {
        while (!canTake(lease.engine)) await untilItTakes(lease.engine)
        results.push(this.#publish(message, wired))
      }
    }
    await lease.engine.durably().catch((error: unknown) => {
      throw transportDown('the embedded engine could not store the messages', error)
    })
    return results
  }

  async subscribe(
    consumer: ConsumerTopology,
    prefetch: number,
    receive: (delivery: Delivery) => void,
  ): Promise<Subscription> {
    const { peer, vhost, surroundings: reading } = this.#assertOpen()
    const queues = declareConsumer(vhost, consumer)
    return this.#subscribe(queues, prefetch, new peer.Credit(prefetch), consumer.ordered, reading, receive)
  }

  async openReplies(receive: (message: Message) => void): Promise<ReplyPlace> {
    const { vhost, surroundings } = this.#assertOpen()
    const { service, form, log, random } = surroundings
    const name = `${service}.replies.${random.uint32().toString(16)}${random.uint32().toString(16)}`
    const queue = declareReplies(vhost, name)
    queue.subscribe({
      credit: Number.POSITIVE_INFINITY,
      autoAccept: true,
      receiver: {
        deliver(_consumer, _ticket, view) {
          const wired = readWired(view)
          const message = readMessage(wired, form)
          if (message !== null) receive(message)
          else log.warn({ contentType: wired.contentType }, 'a reply is no message that can be read; it is dropped')
        },
        flush() {},
        cancelled() {},
      },
    })
    const place: ReplyPlace = {
      address: () => name,
      close: async () => {
        if (this.#places.delete(place) && !queue.deleted) vhost.deleteQueue(queue)
      },
    }
    this.#places.add(place)
    return place
  }

  watch(changed: (up: boolean) => void): () => void {
    this.#watchers.add(changed)
    changed(this.#opened !== null)
    return () => this.#watchers.delete(changed)
  }

  async close(): Promise<void> {
    const opened = this.#opened
    if (opened === null) return
    for (const subscription of this.#subscriptions) subscription.abandon()
    this.#subscriptions.clear()
    for (const place of this.#places) await place.close()
    this.#opened = null
    // Of what was accepted nothing comes again, whatever happens to the process from here on.
    await opened.lease.engine.durably().catch(() => {})
    await opened.lease.release()
    for (const changed of this.#watchers) changed(false)
  }

  #subscribe(
    queues: readonly Queue[],
    prefetch: number,
    credit: InstanceType<EnginePackage['Credit']>,
    ordered: boolean,
    reading: TransportSurroundings,
    receive: (delivery: Delivery) => void,
  ): EngineSubscription {
    const subscription = new EngineSubscription({ queues, credit, prefetch, ordered, reading, receive })
    this.#subscriptions.add(subscription)
    return subscription
  }

  #publish(message: Message, wired: Wired): SendResult {
    const { peer, vhost, draft, surroundings, lease } = this.#assertOpen()
    if (lease.engine.failed !== null) throw transportDown('the embedded engine has failed', lease.engine.failed)
    const isReply = message.kind === 'reply'
    if (!isReply) declareExchange(vhost, message.type)
    const key = isReply ? (message.metadata.replyTo ?? '') : String(bucketFor(message, surroundings.random))
    const route = vhost.route(isReply ? '' : message.type, key)
    if (route === undefined) return unroutable(message)
    fill(draft, wired)
    // A reply is of no use to anybody after a restart.
    draft.persistent = !isReply
    const position = vhost.publish(route, draft)
    if (position === peer.REJECTED) return overloaded(message)
    return position === peer.UNROUTED && message.kind !== 'event' ? unroutable(message) : 'sent'
  }

  async #lease(peer: EnginePackage, { clock }: TransportSurroundings): Promise<EngineLease> {
    const options = this.#options
    if ('engine' in options) return { engine: options.engine, release: async () => {} }
    try {
      return await leaseEngine(peer, options.dataDir, clock, options.onFatal)
    } catch (error) {
      if (error instanceof peer.DirectoryInUseError)
        throw transportDown(
          `process ${error.pid} has the engine in ${options.dataDir}, and one process at a time can; stop that one, or start a broker and have both connect to it`,
          error,
        )
      throw unopened(peer, options.dataDir, error)
    }
  }

  #assertOpen(): Opened {
    if (this.#opened === null) throw transportDown('the embedded transport is not open')
    return this.#opened
  }
}

/** What the system refuses may be granted later; what the engine itself cannot read stays so until somebody mends it. */
function unopened(peer: EnginePackage, dataDir: string, cause: unknown): SdkError {
  const { CorruptionError, StorageFullError, StorageFailedError, SyncFailedError } = peer
  const reason = cause instanceof Error ? cause.message : String(cause)
  const text = `the engine in ${dataDir} cannot be opened: ${reason}`
  const ofDisk = [StorageFullError, StorageFailedError, SyncFailedError].some((kind) => cause instanceof kind)
  if (ofDisk || (cause instanceof Error && 'code' in cause)) return transportDown(text, cause)
  const look = cause instanceof CorruptionError ? ` (\`stathmos verify ${dataDir}\` only looks)` : ''
  return new SdkError('directory_unreadable', `${text}${look}`, { cause, data: { dataDir } })
}

function fill(draft: Draft, { body, ...rest }: Wired): void {
  const origin = encodeEnvelope({ body, ...rest })
  draft.originKind = SDK_ORIGIN_KIND
  draft.origin = origin
  draft.originView = viewOf(origin)
  draft.originEnd = origin.length
  draft.body = body
  draft.bodyView = viewOf(body)
  draft.bodyEnd = body.length
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function canTake(engine: Engine): boolean {
  return engine.failed !== null || (engine.canAccept() && engine.flow.blocked === null)
}

/** Resolves when something has changed that kept messages out: room on the disk, or memory. */
function untilItTakes(engine: Engine): Promise<void> {
  if (!engine.canAccept()) return new Promise((resolve) => engine.onAccept(resolve))
  return new Promise((resolve) => {
    const end = engine.flow.onChange(() => {
      end()
      resolve()
    })
  })
}
