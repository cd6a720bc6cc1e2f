import type { Protocol, World } from '../../session/protocol.ts'
import { AmqpConnection } from './connection.ts'
import { AmqpContext } from './context.ts'
import type { AmqpOptions } from './options.ts'

export {
  AMQP_ORIGIN_KIND as ORIGIN_AMQP,
  originHeaders as amqpOriginHeaders,
  originKeys as amqpOriginKeys,
} from './message.ts'
export { STANDARD_EXCHANGES } from './names.ts'
export { amqpOptions } from './options.ts'

/** The AMQP 0-9-1 front-end, in the dialect that RabbitMQ's clients speak. */
export function openAmqp(world: World, options: AmqpOptions): Protocol {
  const context = new AmqpContext(world, options)
  return { name: 'amqp', open: (transport) => new AmqpConnection(context, transport) }
}
