import type { Headers } from '@stathmos/engine'

/** How the broker presents itself and what it lets one connection use. */
export interface AmqpOptions {
  /**
   * `product` and `version` of the server properties. Clients branch on them: Celery sends
   * `basic.qos(global=true)` to a "RabbitMQ" from 3.3 up to 4.0, and per-consumer limits to anything else.
   */
  readonly product: string
  readonly version: string
  readonly clusterName: string
  readonly platform: string
  readonly information: string
  readonly limits: AmqpLimits
  /** The headers of messages that came by another protocol, by origin kind. */
  readonly originHeaders: ReadonlyMap<number, (origin: Uint8Array) => Headers>
}

export interface AmqpLimits {
  /** Channels of one connection; RabbitMQ's default. 0 is never offered: it means no limit. */
  readonly channelMax: number
  /** Largest frame, octets, header and end included; RabbitMQ's default. */
  readonly frameBytesMax: number
  /** Seconds between heartbeats that the broker suggests; 0: off. */
  readonly heartbeatSeconds: number
  /** Octets of a message's header table. Larger ones are data in the wrong place. */
  readonly headerBytesMax: number
  /** How long a delivery may stay unacknowledged before it goes back to its queue, ms (RabbitMQ's default). */
  readonly consumerTimeoutMs: number
  /** Time for a client to answer connection.close, ms. */
  readonly closeMs: number
}

const AMQP_LIMITS: AmqpLimits = {
  channelMax: 2047,
  frameBytesMax: 131_072,
  heartbeatSeconds: 60,
  headerBytesMax: 64 * 1024,
  consumerTimeoutMs: 30 * 60 * 1000,
  closeMs: 5000,
}

const DEFAULTS: AmqpOptions = {
  product: 'Stathmos',
  version: '0.0.0',
  clusterName: 'stathmos',
  platform: 'Node.js',
  information: 'Licensed under the Apache License 2.0',
  limits: AMQP_LIMITS,
  originHeaders: new Map(),
}

/** The defaults, with what differs. */
export function amqpOptions(different: Partial<AmqpOptions> = {}): AmqpOptions {
  return { ...DEFAULTS, ...different }
}
