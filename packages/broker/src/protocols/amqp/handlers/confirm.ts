import { type Method, REPLY } from '@stathmos/wire/amqp'

import type { AmqpChannel } from '../channel.ts'
import { Refusal } from '../errors.ts'

export function confirmSelect(channel: AmqpChannel, { noWait }: Extract<Method, { name: 'confirm.select' }>): void {
  if (channel.transaction !== null) {
    throw new Refusal(REPLY.preconditionFailed, 'cannot switch from tx to confirm mode')
  }
  channel.publishing.select()
  channel.answer({ name: 'confirm.select-ok' }, { noWait })
}
