import { loadPeer } from '../../peer.ts'

/** What the transport uses of `amqplib` 2.3 or later. */
export interface AmqpClient {
  connect(url: string, socketOptions?: object): Promise<AmqpConnection>
}

interface Emitter {
  on(event: string, listener: (...args: unknown[]) => void): unknown
}

export interface AmqpConnection extends Emitter {
  /** The library's own, with its socket. */
  readonly connection?: {
    readonly stream?: { destroy(): unknown }
    readonly serverProperties?: Readonly<Record<string, unknown>>
  }
  close(): Promise<void>
  createChannel(): Promise<AmqpChannel>
  createConfirmChannel(options: { readonly highWaterMark: number }): Promise<AmqpConfirmChannel>
}

export interface AmqpChannel extends Emitter {
  prependListener(event: string, listener: (...args: unknown[]) => void): unknown
  close(): Promise<void>
  assertExchange(name: string, type: string, options: { readonly durable: boolean }): Promise<unknown>
  assertQueue(name: string, options: { readonly durable: boolean; readonly arguments: object }): Promise<unknown>
  checkQueue(name: string): Promise<{ readonly consumerCount: number }>
  deleteQueue(name: string): Promise<unknown>
  bindQueue(queue: string, exchange: string, key: string): Promise<unknown>
  prefetch(count: number): Promise<unknown>
  consume(
    queue: string,
    receive: (message: AmqpMessage | null) => void,
    options: { readonly noAck: boolean },
  ): Promise<{ readonly consumerTag: string }>
  cancel(consumerTag: string): Promise<unknown>
  ack(message: AmqpMessage): void
  nack(message: AmqpMessage, allUpTo: boolean, requeue: boolean): void
}

export interface AmqpConfirmChannel extends AmqpChannel {
  publish(
    exchange: string,
    routingKey: string,
    body: Buffer,
    options: AmqpPublishOptions,
    confirmed: (error: unknown) => void,
  ): boolean
}

export interface AmqpPublishOptions {
  readonly mandatory: boolean
  readonly deliveryMode: 1 | 2
  readonly messageId: string
  readonly type: string
  /** Seconds since 1970. */
  readonly timestamp: number
  readonly correlationId: string
  readonly contentType: string
  readonly appId: string
  readonly replyTo?: string
  readonly headers: Readonly<Record<string, string>>
}

export interface AmqpMessage {
  readonly content: Buffer
  readonly fields: {
    readonly deliveryTag: number
    readonly redelivered: boolean
    readonly exchange: string
    readonly routingKey: string
  }
  readonly properties: {
    readonly contentType?: unknown
    readonly replyTo?: unknown
    readonly messageId?: unknown
    readonly headers?: Readonly<Record<string, unknown>> | undefined
  }
}

/** @throws {SdkError} `peer_missing`, `peer_unusable`: with what to install */
export async function loadClient(): Promise<AmqpClient> {
  const { default: client } = await loadPeer({
    name: 'amqplib',
    what: 'transports over AMQP',
    load: (): Promise<{ readonly default: AmqpClient }> => import('amqplib'),
    needs: ['default'],
  })
  return client
}

/** The server's reply code, when it closed a channel over what was asked of it; null for a lost connection and else. */
export function replyCode(error: unknown): number | null {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  return typeof code === 'number' ? code : null
}

/** Does something on a channel of its own, which may be lost over it. */
export async function onChannel<T>(connection: AmqpConnection, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
  const channel = await connection.createChannel()
  // Whatever goes wrong is told to who waits for an answer.
  channel.on('error', () => {})
  const result = await work(channel)
  await channel.close()
  return result
}
