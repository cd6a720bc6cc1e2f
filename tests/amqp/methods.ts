// The methods of AMQP 0-9-1 with RabbitMQ's extensions, as the suites' own raw client knows them: written from the
// specification and apart from the broker's codec, so that one misreading cannot hide in both.

/** How a method argument is written. */
export type ArgumentType = 'octet' | 'short' | 'long' | 'longlong' | 'shortstr' | 'longstr' | 'table' | 'bit'

export interface MethodShape {
  readonly id: readonly [classId: number, methodId: number]
  readonly arguments: readonly (readonly [name: string, type: ArgumentType])[]
}

function shape(classId: number, methodId: number, list = ''): MethodShape {
  const entries = list.split(' ').filter((entry) => entry !== '')
  return {
    id: [classId, methodId],
    arguments: entries.map((entry) => entry.split(':') as [string, ArgumentType]),
  }
}

const CLOSE = 'replyCode:short replyText:shortstr classId:short methodId:short'
const TUNE = 'channelMax:short frameMax:long heartbeat:short'
const BINDING = 'routingKey:shortstr nowait:bit arguments:table'

export const METHODS: Readonly<Record<string, MethodShape>> = {
  'connection.start': shape(
    10,
    10,
    'major:octet minor:octet serverProperties:table mechanisms:longstr locales:longstr',
  ),
  'connection.start-ok': shape(10, 11, 'clientProperties:table mechanism:shortstr response:longstr locale:shortstr'),
  'connection.secure': shape(10, 20, 'challenge:longstr'),
  'connection.tune': shape(10, 30, TUNE),
  'connection.tune-ok': shape(10, 31, TUNE),
  'connection.open': shape(10, 40, 'virtualHost:shortstr reserved1:shortstr reserved2:bit'),
  'connection.open-ok': shape(10, 41, 'reserved1:shortstr'),
  'connection.close': shape(10, 50, CLOSE),
  'connection.close-ok': shape(10, 51),
  'connection.blocked': shape(10, 60, 'reason:shortstr'),
  'connection.unblocked': shape(10, 61),
  'channel.open': shape(20, 10, 'reserved1:shortstr'),
  'channel.open-ok': shape(20, 11, 'reserved1:longstr'),
  'channel.flow': shape(20, 20, 'active:bit'),
  'channel.flow-ok': shape(20, 21, 'active:bit'),
  'channel.close': shape(20, 40, CLOSE),
  'channel.close-ok': shape(20, 41),
  'access.request': shape(30, 10, 'realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit'),
  'access.request-ok': shape(30, 11, 'ticket:short'),
  'exchange.declare': shape(
    40,
    10,
    'ticket:short exchange:shortstr type:shortstr passive:bit durable:bit autoDelete:bit internal:bit nowait:bit arguments:table',
  ),
  'exchange.declare-ok': shape(40, 11),
  'exchange.delete': shape(40, 20, 'ticket:short exchange:shortstr ifUnused:bit nowait:bit'),
  'exchange.delete-ok': shape(40, 21),
  'exchange.bind': shape(40, 30, `ticket:short destination:shortstr source:shortstr ${BINDING}`),
  'exchange.bind-ok': shape(40, 31),
  'exchange.unbind': shape(40, 40, `ticket:short destination:shortstr source:shortstr ${BINDING}`),
  'exchange.unbind-ok': shape(40, 51),
  'queue.declare': shape(
    50,
    10,
    'ticket:short queue:shortstr passive:bit durable:bit exclusive:bit autoDelete:bit nowait:bit arguments:table',
  ),
  'queue.declare-ok': shape(50, 11, 'queue:shortstr messageCount:long consumerCount:long'),
  'queue.bind': shape(50, 20, `ticket:short queue:shortstr exchange:shortstr ${BINDING}`),
  'queue.bind-ok': shape(50, 21),
  'queue.purge': shape(50, 30, 'ticket:short queue:shortstr nowait:bit'),
  'queue.purge-ok': shape(50, 31, 'messageCount:long'),
  'queue.delete': shape(50, 40, 'ticket:short queue:shortstr ifUnused:bit ifEmpty:bit nowait:bit'),
  'queue.delete-ok': shape(50, 41, 'messageCount:long'),
  'queue.unbind': shape(50, 50, 'ticket:short queue:shortstr exchange:shortstr routingKey:shortstr arguments:table'),
  'queue.unbind-ok': shape(50, 51),
  'basic.qos': shape(60, 10, 'prefetchSize:long prefetchCount:short global:bit'),
  'basic.qos-ok': shape(60, 11),
  'basic.consume': shape(
    60,
    20,
    'ticket:short queue:shortstr consumerTag:shortstr noLocal:bit noAck:bit exclusive:bit nowait:bit arguments:table',
  ),
  'basic.consume-ok': shape(60, 21, 'consumerTag:shortstr'),
  'basic.cancel': shape(60, 30, 'consumerTag:shortstr nowait:bit'),
  'basic.cancel-ok': shape(60, 31, 'consumerTag:shortstr'),
  'basic.publish': shape(60, 40, 'ticket:short exchange:shortstr routingKey:shortstr mandatory:bit immediate:bit'),
  'basic.return': shape(60, 50, 'replyCode:short replyText:shortstr exchange:shortstr routingKey:shortstr'),
  'basic.deliver': shape(
    60,
    60,
    'consumerTag:shortstr deliveryTag:longlong redelivered:bit exchange:shortstr routingKey:shortstr',
  ),
  'basic.get': shape(60, 70, 'ticket:short queue:shortstr noAck:bit'),
  'basic.get-ok': shape(
    60,
    71,
    'deliveryTag:longlong redelivered:bit exchange:shortstr routingKey:shortstr messageCount:long',
  ),
  'basic.get-empty': shape(60, 72, 'reserved1:shortstr'),
  'basic.ack': shape(60, 80, 'deliveryTag:longlong multiple:bit'),
  'basic.reject': shape(60, 90, 'deliveryTag:longlong requeue:bit'),
  'basic.recover-async': shape(60, 100, 'requeue:bit'),
  'basic.recover': shape(60, 110, 'requeue:bit'),
  'basic.recover-ok': shape(60, 111),
  'basic.nack': shape(60, 120, 'deliveryTag:longlong multiple:bit requeue:bit'),
  'confirm.select': shape(85, 10, 'nowait:bit'),
  'confirm.select-ok': shape(85, 11),
  'tx.select': shape(90, 10),
  'tx.select-ok': shape(90, 11),
  'tx.commit': shape(90, 20),
  'tx.commit-ok': shape(90, 21),
  'tx.rollback': shape(90, 30),
  'tx.rollback-ok': shape(90, 31),
}

const NAMES = new Map(Object.entries(METHODS).map(([name, { id }]) => [id[0] * 65536 + id[1], name]))

/** The name of a method, or `class.method` in digits for one that the table does not have. */
export function methodName(classId: number, methodId: number): string {
  return NAMES.get(classId * 65536 + methodId) ?? `${classId}.${methodId}`
}

/** The properties of a content header, in the order of their flags from bit 15 down. */
export const PROPERTIES: readonly (readonly [name: string, type: ArgumentType | 'timestamp'])[] = [
  ['contentType', 'shortstr'],
  ['contentEncoding', 'shortstr'],
  ['headers', 'table'],
  ['deliveryMode', 'octet'],
  ['priority', 'octet'],
  ['correlationId', 'shortstr'],
  ['replyTo', 'shortstr'],
  ['expiration', 'shortstr'],
  ['messageId', 'shortstr'],
  ['timestamp', 'timestamp'],
  ['type', 'shortstr'],
  ['userId', 'shortstr'],
  ['appId', 'shortstr'],
  ['clusterId', 'shortstr'],
]
