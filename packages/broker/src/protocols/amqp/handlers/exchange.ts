import { EngineError, type Exchange, type ExchangeDefinition, type ExchangeType, type Queue } from '@stathmos/engine'
import { type Field, type Method, REPLY, type Table } from '@stathmos/wire/amqp'

import type { AmqpChannel } from '../channel.ts'
import { Refusal, exchangeNotFound, inequivalent, resource } from '../errors.ts'
import { typeName, wrongType } from '../field-type.ts'
import { headersOfTable } from '../message.ts'
import { DEFAULT_EXCHANGE, cleanName, isReserved, requireOwnName } from '../names.ts'

type ExchangeDeclare = Extract<Method, { name: 'exchange.declare' }>

const TYPES: ReadonlySet<string> = new Set<ExchangeType>(['direct', 'fanout', 'topic', 'headers'])

/** What a binding to an exchange of the type headers may ask for, x-match. */
const MATCHES: ReadonlySet<string> = new Set(['all', 'any', 'all-with-x', 'any-with-x'])

/** The type of exchanges that hold messages back; `x-delayed-type` says how they route. */
const DELAYED_TYPE = 'x-delayed-message'

export function declareExchange(channel: AmqpChannel, method: ExchangeDeclare): void {
  const name = cleanName(method.exchange)
  const { noWait } = method
  if (name === DEFAULT_EXCHANGE) throw notOnDefault()
  if (method.passive) {
    requireSight(channel, name)
    requireExchange(channel, name)
    return channel.answer({ name: 'exchange.declare-ok' }, { noWait })
  }
  channel.connection.require('configure', 'exchange', name)
  const existing = channel.vhost.exchange(name)
  if (existing === undefined) requireOwnName('exchange', name)
  const definition = definitionOf(channel, name, method)
  if (existing === undefined) channel.vhost.declareExchange(definition)
  else requireEquivalent(existing.definition, definition, resource('exchange', name, channel.vhost.name))
  channel.answer({ name: 'exchange.declare-ok' }, { noWait, durable: method.durable })
}

/** Deletes an exchange; one that is not there is what was wanted. */
export function deleteExchange(channel: AmqpChannel, method: Extract<Method, { name: 'exchange.delete' }>): void {
  const name = cleanName(method.exchange)
  const { noWait, ifUnused } = method
  if (name === DEFAULT_EXCHANGE) throw notOnDefault()
  const thing = resource('exchange', name, channel.vhost.name)
  if (isReserved(name)) throw new Refusal(REPLY.accessRefused, `deletion of system ${thing} not allowed`)
  channel.connection.require('configure', 'exchange', name)
  const exchange = channel.vhost.exchange(name)
  if (exchange === undefined) return channel.answer({ name: 'exchange.delete-ok' }, { noWait })
  try {
    channel.vhost.deleteExchange(exchange, { ifUnused })
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'in_use') throw error
    throw new Refusal(REPLY.preconditionFailed, `${thing} in use`)
  }
  channel.answer({ name: 'exchange.delete-ok' }, { noWait, durable: exchange.definition.durable })
}

export function bindExchange(channel: AmqpChannel, method: Extract<Method, { name: 'exchange.bind' }>): void {
  const { source, destination } = bindingEnds(channel, method)
  const { noWait, routingKey, arguments: args } = method
  const target = { kind: 'exchange', name: destination.name } as const
  requireMatch(source, args)
  channel.vhost.bind(source.name, target, routingKey, headersOfTable(args))
  const durable = source.definition.durable && destination.definition.durable
  channel.answer({ name: 'exchange.bind-ok' }, { noWait, durable })
}

/** Removes a binding. That it is not there, nor what it would bind, is what was wanted. */
export function unbindExchange(channel: AmqpChannel, method: Extract<Method, { name: 'exchange.unbind' }>): void {
  const { noWait, routingKey, arguments: args } = method
  const { vhost } = channel
  if (vhost.exchange(method.source) === undefined || vhost.exchange(method.destination) === undefined) {
    return channel.answer({ name: 'exchange.unbind-ok' }, { noWait })
  }
  const { source, destination } = bindingEnds(channel, method)
  vhost.unbind(source.name, { kind: 'exchange', name: destination.name }, routingKey, headersOfTable(args))
  const durable = source.definition.durable && destination.definition.durable
  channel.answer({ name: 'exchange.unbind-ok' }, { noWait, durable })
}

/** @throws {Refusal} 404 */
function requireExchange(channel: AmqpChannel, name: string): Exchange<Queue> {
  const exchange = channel.vhost.exchange(name)
  if (exchange === undefined) throw exchangeNotFound(name, channel.vhost.name)
  return exchange
}

/** @throws {Refusal} 406 for a way to match headers that there is not, in RabbitMQ's words */
export function requireMatch(source: Exchange<Queue>, args: Table): void {
  const field = source.type === 'headers' ? args.get('x-match') : undefined
  if (field === undefined) return
  if (field.type !== 'S' || typeof field.value !== 'string') {
    const { value } = field
    const shown = typeof value === 'object' ? '...' : String(value)
    const text = `Invalid x-match field type ${typeName(field)} (value ${shown}); expected longstr`
    throw new Refusal(REPLY.preconditionFailed, text)
  }
  if (MATCHES.has(field.value)) return
  const text = `Invalid x-match field value <<"${field.value}">>; expected all, any, all-with-x, or any-with-x`
  throw new Refusal(REPLY.preconditionFailed, text)
}

/** An exchange that clients may bind. @throws {Refusal} 404, or 403 for the default exchange */
export function requireBindable(channel: AmqpChannel, name: string): Exchange<Queue> {
  if (name === DEFAULT_EXCHANGE) throw notOnDefault()
  return requireExchange(channel, name)
}

function bindingEnds(
  channel: AmqpChannel,
  method: { readonly source: string; readonly destination: string },
): { source: Exchange<Queue>; destination: Exchange<Queue> } {
  const destination = requireBindable(channel, method.destination)
  const source = requireBindable(channel, method.source)
  channel.connection.require('write', 'exchange', destination.name)
  channel.connection.require('read', 'exchange', source.name)
  return { source, destination }
}

function notOnDefault(): Refusal {
  return new Refusal(REPLY.accessRefused, 'operation not permitted on the default exchange')
}

/** Whoever has no rights at all on an exchange does not learn whether it exists. */
function requireSight(channel: AmqpChannel, name: string): void {
  const { access } = channel.connection.context.world.engine
  const user = channel.connection.user!
  const { name: vhost } = channel.vhost
  if (access.permits(user, vhost, 'write', name) || access.permits(user, vhost, 'read', name)) return
  channel.connection.require('configure', 'exchange', name)
}

function definitionOf(channel: AmqpChannel, name: string, method: ExchangeDeclare): ExchangeDefinition {
  const { arguments: args, durable, autoDelete, internal } = method
  const thing = resource('exchange', name, channel.vhost.name)
  const delayed = method.type === DELAYED_TYPE
  const type = delayed ? delayedType(args, thing) : method.type
  // The connection ends, since a client that asks for an unknown type was made for another broker.
  if (!isType(type)) throw new Refusal(REPLY.commandInvalid, `unknown exchange type '${method.type}'`)
  const alternate = textArgument(args, 'alternate-exchange', thing)
  if (alternate !== undefined) {
    channel.connection.require('read', 'exchange', name)
    channel.connection.require('write', 'exchange', alternate)
  }
  return {
    name,
    type,
    durable,
    autoDelete,
    internal,
    delayed,
    ...(alternate === undefined ? {} : { alternate }),
    opaque: '',
  }
}

function delayedType(args: Table, thing: string): string {
  const type = textArgument(args, 'x-delayed-type', thing)
  if (type !== undefined && isType(type)) return type
  const text = `Invalid argument, 'x-delayed-type' must be an existing exchange type`
  throw new Refusal(REPLY.preconditionFailed, text)
}

function isType(type: string): type is ExchangeType {
  return TYPES.has(type)
}

function textArgument(args: Table, name: string, thing: string): string | undefined {
  const field: Field | undefined = args.get(name)
  if (field === undefined) return undefined
  if (field.type === 'S' && typeof field.value === 'string') return field.value
  throw wrongType(name, field, thing)
}

/** @throws {Refusal} 406 that names the first difference */
function requireEquivalent(current: ExchangeDefinition, received: ExchangeDefinition, thing: string): void {
  const typeOf = ({ delayed, type }: ExchangeDefinition): string => (delayed ? DELAYED_TYPE : type)
  const compared: readonly (readonly [string, string | boolean, string | boolean])[] = [
    ['type', typeOf(received), typeOf(current)],
    ['durable', received.durable, current.durable],
    ['auto_delete', received.autoDelete, current.autoDelete],
    ['internal', received.internal, current.internal],
  ]
  for (const [field, asked, is] of compared) {
    if (asked !== is) throw inequivalent(field, thing, `'${asked}'`, `'${is}'`)
  }
  if (received.type !== current.type) {
    throw inequivalent('x-delayed-type', thing, `'${received.type}'`, `'${current.type}'`)
  }
  if (received.alternate !== current.alternate) {
    const known = received.alternate !== undefined && current.alternate !== undefined
    const text = known ? (value?: string): string => `'${value}'` : described
    throw inequivalent('alternate-exchange', thing, text(received.alternate), text(current.alternate))
  }
}

function described(value: string | undefined): string {
  return value === undefined ? 'none' : `the value '${value}' of type 'longstr'`
}
