import type { Contract } from './contract/contract.ts'
import type { Declarations } from './declarations.ts'
import { consumerTopology } from './inbox/consumer-topology.ts'
import { answererTopology } from './request/answerer.ts'
import type { ContractName, Topology, Transport } from './transport/port.ts'

/**
 * What a service needs at an engine, whether it runs or not.
 *
 * @throws {SdkError} `capability_missing`, `invalid_declaration`
 */
export function topologyOf<Tx>(
  service: string,
  { contracts, handlers, answers }: Declarations<Tx>,
  transport: Pick<Transport, 'name' | 'capabilities'>,
): Topology {
  return {
    sends: contracts.map(nameOf),
    consumers: [
      ...handlers.map((declaration) => consumerTopology(service, declaration, transport)),
      ...answers.map(({ contract, options }) => answererTopology(service, contract, options, transport)),
    ],
  }
}

function nameOf({ kind, name }: Pick<Contract, 'kind' | 'name'>): ContractName {
  return { kind: kind === 'reply' ? 'request' : kind, type: name }
}
