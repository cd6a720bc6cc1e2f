import type { Clock, Random } from '@stathmos/std'
import type { Authenticator } from '../session/protocol.ts'
import type { Passwords } from './passwords.ts'
import { VerdictCache } from './verdict-cache.ts'

/** The user whose password everybody knows. */
export const GUEST = 'guest'

/** Looks users up; the engine's access records are one. */
export interface UserDirectory {
  user(name: string): { readonly passwordHash: string } | undefined
}

export interface AuthenticatorOptions {
  readonly users: UserDirectory
  readonly passwords: Passwords
  readonly clock: Clock
  readonly random: Random
  /** Lets guest in from other machines too. */
  readonly remoteGuestAllowed: boolean
}

/** Checks logins of every protocol alike. */
export function openAuthenticator({
  users,
  passwords,
  clock,
  random,
  remoteGuestAllowed,
}: AuthenticatorOptions): Authenticator {
  const verdicts = new VerdictCache(clock, random)
  return {
    async verify(name, password, peer) {
      const stored = users.user(name)?.passwordHash
      const right = await verdicts.decide(name, password, stored, () => passwords.matches(password, stored))
      // The peer of the socket decides, never the listener it came to or an address that somebody claims.
      const welcome = name !== GUEST || peer.loopback || remoteGuestAllowed
      return right === true && welcome
    },
  }
}
