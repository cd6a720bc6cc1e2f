import { EngineError } from '@stathmos/engine'
import { type Field, type Method, REPLY, type Table } from '@stathmos/wire/amqp'

import type { AmqpChannel } from '../channel.ts'
import { Refusal, resource } from '../errors.ts'
import { noInteger } from '../field-type.ts'
import { REPLY_QUEUE, cleanName, serverConsumerTag } from '../names.ts'

export function qos(channel: AmqpChannel, method: Extract<Method, { name: 'basic.qos' }>): void {
  const { prefetchSize, prefetchCount, global } = method
  if (prefetchSize !== 0) throw new Refusal(REPLY.notImplemented, `prefetch_size!=0 (${prefetchSize})`)
  if (global) channel.deliveries.limitAll(prefetchCount)
  else channel.deliveries.prefetchCount = prefetchCount
  channel.send({ name: 'basic.qos-ok' })
}

export function consume(channel: AmqpChannel, method: Extract<Method, { name: 'basic.consume' }>): void {
  const { deliveries, connection, vhost } = channel
  const { noAck, exclusive, noWait } = method
  const name = channel.queueName(cleanName(method.queue))
  const consumerTag =
    method.consumerTag === '' ? serverConsumerTag(connection.context.world.random) : method.consumerTag
  if (deliveries.hasTag(consumerTag)) {
    throw new Refusal(REPLY.notAllowed, `attempt to reuse consumer tag '${consumerTag}'`)
  }
  if (name === REPLY_QUEUE) {
    if (!noAck) throw new Refusal(REPLY.preconditionFailed, 'reply consumer cannot acknowledge')
    deliveries.consumeReplies(consumerTag)
    return channel.answer({ name: 'basic.consume-ok', consumerTag }, { noWait })
  }
  connection.require('read', 'queue', name)
  const queue = channel.queue(name)
  const priority = priorityOf(method.arguments, resource('queue', name, vhost.name))
  const inUse = (): Refusal =>
    new Refusal(REPLY.accessRefused, `${resource('queue', name, vhost.name)} in exclusive use`)
  // Whose turn it is is the queue's business there: nobody can have it to himself.
  if (exclusive && queue.definition.settings.singleActive === true) throw inUse()
  try {
    deliveries.consume(queue, consumerTag, { noAck, exclusive, priority })
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'exclusive_consumer') throw error
    throw inUse()
  }
  // Deliveries begin at the end of the turn at the earliest, so that they come after this.
  channel.answer({ name: 'basic.consume-ok', consumerTag }, { noWait })
}

/** Ends a consumer; one that is not there is what was wanted. */
export function cancel(channel: AmqpChannel, method: Extract<Method, { name: 'basic.cancel' }>): void {
  const { consumerTag, noWait } = method
  channel.deliveries.cancel(consumerTag)
  channel.answer({ name: 'basic.cancel-ok', consumerTag }, { noWait })
}

export function get(channel: AmqpChannel, { queue: asked, noAck }: Extract<Method, { name: 'basic.get' }>): void {
  const name = channel.queueName(cleanName(asked))
  channel.connection.require('read', 'queue', name)
  const queue = channel.queue(name)
  const done = channel.connection.hold()
  queue.get(noAck, (ticket, message, remaining) => {
    if (channel.over) {
      if (message !== null && !noAck) queue.release(ticket)
    } else if (message === null) channel.send({ name: 'basic.get-empty' })
    else channel.deliveries.got(queue, ticket, message, remaining, noAck)
    done()
  })
}

export function recover(
  channel: AmqpChannel,
  method: Extract<Method, { name: 'basic.recover' | 'basic.recover-async' }>,
): void {
  if (!method.requeue) throw new Refusal(REPLY.notImplemented, 'requeue=false')
  channel.deliveries.recover()
  if (method.name === 'basic.recover') channel.send({ name: 'basic.recover-ok' })
}

/** `x-priority` of a consumer: an integer of any width. */
function priorityOf(args: Table, thing: string): number {
  const field: Field | undefined = args.get('x-priority')
  if (field === undefined) return 0
  const { type, value } = field
  if (typeof value === 'bigint' && type === 'l') return Number(value)
  if (typeof value === 'number' && type !== 'f' && type !== 'd' && type !== 'D') return value
  throw new Refusal(REPLY.preconditionFailed, `invalid arg 'x-priority' for ${thing}: ${noInteger(field)}`)
}
