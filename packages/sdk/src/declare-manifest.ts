import { isDeepStrictEqual } from 'node:util'
import { SdkError } from './errors.ts'
import { silentLog, type Log } from './log.ts'
import { systemRandom } from './random.ts'
import type { Manifest } from './schema/manifest.ts'
import { systemClock } from './time/clock.ts'
import type { ContractName, Topology, Transport } from './transport/port.ts'
import { cloudEvents } from './wire/cloud-events.ts'

/**
 * What the service of a manifest needs at an engine.
 *
 * @throws {SdkError} `invalid_declaration` when the manifest does not tell
 */
export function manifestTopology({ service, contracts, consumers }: Manifest): Topology {
  if (service !== undefined && consumers !== undefined) return { sends: contracts.flatMap(nameOf), consumers }
  throw new SdkError(
    'invalid_declaration',
    `the manifest ${service === undefined ? '' : `of "${service}" `}does not tell the queues of a service; write it again with \`stathmos app schema print\`, or with the service's manifest()`,
  )
}

/**
 * Makes at an engine what the service of a manifest needs, as its own `declare` would, without its program. The transport
 * is opened and closed.
 *
 * @throws {SdkError} `transport_down`, `directory_unreadable`, `peer_missing`, `peer_unusable`, and `invalid_declaration`
 *   for a manifest that does not tell its queues, a transport that would make them with other arguments than the
 *   service's own, and queues that are there and others
 */
export async function declareManifest(manifest: Manifest, transport: Transport, log: Log = silentLog): Promise<void> {
  const topology = manifestTopology(manifest)
  const { service = '', queueArguments = {} } = manifest
  if (transport.queueArguments !== undefined && !isDeepStrictEqual(transport.queueArguments, queueArguments))
    throw new SdkError(
      'invalid_declaration',
      `the service "${service}" makes its queues with the arguments ${JSON.stringify(queueArguments)}, and this transport with ${JSON.stringify(transport.queueArguments)}: it could not start on them; give the transport the same`,
    )
  await transport.open({ service, form: cloudEvents, clock: systemClock, random: systemRandom, log })
  try {
    await transport.declare(topology)
  } finally {
    await transport.close()
  }
}

function nameOf({ kind, name }: Manifest['contracts'][number]): ContractName[] {
  return kind === 'reply' ? [] : [{ kind, type: name }]
}
