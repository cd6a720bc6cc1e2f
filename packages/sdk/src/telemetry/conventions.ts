/**
 * The names of all metrics, spans and attributes, in one place: what dashboards and alert rules are written against.
 * `messaging.*` and `error.type` are OpenTelemetry's (semantic conventions for messaging, version {@link SEMCONV});
 * `stathmos.sdk.*` is what they have no word for. docs/sdk/operations.md lists all of them; a test keeps it complete.
 */
export const SEMCONV = '1.44.0'

/** Attributes of spans and metrics. */
export const ATTRIBUTE = {
  /** The transport's name, as in {@link systemOf}. */
  system: 'messaging.system',
  /** One of {@link OPERATION}. */
  operationName: 'messaging.operation.name',
  /** `create`, `send`, `receive`, `process` or `settle`; see {@link operationTypeOf}. */
  operationType: 'messaging.operation.type',
  /** The contract's name: where messages of it are sent to. */
  destination: 'messaging.destination.name',
  /** The consumer that handles, `<service>.<consumer>`. */
  consumerGroup: 'messaging.consumer.group.name',
  messageId: 'messaging.message.id',
  /** The correlation id. */
  conversationId: 'messaging.message.conversation_id',
  bodySize: 'messaging.message.body.size',
  batchCount: 'messaging.batch.message_count',
  /** The error's code or class; absent where nothing failed. Never a text, which would be a series of its own each time. */
  errorType: 'error.type',
  /** The service's name, the `source` of its messages. */
  service: 'stathmos.sdk.service',
  /** A handler's own name, without the service's. */
  consumer: 'stathmos.sdk.consumer',
  /** A state of the register: `waiting`, `retrying`, `parked`, … */
  state: 'stathmos.sdk.state',
  /** What came of it: `park-key`, `park-message`, `drop`, `retry`; `next`, `gap`, `late`; … */
  outcome: 'stathmos.sdk.outcome',
  attempt: 'stathmos.sdk.attempt',
  /** What a message is about. On spans only: as a metric's attribute it would be a series for every key. */
  key: 'stathmos.sdk.message.key',
  version: 'stathmos.sdk.message.version',
  schedule: 'stathmos.sdk.schedule',
} as const

/** Values of {@link ATTRIBUTE.operationName}; a span's name is `<operation> <contract>`, see {@link spanName}. */
export const OPERATION = {
  /** A message is made within a transaction: what its consumers' spans are linked to. */
  publish: 'publish',
  /** The relay hands messages to the engine. */
  send: 'send',
  /** A handler runs. */
  process: 'process',
  /** A request is sent and its reply waited for. */
  ask: 'ask',
  /** A request is answered. */
  answer: 'answer',
} as const

export type Operation = (typeof OPERATION)[keyof typeof OPERATION]

/** Metrics. Durations and ages are seconds, as OpenTelemetry wants them; sizes are bytes. */
export const METRIC = {
  /** Histogram, s: one call to the engine. */
  operationDuration: 'messaging.client.operation.duration',
  /** Histogram, s: one run of a handler. */
  processDuration: 'messaging.process.duration',
  /** Counter: messages handed to the engine, with `error.type` those that it did not take. */
  sent: 'messaging.client.sent.messages',
  /** Counter: messages that were delivered to a handler. */
  consumed: 'messaging.client.consumed.messages',

  /** Gauge: messages that wait to be sent. */
  outboxPending: 'stathmos.sdk.outbox.pending',
  /** Gauge, s: how long the oldest of them has waited. */
  outboxOldestAge: 'stathmos.sdk.outbox.oldest_age',
  /** Gauge: messages that were given up. */
  outboxParked: 'stathmos.sdk.outbox.parked',
  /** Gauge: keys that are held back until an operator decides. */
  outboxParkedKeys: 'stathmos.sdk.outbox.parked_keys',
  /** Histogram, s: from the publishing of a message to the engine's answer. */
  outboxLag: 'stathmos.sdk.outbox.lag',
  /** Counter, by outcome: messages that could not be sent. */
  outboxFailures: 'stathmos.sdk.outbox.failures',
  /** Counter, by outcome (`refused`, `waited`): messages that met a full outbox. */
  outboxFull: 'stathmos.sdk.outbox.full',
  /** Counter: sent messages whose bucket had another owner by then; their consumers may see them twice. */
  outboxLeaseLost: 'stathmos.sdk.outbox.lease_lost',

  /** Gauge, by consumer and state: messages that are kept because they could not be handled yet. */
  inboxStored: 'stathmos.sdk.inbox.stored',
  /** Counter, by consumer: deliveries of messages that were handled before. */
  inboxDuplicates: 'stathmos.sdk.inbox.duplicates',
  /** Counter, by consumer: messages whose predecessor of the same key was never seen. */
  inboxGaps: 'stathmos.sdk.inbox.gaps',
  /** Counter, by consumer: messages that came after a later one of their key. */
  inboxLate: 'stathmos.sdk.inbox.late',
  /** Counter, by consumer and outcome: handlers that failed. */
  inboxFailures: 'stathmos.sdk.inbox.failures',
  /** Counter, by consumer: messages that nobody needed any more when their turn came. */
  inboxExpired: 'stathmos.sdk.inbox.expired',
  /** Histogram, s, by consumer: from the publishing of a message to its handler's end. */
  inboxLag: 'stathmos.sdk.inbox.lag',

  /** Counter: timers whose message went to the outbox. */
  timersFired: 'stathmos.sdk.timers.fired',
  /** Gauge, s: how long the earliest timer is overdue; 0 when none is. */
  timersOverdue: 'stathmos.sdk.timers.overdue_age',
  /** Counter, by schedule: occurrences that became messages. */
  schedulesFired: 'stathmos.sdk.schedules.fired',
  /** Counter, by schedule: occurrences that were skipped. */
  schedulesSkipped: 'stathmos.sdk.schedules.skipped',
  /** Counter, by consumer: messages that had to wait for their turn. */
  rateWaits: 'stathmos.sdk.rate.waits',

  /** Gauge: requests that wait for a reply. */
  requestsOutstanding: 'stathmos.sdk.requests.outstanding',
  /** Counter: replies that came after their request had been given up, or for none that this process knows. */
  requestsLateReplies: 'stathmos.sdk.requests.late_replies',
  /** Counter: requests that were dropped unanswered because their time was over. */
  requestsExpired: 'stathmos.sdk.requests.expired',

  /** Gauge: 1 while the engine can be reached, 0 otherwise. */
  transportUp: 'stathmos.sdk.transport.up',
} as const

/**
 * The unit of a metric, as OpenTelemetry writes it (UCUM): seconds, or in braces what is counted. Never `1`, of which
 * Prometheus would make a name that ends in `_ratio`.
 */
export function unitOf(metric: string): string {
  if (/(\.duration|_age|\.lag)$/.test(metric)) return 's'
  const counted = COUNTED.find(([pattern]) => pattern.test(metric))
  return counted?.[1] ?? '{message}'
}

const COUNTED: readonly (readonly [RegExp, string])[] = [
  [/\.parked_keys$/, '{key}'],
  [/\.requests\./, '{request}'],
  [/\.schedules\./, '{occurrence}'],
  [/\.timers\./, '{timer}'],
  [/\.transport\./, '{connection}'],
]

/** Names that others have for the engines; what they have no name for is called what it calls itself. */
const SYSTEMS: Readonly<Record<string, string>> = { amqp: 'rabbitmq', sqs: 'aws_sqs', embedded: 'stathmos' }

/** What {@link ATTRIBUTE.system} says of a transport. Who speaks AMQP is `rabbitmq`, because that is what tools know. */
export function systemOf(transport: string): string {
  return SYSTEMS[transport] ?? transport
}

/** `process ticket.submitted`. */
export function spanName(operation: Operation, contract: string): string {
  return `${operation} ${contract}`
}

/** OpenTelemetry's class of an operation. */
export function operationTypeOf(operation: Operation): 'create' | 'send' | 'process' {
  if (operation === 'publish') return 'create'
  return operation === 'process' || operation === 'answer' ? 'process' : 'send'
}

/** What {@link ATTRIBUTE.errorType} says of something that was thrown: its code, or else its class. */
export function errorTypeOf(error: unknown): string {
  try {
    if (!(error instanceof Error)) return 'thrown'
    return 'code' in error && typeof error.code === 'string' ? error.code : error.name
  } catch {
    // It does not let itself be looked at.
    return 'thrown'
  }
}
