/**
 * The methods of AMQP 0-9-1 with RabbitMQ's extensions, as a table of facts: class, method id, fields in wire order.
 * `tools/codegen/amqp.mjs` turns it into `src/amqp/methods.gen.ts`; run that after a change here.
 *
 * A field is `name:type`; `_:type` is reserved by the specification, written as zero and skipped when read.
 * Types: `bit` (consecutive bits share octets), `octet`, `short`, `long`, `longlong` (unsigned, most significant octet
 * first), `shortstr` (UTF-8, at most 255 octets), `replytext` (a `shortstr` for people, cut to fit when written),
 * `longstr` (bytes), `longtext` (a `longstr` that is UTF-8), `table`.
 *
 * Sources: AMQP 0-9-1 specification §1 (classes and methods); RabbitMQ's protocol extensions (connection.blocked,
 * connection.update-secret, exchange.bind, basic.nack, confirm).
 */
export const classes = [
  {
    name: 'connection',
    id: 10,
    methods: {
      start: [10, 'versionMajor:octet versionMinor:octet serverProperties:table mechanisms:longtext locales:longtext'],
      'start-ok': [11, 'clientProperties:table mechanism:shortstr response:longstr locale:shortstr'],
      secure: [20, 'challenge:longstr'],
      'secure-ok': [21, 'response:longstr'],
      tune: [30, 'channelMax:short frameMax:long heartbeat:short'],
      'tune-ok': [31, 'channelMax:short frameMax:long heartbeat:short'],
      open: [40, 'virtualHost:shortstr _:shortstr _:bit'],
      'open-ok': [41, '_:shortstr'],
      close: [50, 'replyCode:short replyText:replytext classId:short methodId:short'],
      'close-ok': [51, ''],
      blocked: [60, 'reason:replytext'],
      unblocked: [61, ''],
      'update-secret': [70, 'newSecret:longstr reason:shortstr'],
      'update-secret-ok': [71, ''],
    },
  },
  {
    name: 'channel',
    id: 20,
    methods: {
      open: [10, '_:shortstr'],
      'open-ok': [11, '_:longstr'],
      flow: [20, 'active:bit'],
      'flow-ok': [21, 'active:bit'],
      close: [40, 'replyCode:short replyText:replytext classId:short methodId:short'],
      'close-ok': [41, ''],
    },
  },
  {
    name: 'access',
    id: 30,
    methods: {
      request: [10, 'realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit'],
      'request-ok': [11, 'ticket:short'],
    },
  },
  {
    name: 'exchange',
    id: 40,
    methods: {
      declare: [
        10,
        '_:short exchange:shortstr type:shortstr passive:bit durable:bit autoDelete:bit internal:bit noWait:bit arguments:table',
      ],
      'declare-ok': [11, ''],
      delete: [20, '_:short exchange:shortstr ifUnused:bit noWait:bit'],
      'delete-ok': [21, ''],
      bind: [30, '_:short destination:shortstr source:shortstr routingKey:shortstr noWait:bit arguments:table'],
      'bind-ok': [31, ''],
      unbind: [40, '_:short destination:shortstr source:shortstr routingKey:shortstr noWait:bit arguments:table'],
      // Not 41: the extension was published with 51, and every client knows it so.
      'unbind-ok': [51, ''],
    },
  },
  {
    name: 'queue',
    id: 50,
    methods: {
      declare: [
        10,
        '_:short queue:shortstr passive:bit durable:bit exclusive:bit autoDelete:bit noWait:bit arguments:table',
      ],
      'declare-ok': [11, 'queue:shortstr messageCount:long consumerCount:long'],
      bind: [20, '_:short queue:shortstr exchange:shortstr routingKey:shortstr noWait:bit arguments:table'],
      'bind-ok': [21, ''],
      purge: [30, '_:short queue:shortstr noWait:bit'],
      'purge-ok': [31, 'messageCount:long'],
      delete: [40, '_:short queue:shortstr ifUnused:bit ifEmpty:bit noWait:bit'],
      'delete-ok': [41, 'messageCount:long'],
      unbind: [50, '_:short queue:shortstr exchange:shortstr routingKey:shortstr arguments:table'],
      'unbind-ok': [51, ''],
    },
  },
  {
    name: 'basic',
    id: 60,
    methods: {
      qos: [10, 'prefetchSize:long prefetchCount:short global:bit'],
      'qos-ok': [11, ''],
      consume: [
        20,
        '_:short queue:shortstr consumerTag:shortstr noLocal:bit noAck:bit exclusive:bit noWait:bit arguments:table',
      ],
      'consume-ok': [21, 'consumerTag:shortstr'],
      cancel: [30, 'consumerTag:shortstr noWait:bit'],
      'cancel-ok': [31, 'consumerTag:shortstr'],
      publish: [40, '_:short exchange:shortstr routingKey:shortstr mandatory:bit immediate:bit'],
      return: [50, 'replyCode:short replyText:replytext exchange:shortstr routingKey:shortstr'],
      deliver: [60, 'consumerTag:shortstr deliveryTag:longlong redelivered:bit exchange:shortstr routingKey:shortstr'],
      get: [70, '_:short queue:shortstr noAck:bit'],
      'get-ok': [71, 'deliveryTag:longlong redelivered:bit exchange:shortstr routingKey:shortstr messageCount:long'],
      'get-empty': [72, '_:shortstr'],
      ack: [80, 'deliveryTag:longlong multiple:bit'],
      reject: [90, 'deliveryTag:longlong requeue:bit'],
      'recover-async': [100, 'requeue:bit'],
      recover: [110, 'requeue:bit'],
      'recover-ok': [111, ''],
      nack: [120, 'deliveryTag:longlong multiple:bit requeue:bit'],
    },
  },
  { name: 'confirm', id: 85, methods: { select: [10, 'noWait:bit'], 'select-ok': [11, ''] } },
  {
    name: 'tx',
    id: 90,
    methods: {
      select: [10, ''],
      'select-ok': [11, ''],
      commit: [20, ''],
      'commit-ok': [21, ''],
      rollback: [30, ''],
      'rollback-ok': [31, ''],
    },
  },
]
