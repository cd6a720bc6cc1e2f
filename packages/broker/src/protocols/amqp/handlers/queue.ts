import { EngineError, type Queue } from '@stathmos/engine'
import { type Method, REPLY } from '@stathmos/wire/amqp'

import type { AmqpChannel } from '../channel.ts'
import { Refusal, inequivalent, queueLocked, queueNotFound, resource } from '../errors.ts'
import { headersOfTable } from '../message.ts'
import {
  DEFAULT_EXCHANGE,
  REPLY_KEY_PREFIX,
  REPLY_QUEUE,
  cleanName,
  requireOwnName,
  serverQueueName,
} from '../names.ts'
import { type QueueType, readQueueArguments, requireEquivalent } from '../queue-arguments.ts'
import { requireBindable, requireMatch } from './exchange.ts'

type QueueDeclare = Extract<Method, { name: 'queue.declare' }>

export function declareQueue(channel: AmqpChannel, method: QueueDeclare): void {
  const name = cleanName(method.queue)
  if (name === REPLY_QUEUE || name.startsWith(REPLY_KEY_PREFIX)) return declareReplies(channel, name, method.noWait)
  const queue = method.passive ? passively(channel, name) : actively(channel, name, method)
  channel.lastQueue = queue.name
  const { noWait } = method
  const messageCount = queue.ready
  const consumerCount = queue.consumers.length
  const durable = queue.durable && !method.passive
  channel.answer({ name: 'queue.declare-ok', queue: queue.name, messageCount, consumerCount }, { noWait, durable })
}

export function bindQueue(channel: AmqpChannel, method: Extract<Method, { name: 'queue.bind' }>): void {
  const exchange = requireBindable(channel, method.exchange)
  const { queue, key } = bindingEnds(channel, method)
  channel.connection.require('write', 'queue', queue.name)
  channel.connection.require('read', 'exchange', exchange.name)
  requireMatch(exchange, method.arguments)
  channel.vhost.bind(exchange.name, { kind: 'queue', name: queue.name }, key, headersOfTable(method.arguments))
  const durable = queue.durable && exchange.definition.durable
  channel.answer({ name: 'queue.bind-ok' }, { noWait: method.noWait, durable })
}

/** Removes a binding. That it is not there, nor what it would bind, is what was wanted. */
export function unbindQueue(channel: AmqpChannel, method: Extract<Method, { name: 'queue.unbind' }>): void {
  const name = channel.queueName(cleanName(method.queue))
  if (method.exchange === DEFAULT_EXCHANGE) requireBindable(channel, DEFAULT_EXCHANGE)
  channel.connection.require('write', 'queue', name)
  channel.connection.require('read', 'exchange', method.exchange)
  const exchange = channel.vhost.exchange(method.exchange)
  const found = channel.vhost.queue(name)
  if (exchange === undefined || found === undefined) return channel.answer({ name: 'queue.unbind-ok' })
  const queue = channel.queue(name)
  const { key } = bindingEnds(channel, method)
  channel.vhost.unbind(exchange.name, { kind: 'queue', name: queue.name }, key, headersOfTable(method.arguments))
  channel.answer({ name: 'queue.unbind-ok' }, { durable: queue.durable && exchange.definition.durable })
}

export function purgeQueue(channel: AmqpChannel, method: Extract<Method, { name: 'queue.purge' }>): void {
  const name = channel.queueName(cleanName(method.queue))
  channel.connection.require('read', 'queue', name)
  const queue = channel.queue(name)
  const messageCount = queue.purge()
  channel.answer({ name: 'queue.purge-ok', messageCount }, { noWait: method.noWait, durable: queue.durable })
}

export function deleteQueue(channel: AmqpChannel, method: Extract<Method, { name: 'queue.delete' }>): void {
  const name = channel.queueName(cleanName(method.queue))
  const { noWait, ifUnused, ifEmpty } = method
  channel.connection.require('configure', 'queue', name)
  const existing = channel.vhost.queue(name)
  if (existing === undefined) return channel.answer({ name: 'queue.delete-ok', messageCount: 0 }, { noWait })
  const queue = channel.queue(name)
  channel.connection.deferNotices()
  const messageCount = deleted(channel, queue, ifUnused, ifEmpty)
  channel.answer({ name: 'queue.delete-ok', messageCount }, { noWait, durable: queue.durable })
}

function deleted(channel: AmqpChannel, queue: Queue, ifUnused: boolean, ifEmpty: boolean): number {
  try {
    return channel.vhost.deleteQueue(queue, { ifUnused, ifEmpty })
  } catch (error) {
    const thing = resource('queue', queue.name, channel.vhost.name)
    if (error instanceof EngineError && error.code === 'in_use') {
      throw new Refusal(REPLY.preconditionFailed, `${thing} in use`)
    }
    if (error instanceof EngineError && error.code === 'queue_not_empty') {
      throw new Refusal(REPLY.preconditionFailed, `${thing} not empty`)
    }
    throw error
  }
}

/** Looks at a queue. Whoever has no rights at all on it does not learn whether it exists. */
function passively(channel: AmqpChannel, name: string): Queue {
  const known = channel.queueName(name)
  const { access } = channel.connection.context.world.engine
  const { user } = channel.connection
  const permits = (operation: 'configure' | 'write' | 'read'): boolean =>
    access.permits(user!, channel.vhost.name, operation, known)
  if (!permits('write') && !permits('read')) channel.connection.require('configure', 'queue', known)
  const queue = channel.queue(known)
  // As an active declaration does, it shows that the queue is used (RabbitMQ x-expires).
  queue.touch()
  return queue
}

function actively(channel: AmqpChannel, asked: string, method: QueueDeclare): Queue {
  const { connection, vhost } = channel
  if (asked !== '') requireOwnName('queue', asked)
  const name = asked === '' ? serverQueueName(connection.context.world.random) : asked
  connection.require('configure', 'queue', name)
  const thing = resource('queue', name, vhost.name)
  const { durable, exclusive, autoDelete } = method
  const existing = vhost.queue(name)
  if (existing !== undefined) {
    const { definition } = channel.queue(name)
    if (definition.exclusive !== exclusive) throw queueLocked(name, vhost.name)
    if (definition.durable !== durable) throw differs('durable', thing, durable)
    if (definition.autoDelete !== autoDelete) throw differs('auto_delete', thing, autoDelete)
    requireEquivalent(definition, method.arguments, thing)
    existing.touch()
    return existing
  }
  const { type, settings, opaque } = readQueueArguments(method.arguments, thing)
  requireShape(type, method, thing)
  if (settings.deadLetterExchange !== undefined) {
    connection.require('read', 'queue', name)
    connection.require('write', 'exchange', settings.deadLetterExchange)
  }
  return vhost.declareQueue({ name, durable, exclusive, autoDelete, settings, opaque }, connection).queue
}

/** Quorum queues are there to keep messages: nothing else can be asked of them. */
function requireShape(type: QueueType, { durable, exclusive, autoDelete }: QueueDeclare, thing: string): void {
  if (type !== 'quorum') return
  const property = !durable ? 'non-durable' : autoDelete ? 'auto-delete' : exclusive ? 'exclusive-owner' : null
  if (property === null) return
  throw new Refusal(REPLY.preconditionFailed, `invalid property '${property}' for ${thing}`)
}

function differs(field: string, thing: string, received: boolean): Refusal {
  return inequivalent(field, thing, `'${received}'`, `'${!received}'`)
}

/** The queue and the key that a binding is about; both left empty name the queue twice. */
function bindingEnds(
  channel: AmqpChannel,
  { queue, routingKey }: { readonly queue: string; readonly routingKey: string },
): { queue: Queue; key: string } {
  const name = channel.queueName(cleanName(queue))
  return { queue: channel.queue(name), key: queue === '' && routingKey === '' ? name : routingKey }
}

/** Clients declare the queue of direct replies, or somebody's reply name to see whether he is still there. */
function declareReplies(channel: AmqpChannel, name: string, noWait: boolean): void {
  const { replies } = channel.connection.context
  if (name !== REPLY_QUEUE && replies.find(channel.vhost.name, name) === undefined) {
    throw queueNotFound(name, channel.vhost.name)
  }
  channel.answer({ name: 'queue.declare-ok', queue: name, messageCount: 0, consumerCount: 1 }, { noWait })
}
