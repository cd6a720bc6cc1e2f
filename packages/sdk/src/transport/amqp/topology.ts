import { SdkError } from '../../errors.ts'
import { queuesOf } from '../consumer-queues.ts'
import { transportDown } from '../outgoing.ts'
import type { ConsumerTopology } from '../port.ts'
import { type AmqpChannel, replyCode } from './client.ts'

/** Arguments of queues that the operator wants, such as `x-queue-type`. */
export type QueueArguments = Readonly<Record<string, unknown>>

/** How long the queue of a process waits for it: it may reconnect, or have been killed. */
const REPLIES_EXPIRE_MS = 300_000

/** The exchange of a contract: durable, and named by its type. */
export async function declareExchange(channel: AmqpChannel, type: string): Promise<void> {
  await channel.assertExchange(type, 'topic', { durable: true })
}

/** The queues of a consumer, bound to the exchange of its contract. */
export async function declareConsumer(
  channel: AmqpChannel,
  consumer: ConsumerTopology,
  queueArguments: QueueArguments,
): Promise<void> {
  const { type } = consumer.contract
  await declareExchange(channel, type)
  for (const { name, buckets, singleActive } of queuesOf(consumer)) {
    const single = singleActive ? { 'x-single-active-consumer': true } : {}
    await channel.assertQueue(name, { durable: true, arguments: { ...queueArguments, ...single } })
    const keys = buckets === null ? ['#'] : buckets.map(String)
    // All are on the wire before the first is answered.
    await Promise.all(keys.map((key) => channel.bindQueue(name, type, key)))
  }
}

/**
 * A process's place for replies. Not exclusive to a connection, so that it keeps its name and what came meanwhile when
 * the process reconnects.
 */
export async function declareReplies(channel: AmqpChannel, name: string): Promise<void> {
  await channel.assertQueue(name, { durable: true, arguments: { 'x-expires': REPLIES_EXPIRE_MS } })
}

/** Why something could not be declared: the broker's answer, or that there was none. */
export function declarationFailed(error: unknown): SdkError {
  if (error instanceof SdkError) return error
  if (replyCode(error) === null) return transportDown('the connection was lost while queues were declared', error)
  const reason = error instanceof Error ? error.message : String(error)
  const text = `the broker refused a declaration: ${reason}; delete what is there by that name, or allow it to this user`
  return new SdkError('invalid_declaration', text, { cause: error, data: { replyCode: replyCode(error) } })
}
