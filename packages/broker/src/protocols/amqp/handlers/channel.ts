import { type Method, REPLY } from '@stathmos/wire/amqp'

import type { AmqpChannel } from '../channel.ts'
import { Refusal } from '../errors.ts'

export function openAgain(): never {
  throw new Refusal(REPLY.channelError, "second 'channel.open' seen")
}

/** Deliveries are limited by prefetch, not stopped: only "go on" has a meaning. */
export function flow(channel: AmqpChannel, { active }: Extract<Method, { name: 'channel.flow' }>): void {
  if (!active) throw new Refusal(REPLY.notImplemented, 'active=false')
  channel.send({ name: 'channel.flow-ok', active: true })
}

/** Tickets are of an older protocol. Any will do. */
export function accessRequest(channel: AmqpChannel): void {
  channel.send({ name: 'access.request-ok', ticket: 1 })
}
