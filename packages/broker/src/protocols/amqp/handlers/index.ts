import { type Method, REPLY } from '@stathmos/wire/amqp'

import type { AmqpChannel, Handle } from '../channel.ts'
import { Refusal } from '../errors.ts'
import { cancel, consume, get, qos, recover } from './basic.ts'
import { accessRequest, flow, openAgain } from './channel.ts'
import { confirmSelect } from './confirm.ts'
import { bindExchange, declareExchange, deleteExchange, unbindExchange } from './exchange.ts'
import { bindQueue, declareQueue, deleteQueue, purgeQueue, unbindQueue } from './queue.ts'
import { txCommit, txRollback, txSelect } from './tx.ts'

/** Handles a method of an open channel, other than the ones that come once for every message. */
export const handle: Handle = (channel: AmqpChannel, method: Method): void => {
  switch (method.name) {
    case 'channel.open':
      return openAgain()
    case 'channel.flow':
      return flow(channel, method)
    case 'channel.flow-ok':
      return
    case 'access.request':
      return accessRequest(channel)
    case 'exchange.declare':
      return declareExchange(channel, method)
    case 'exchange.delete':
      return deleteExchange(channel, method)
    case 'exchange.bind':
      return bindExchange(channel, method)
    case 'exchange.unbind':
      return unbindExchange(channel, method)
    case 'queue.declare':
      return declareQueue(channel, method)
    case 'queue.bind':
      return bindQueue(channel, method)
    case 'queue.unbind':
      return unbindQueue(channel, method)
    case 'queue.purge':
      return purgeQueue(channel, method)
    case 'queue.delete':
      return deleteQueue(channel, method)
    case 'basic.qos':
      return qos(channel, method)
    case 'basic.consume':
      return consume(channel, method)
    case 'basic.cancel':
      return cancel(channel, method)
    case 'basic.cancel-ok':
      return
    case 'basic.get':
      return get(channel, method)
    case 'basic.recover':
    case 'basic.recover-async':
      return recover(channel, method)
    case 'confirm.select':
      return confirmSelect(channel, method)
    case 'tx.select':
      return txSelect(channel)
    case 'tx.commit':
      return txCommit(channel)
    case 'tx.rollback':
      return txRollback(channel)
    default:
      throw new Refusal(REPLY.commandInvalid, `'${method.name}' is not for the broker, or not on this channel`)
  }
}
