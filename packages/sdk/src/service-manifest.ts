import type { Contract } from './contract/contract.ts'
import type { Declarations } from './declarations.ts'
import { manifestOf, type Declared, type Manifest } from './schema/manifest.ts'
import type { Surroundings } from './surroundings.ts'
import { topologyOf } from './topology.ts'

/** Of its surroundings, what a manifest depends on. */
type Where = Pick<Surroundings<never>, 'service'> & {
  readonly transport: Pick<Surroundings<never>['transport'], 'name' | 'capabilities' | 'queueArguments'>
}

/**
 * What a service shares with others and needs at an engine, as a file: the same for the same declarations in any order.
 *
 * @throws {SdkError} `capability_missing`, `invalid_declaration`
 */
export function serviceManifest<Tx>(declarations: Declarations<Tx>, { service, transport }: Where): Manifest {
  const { contracts, handlers, answers } = declarations
  const { queueArguments = {} } = transport
  const { consumers } = topologyOf(service, declarations, transport)
  return manifestOf(contracts.filter(isDeclared), {
    service,
    // A contract has one owner when it is a command or a request.
    owns: [
      ...handlers.filter(({ contract }) => contract.kind === 'command').map(({ contract }) => contract.name),
      ...answers.map(({ contract }) => contract.name),
    ],
    consumers: consumers.toSorted((a, b) => (a.queue < b.queue ? -1 : 1)),
    ...(Object.keys(queueArguments).length === 0 ? {} : { queueArguments }),
  })
}

/** One that was made by hand tells nothing about its schemas. */
function isDeclared(contract: Contract): contract is Declared & Contract {
  return 'versions' in contract
}
