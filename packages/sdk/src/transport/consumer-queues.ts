import { SdkError } from '../errors.ts'
import { BUCKETS } from '../message/bucket.ts'
import type { ConsumerTopology } from './port.ts'

/** A durable queue of a consumer. */
export interface ConsumerQueue {
  readonly name: string
  /** The buckets whose messages it takes; null: all. */
  readonly buckets: readonly number[] | null
  /** One consumer at a time gets messages. */
  readonly singleActive: boolean
}

/**
 * The queues that a consumer has at the engine: one, or for an ordered consumer as many as it has partitions, named
 * `<queue>.<n>`, which share the buckets among themselves.
 *
 * @throws {SdkError} `invalid_declaration` when there are more partitions than buckets
 */
export function queuesOf({ queue, ordered, partitions }: ConsumerTopology): readonly ConsumerQueue[] {
  if (!ordered) return [{ name: queue, buckets: null, singleActive: false }]
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > BUCKETS) {
    const text = `consumer "${queue}" asks for ${partitions} partitions; 1 to ${BUCKETS} are possible`
    throw new SdkError('invalid_declaration', text, { data: { queue, partitions } })
  }
  return Array.from({ length: partitions }, (_, n) => ({
    name: `${queue}.${n}`,
    buckets: partitions === 1 ? null : bucketsOf(n, partitions),
    singleActive: true,
  }))
}

function bucketsOf(partition: number, partitions: number): number[] {
  return Array.from({ length: BUCKETS }, (_, bucket) => bucket).filter((bucket) => bucket % partitions === partition)
}
