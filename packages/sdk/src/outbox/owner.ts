import { createHash } from 'node:crypto'
import type { Surroundings } from '../surroundings.ts'
import { SdkError } from '../errors.ts'

/** Hexadecimal digits that stand for an engine: its own name may be longer than a column. */
const ENGINE_CHARS = 16
const UNKNOWN = '-'

/** Under which name a relay leases buckets: process, service and engine, so that others know whom they share with. */
export function ownerOf({ process, service, transport }: Surroundings<never>): string {
  const { engine } = transport
  const named =
    engine === undefined || engine === null
      ? UNKNOWN
      : createHash('sha256').update(engine).digest('hex').slice(0, ENGINE_CHARS)
  return `${process} ${service} ${named}`
}

/**
 * Refuses to share the outbox with another service that sends over another engine: each would send messages of both, and
 * an event that nobody hears is sent all the same. Where one of the engines is not known, nobody is refused.
 *
 * @param others who leases buckets now
 * @throws {SdkError} `invalid_declaration`
 */
export function refuseOtherEngine(own: string, others: readonly string[]): void {
  const [, service, engine] = own.split(' ')
  for (const owner of others) {
    const [process, other, otherEngine] = owner.split(' ')
    if (other === undefined || otherEngine === undefined || other === service) continue
    if (engine === UNKNOWN || otherEngine === UNKNOWN || engine === otherEngine) continue
    throw new SdkError(
      'invalid_declaration',
      `the service ${other} has its messages in the same tables as ${service}, and sends over another engine (by ${process}): ` +
        'each would send those of the other to where nobody hears them. Give the store of each service a prefix or schema of ' +
        'its own, or both services one engine',
      { data: { service, other, process } },
    )
  }
}
