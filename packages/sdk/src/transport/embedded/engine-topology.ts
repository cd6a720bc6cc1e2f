import type { Queue, QueueSettings, VHost } from '@stathmos/engine'
import { SdkError } from '../../errors.ts'
import { queuesOf } from '../consumer-queues.ts'
import type { ConsumerTopology } from '../port.ts'

/** How long the queue of a process that was killed waits for it. */
const REPLIES_EXPIRE_MS = 300_000

/** The exchange of a contract: durable, and named by its type. */
export function declareExchange(vhost: VHost, type: string): void {
  const kind = { type: 'topic', durable: true, autoDelete: false, internal: false, delayed: false } as const
  if (vhost.exchange(type) === undefined) vhost.declareExchange({ name: type, ...kind, opaque: '' })
}

/** The queues of a consumer, bound to its contract. */
export function declareConsumer(vhost: VHost, consumer: ConsumerTopology): readonly Queue[] {
  const { type } = consumer.contract
  declareExchange(vhost, type)
  return queuesOf(consumer).map(({ name, buckets, singleActive }) => {
    const queue = declareQueue(vhost, name, singleActive ? { singleActive } : {})
    if (queue.definition.settings.singleActive !== (singleActive ? true : undefined)) {
      const text = `queue "${name}" is there and not for an ordered consumer; delete it, or name the consumer otherwise`
      throw new SdkError('invalid_declaration', text, { data: { queue: name } })
    }
    const keys = buckets === null ? ['#'] : buckets.map(String)
    for (const key of keys) vhost.bind(type, { kind: 'queue', name }, key)
    return queue
  })
}

/** A process's place for replies: not for longer than the process. */
export function declareReplies(vhost: VHost, name: string): Queue {
  return declareQueue(vhost, name, { expiresMs: REPLIES_EXPIRE_MS })
}

function declareQueue(vhost: VHost, name: string, settings: Partial<QueueSettings>): Queue {
  const definition = { name, durable: true, exclusive: false, autoDelete: false, opaque: '' }
  return vhost.declareQueue({ ...definition, settings: { overflow: 'reject', ...settings } }, null).queue
}
