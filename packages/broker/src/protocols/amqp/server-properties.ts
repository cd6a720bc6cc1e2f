import type { Field, Table } from '@stathmos/wire/amqp'

import type { AmqpOptions } from './options.ts'

/** Exactly what RabbitMQ announces: clients switch features on by these names. */
const CAPABILITIES: readonly string[] = [
  'publisher_confirms',
  'exchange_exchange_bindings',
  'basic.nack',
  'consumer_cancel_notify',
  'connection.blocked',
  'consumer_priorities',
  'authentication_failure_close',
  'per_consumer_qos',
  'direct_reply_to',
]

/** What connection.start says of the broker. */
export function serverProperties(options: AmqpOptions): Table {
  const capabilities: Table = new Map(CAPABILITIES.map((name): [string, Field] => [name, { type: 't', value: true }]))
  const text = (value: string): Field => ({ type: 'S', value })
  return new Map<string, Field>([
    ['capabilities', { type: 'F', value: capabilities }],
    ['cluster_name', text(options.clusterName)],
    ['copyright', text('Copyright the Stathmos authors')],
    ['information', text(options.information)],
    ['platform', text(options.platform)],
    ['product', text(options.product)],
    ['version', text(options.version)],
  ])
}

/** What a client can do beyond the specification, from its own properties. */
export interface ClientCapabilities {
  readonly authenticationFailureClose: boolean
  readonly consumerCancelNotify: boolean
  readonly connectionBlocked: boolean
}

export const NO_CAPABILITIES: ClientCapabilities = {
  authenticationFailureClose: false,
  consumerCancelNotify: false,
  connectionBlocked: false,
}

export function clientCapabilities(clientProperties: Table): ClientCapabilities {
  const field = clientProperties.get('capabilities')
  if (field?.type !== 'F') return NO_CAPABILITIES
  const capabilities = field.value
  const has = (name: string): boolean => {
    const value = capabilities.get(name)
    return value?.type === 't' && value.value
  }
  return {
    authenticationFailureClose: has('authentication_failure_close'),
    consumerCancelNotify: has('consumer_cancel_notify'),
    connectionBlocked: has('connection.blocked'),
  }
}
