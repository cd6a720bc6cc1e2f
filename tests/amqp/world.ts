// What a conformance test starts with: connections of its own, closed after it; names that no other test uses.
import amqplib, {
  type Channel,
  type ChannelModel,
  type ConfirmChannel,
  type ConsumeMessage,
  type Options,
} from 'amqplib'
import { afterEach } from 'vitest'
import type { BrokerUnderTest } from './broker-under-test.ts'
import { RawClient, type OpenOptions } from './raw-client.ts'

let lastName = 0

export interface World {
  readonly url: string
  /** A name that nothing else on this broker has. */
  name(stem: string): string
  connection(): Promise<ChannelModel>
  /** A channel on a connection of its own. */
  channel(): Promise<Channel>
  confirmChannel(): Promise<ConfirmChannel>
  raw(options?: OpenOptions): Promise<RawClient>
  /** Runs when the test is over. */
  defer(cleanup: () => void | Promise<void>): void
}

export function worldOf(broker: BrokerUnderTest): World {
  const cleanups: (() => void | Promise<void>)[] = []
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })
  const world: World = {
    url: broker.url,
    name: (stem) => `${stem}-${process.pid.toString(36)}-${Date.now().toString(36)}-${++lastName}`,
    async connection() {
      const connection = await amqplib.connect(broker.url)
      // A broker that closes the connection is what some tests are about; they look for it themselves.
      connection.on('error', () => {})
      world.defer(() => connection.close().catch(() => {}))
      return connection
    },
    async channel() {
      const channel = await (await world.connection()).createChannel()
      channel.on('error', () => {})
      return channel
    },
    async confirmChannel() {
      const channel = await (await world.connection()).createConfirmChannel()
      channel.on('error', () => {})
      return channel
    },
    async raw(options) {
      const client = await RawClient.open(broker.url, options)
      world.defer(() => client.destroy())
      return client
    },
    defer: (cleanup) => void cleanups.push(cleanup),
  }
  return world
}

/** What a consumer receives, in order. `null` is the broker's cancel. */
export class Inbox {
  readonly tag: string
  readonly channel: Channel
  readonly #received: (ConsumeMessage | null)[]
  readonly #waiting: ((message: ConsumeMessage | null) => void)[]

  private constructor(
    channel: Channel,
    tag: string,
    received: (ConsumeMessage | null)[],
    waiting: ((message: ConsumeMessage | null) => void)[],
  ) {
    this.channel = channel
    this.tag = tag
    this.#received = received
    this.#waiting = waiting
  }

  static async of(channel: Channel, queue: string, options: Options.Consume = {}): Promise<Inbox> {
    const received: (ConsumeMessage | null)[] = []
    const waiting: ((message: ConsumeMessage | null) => void)[] = []
    const { consumerTag } = await channel.consume(
      queue,
      (message) => {
        const first = waiting.shift()
        if (first === undefined) received.push(message)
        else first(message)
      },
      options,
    )
    return new Inbox(channel, consumerTag, received, waiting)
  }

  /** How many have arrived that nobody has taken. */
  get size(): number {
    return this.#received.length
  }

  nextOrCancel(): Promise<ConsumeMessage | null> {
    const first = this.#received.shift()
    if (first !== undefined) return Promise.resolve(first)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async next(): Promise<ConsumeMessage> {
    const message = await this.nextOrCancel()
    if (message === null) throw new Error('the broker cancelled the consumer')
    return message
  }

  async text(): Promise<string> {
    return (await this.next()).content.toString()
  }

  async texts(count: number): Promise<string[]> {
    const texts: string[] = []
    while (texts.length < count) texts.push(await this.text())
    return texts
  }
}

/** Takes a message that is already there, or false. */
export async function take(channel: Channel, queue: string): Promise<string | false> {
  const message = await channel.get(queue, { noAck: true })
  return message === false ? false : message.content.toString()
}

/** Everything that is in a queue now, taken out of it. */
export async function drain(channel: Channel, queue: string): Promise<string[]> {
  const texts: string[] = []
  for (;;) {
    const text = await take(channel, queue)
    if (text === false) return texts
    texts.push(text)
  }
}

/** Asks again until the answer is something; for what the broker does in its own time, such as expiry. */
export async function eventually<T>(ask: () => Promise<T | false | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (answer !== false && answer !== undefined) return answer
    // The round trip paces the loop; the test's own time limit ends it.
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Resolves when that much time has passed on the broker's clock: a message has expired there. */
export async function timePasses(channel: Channel, ms: number): Promise<void> {
  const bell = await channel.assertQueue('', { exclusive: true })
  const clock = await channel.assertQueue('', {
    exclusive: true,
    messageTtl: ms,
    deadLetterExchange: '',
    deadLetterRoutingKey: bell.queue,
  })
  channel.sendToQueue(clock.queue, Buffer.from('tick'))
  const inbox = await Inbox.of(channel, bell.queue, { noAck: true })
  await inbox.next()
  await channel.cancel(inbox.tag)
}
