import { REPLY } from '@stathmos/wire/amqp'

import type { AmqpChannel } from '../channel.ts'
import { Refusal } from '../errors.ts'
import { AmqpTransaction } from '../transaction.ts'

export function txSelect(channel: AmqpChannel): void {
  if (channel.publishing.confirms !== null) {
    throw new Refusal(REPLY.preconditionFailed, 'cannot switch from confirm to tx mode')
  }
  channel.transaction ??= new AmqpTransaction(channel, channel.publishing, channel.deliveries)
  channel.send({ name: 'tx.select-ok' })
}

export function txCommit(channel: AmqpChannel): void {
  transactionOf(channel).commit()
}

export function txRollback(channel: AmqpChannel): void {
  transactionOf(channel).rollback()
  channel.send({ name: 'tx.rollback-ok' })
}

function transactionOf(channel: AmqpChannel): AmqpTransaction {
  if (channel.transaction === null) throw new Refusal(REPLY.preconditionFailed, 'channel is not transactional')
  return channel.transaction
}
