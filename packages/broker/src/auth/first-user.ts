import type { Engine } from '@stathmos/engine'
import { GUEST } from './authenticator.ts'
import type { Passwords } from './passwords.ts'
import { isLoopbackHost } from '../net/loopback.ts'

/** The broker would be open to other machines with a login that everybody knows, or with none that works there. */
export class ExposureError extends Error {
  override readonly name = 'ExposureError'
}

/** The vhost that every data directory has. */
const FIRST_VHOST = '/'

/**
 * Makes the first user of a data directory that has none, with every permission.
 *
 * @returns whether there was none
 */
export async function ensureFirstUser(
  engine: Engine,
  passwords: Passwords,
  name: string,
  password: string,
): Promise<boolean> {
  if (engine.access.users().length > 0) return false
  const passwordHash = await passwords.hash(password)
  engine.access.setUser({ name, passwordHash, tags: ['administrator'] })
  engine.access.setPermission(name, FIRST_VHOST, { configure: '.*', write: '.*', read: '.*' })
  await engine.durably()
  return true
}

/**
 * Refuses a host beyond this machine while guest is the only user: guest may not log in from elsewhere, so whoever
 * asked for it has something else in mind.
 *
 * @throws {ExposureError} with the ways out
 */
export function refuseExposure(
  host: string,
  users: readonly { readonly name: string }[],
  remoteGuestAllowed: boolean,
): void {
  if (remoteGuestAllowed || isLoopbackHost(host) || users.some((user) => user.name !== GUEST)) return
  throw new ExposureError(
    [
      `listening on ${host} lets other machines in, and ${GUEST} is the only user`,
      `  STATHMOS_DEFAULT_USER and STATHMOS_DEFAULT_PASSWORD    name the first user of a new data directory`,
      `  --allow-remote-guest                                  lets ${GUEST} in from everywhere, with its known password`,
    ].join('\n'),
  )
}
