import { SdkError } from '../../errors.ts'
import type { Message } from '../../message/message.ts'
import { transportDown, written } from '../outgoing.ts'
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
import { AmqpSubscription } from './amqp-subscription.ts'
import { type AmqpClient, type AmqpConnection, loadClient, onChannel, replyCode } from './client.ts'
import { Link } from './link.ts'
import { type Outgoing, outgoing } from './properties.ts'
import { Publisher, takesNothing } from './publisher.ts'
import { ReplyQueue } from './reply-queue.ts'
import { declarationFailed, declareConsumer, declareExchange, type QueueArguments } from './topology.ts'

/** Where the broker is, and how it is spoken to. */
export interface AmqpOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps:`. */
  readonly url: string
  /** `amqplib`, where it is not to be imported. */
  readonly client?: AmqpClient
  /** Passed to the client as they are: certificates and the like. */
  readonly socketOptions?: object
  /** A connection that is silent for twice as long is given up. Default: 15. */
  readonly heartbeatSeconds?: number
  /** Arguments of every queue, such as `{ 'x-queue-type': 'quorum' }`. Not to be changed for queues that are there. */
  readonly queueArguments?: QueueArguments
  /** Largest body in bytes, at most what the broker takes. Default: 16 MiB. */
  readonly bodyBytesMax?: number
}

const BODY_BYTES_MAX = 16 * 1024 * 1024
const HEARTBEAT_SECONDS = 15
const CONNECT_MS = 10_000

/** Everything that exists from opening to closing. */
interface Opened {
  readonly surroundings: TransportSurroundings
  readonly sending: Link
  /** A connection of its own: a broker that takes no messages would not read our acknowledgements either. */
  readonly receiving: Link
  readonly publisher: Publisher
}

/** Something that reads over any number of connections one after the other. */
interface Reader {
  start(connection: AmqpConnection): Promise<void>
  end(): Promise<void>
}

/** A broker of AMQP 0-9-1: Stathmos or RabbitMQ. */
export class AmqpTransport implements Transport {
  readonly name = 'amqp'
  readonly capabilities: Capabilities
  readonly queueArguments: QueueArguments
  readonly #options: AmqpOptions
  readonly #watchers = new Set<(up: boolean) => void>()
  readonly #sends = new Set<string>()
  readonly #consumers = new Map<string, ConsumerTopology>()
  readonly #subscriptions = new Set<AmqpSubscription>()
  readonly #replies = new Set<ReplyQueue>()
  /** Types whose exchange is there, as far as this connection knows. */
  readonly #declared = new Set<string>()
  #opened: Opened | null = null
  #up = false
  /** What the broker said of itself when it was connected last. */
  #cluster: string | null = null

  constructor(options: AmqpOptions) {
    this.#options = options
    this.queueArguments = options.queueArguments ?? {}
    const bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_MAX
    this.capabilities = { ordering: true, confirm: true, returns: true, replies: true, bodyBytesMax }
  }

  /** @throws {SdkError} `transport_down`; `invalid_declaration` for an address that is none, which no retry would reach */
  async open(surroundings: TransportSurroundings): Promise<void> {
    // Not before: commands for operators load the program where nobody says where the broker is.
    checkAddress(this.#options.url)
    const client = this.#options.client ?? (await loadClient())
    const { clock, random, log } = surroundings
    const common = { clock, random, log, changed: () => this.#changed() }
    const sending: Link = new Link({
      ...common,
      name: 'sending',
      connect: () => this.#connect(client, `${surroundings.service} sends`),
      up: async (connection) => {
        this.#cluster = clusterOf(connection)
        await this.#redeclare(connection)
        await publisher.attach(connection)
      },
      down: () => publisher.detach(),
    })
    const publisher: Publisher = new Publisher(sending)
    const receiving: Link = new Link({
      ...common,
      name: 'receiving',
      connect: () => this.#connect(client, `${surroundings.service} receives`),
      up: async (connection) => {
        for (const queue of this.#replies) await queue.start(connection)
        for (const subscription of this.#subscriptions) await subscription.start(connection)
      },
      down: () => {
        for (const subscription of this.#subscriptions) subscription.lost()
      },
    })
    this.#opened = { surroundings, sending, receiving, publisher }
    await sending.open()
  }

  /** By the name that the broker gives its cluster: addresses of one broker may differ. */
  get engine(): string | null {
    return this.#cluster === null ? null : `amqp ${this.#cluster} ${vhostOf(this.#options.url)}`
  }

  async declare({ sends, consumers }: Topology): Promise<void> {
    const connection = this.#assertUp().sending.connection!
    await onChannel(connection, async (channel) => {
      for (const { type } of sends) await declareExchange(channel, type)
      for (const each of consumers) await declareConsumer(channel, each, this.queueArguments)
    }).catch((error: unknown) => {
      throw declarationFailed(error)
    })
    // Only what the broker agreed to is repeated on the next connection.
    for (const { type } of sends) {
      this.#sends.add(type)
      this.#declared.add(type)
    }
    for (const each of consumers) this.#consumers.set(each.queue, each)
  }

  async send(messages: readonly Message[]): Promise<readonly SendResult[]> {
    const { surroundings, publisher, sending } = this.#assertUp()
    if (sending.blocked) throw takesNothing()
    const { form, random } = surroundings
    const results: (SendResult | null)[] = []
    const items: Outgoing[] = []
    for (const message of messages) {
      const wired = written(message, form, this.capabilities.bodyBytesMax)
      const problem = wired instanceof SdkError ? wired : await this.#exchangeOf(message)
      if (wired instanceof SdkError || problem !== null) results.push(problem)
      else {
        results.push(null)
        items.push(outgoing(message, wired, random))
      }
    }
    try {
      const sent = await publisher.send(items)
      let next = 0
      return results.map((result) => result ?? sent[next++]!)
    } catch (error) {
      // An exchange that somebody deleted is made again with the next message.
      this.#declared.clear()
      throw error
    }
  }

  async subscribe(
    consumer: ConsumerTopology,
    prefetch: number,
    receive: (delivery: Delivery) => void,
  ): Promise<Subscription> {
    const { surroundings: reading, receiving } = this.#assertOpen()
    await receiving.open()
    const { queueArguments } = this
    const connection = (): AmqpConnection | null => receiving.connection
    const subscription = new AmqpSubscription({ consumer, prefetch, queueArguments, reading, receive, connection })
    await this.#startNow(subscription, this.#subscriptions)
    return subscription
  }

  async openReplies(receive: (message: Message) => void): Promise<ReplyPlace> {
    const { surroundings, receiving } = this.#assertOpen()
    await receiving.open()
    const { service, form, log, random } = surroundings
    const words = [random.uint32(), random.uint32(), random.uint32()].map((word) => word.toString(16).padStart(8, '0'))
    const queue = new ReplyQueue({
      name: `${service}.replies.${words.join('')}`,
      form,
      log,
      receive,
      connection: () => receiving.connection,
      closed: (each) => this.#replies.delete(each),
    })
    await this.#startNow(queue, this.#replies)
    return queue
  }

  watch(changed: (up: boolean) => void): () => void {
    this.#watchers.add(changed)
    changed(this.#up)
    return () => this.#watchers.delete(changed)
  }

  async close(): Promise<void> {
    const opened = this.#opened
    if (opened === null) return
    for (const queue of this.#replies) await queue.close()
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.end()))
    this.#opened = null
    await Promise.all([opened.sending.close(), opened.receiving.close()])
    this.#changed()
  }

  /** Begins to read over the connection of now; those of later begin with all there are. */
  async #startNow<R extends Reader>(reader: R, all: Set<R>): Promise<void> {
    const connection = this.#assertOpen().receiving.connection
    if (connection === null) throw transportDown('the connection to the broker is down')
    all.add(reader)
    try {
      await reader.start(connection)
    } catch (error) {
      all.delete(reader)
      // Another connection may have come meanwhile, and read it.
      await reader.end()
      throw declarationFailed(error)
    }
  }

  async #exchangeOf({ kind, type }: Message): Promise<SdkError | null> {
    if (kind === 'reply' || this.#declared.has(type)) return null
    const connection = this.#assertUp().sending.connection!
    try {
      await onChannel(connection, (channel) => declareExchange(channel, type))
      this.#declared.add(type)
      return null
    } catch (error) {
      const failed = declarationFailed(error)
      if (replyCode(error) === null) throw failed
      return failed
    }
  }

  async #redeclare(connection: AmqpConnection): Promise<void> {
    this.#declared.clear()
    await onChannel(connection, async (channel) => {
      for (const type of this.#sends) await declareExchange(channel, type)
      for (const each of this.#consumers.values()) {
        await declareConsumer(channel, each, this.queueArguments)
      }
    })
    for (const type of this.#sends) this.#declared.add(type)
  }

  #connect(client: AmqpClient, name: string): Promise<AmqpConnection> {
    const { url, socketOptions, heartbeatSeconds = HEARTBEAT_SECONDS } = this.#options
    const address = new URL(url)
    if (!address.searchParams.has('heartbeat')) address.searchParams.set('heartbeat', String(heartbeatSeconds))
    const clientProperties = { connection_name: name }
    return client.connect(address.href, { noDelay: true, timeout: CONNECT_MS, clientProperties, ...socketOptions })
  }

  #changed(): void {
    const opened = this.#opened
    const up =
      opened !== null &&
      opened.sending.connection !== null &&
      // Who waits for a connection waits for one that takes something.
      !opened.sending.blocked &&
      (!opened.receiving.wanted || opened.receiving.connection !== null)
    if (up === this.#up) return
    this.#up = up
    for (const changed of this.#watchers) changed(up)
  }

  #assertOpen(): Opened {
    if (this.#opened === null) throw transportDown('the AMQP transport is not open')
    return this.#opened
  }

  #assertUp(): Opened {
    const opened = this.#assertOpen()
    if (opened.sending.connection === null) throw transportDown('the connection to the broker is down')
    return opened
  }
}

function clusterOf({ connection }: AmqpConnection): string | null {
  const name = connection?.serverProperties?.['cluster_name']
  return typeof name === 'string' ? name : null
}

/** As clients read it: without one it is `/`. */
function vhostOf(url: string): string {
  const path = new URL(url).pathname.slice(1)
  return path === '' ? '/' : decodeURIComponent(path)
}

/** The address is not told: there may be a password in it. */
function checkAddress(url: string): void {
  const scheme = URL.canParse(url) ? new URL(url).protocol : null
  if (scheme === 'amqp:' || scheme === 'amqps:') return
  throw new SdkError(
    'invalid_declaration',
    `the url of the transport amqp is no address of a broker${scheme === null ? '' : `, but one of ${scheme}`}; write amqp://user:password@host:5672/vhost, or amqps:`,
  )
}
