import { SdkError } from '../errors.ts'
import type { ConsumerTopology, Transport } from '../transport/port.ts'
import type { Declaration } from './declaration.ts'

/**
 * What a handler needs at the engine, whether it runs or not.
 *
 * @throws {SdkError} `capability_missing` when it is ordered and the transport keeps no order
 */
export function consumerTopology<Tx>(
  service: string,
  { name, contract, ordered, partitions }: Declaration<Tx>,
  transport: Pick<Transport, 'name' | 'capabilities'>,
): ConsumerTopology {
  const { kind, name: type } = contract
  if (kind === 'reply') throw new SdkError('invalid_declaration', 'replies go to who asked, not to a handler')
  const queue = `${service}.${name}`
  if (ordered && !transport.capabilities.ordering)
    throw new SdkError(
      'capability_missing',
      `the handler "${name}" is ordered, and ${transport.name} keeps no order; use another transport or declare ordered: false`,
    )
  return { queue, contract: { kind, type }, ordered, partitions }
}
