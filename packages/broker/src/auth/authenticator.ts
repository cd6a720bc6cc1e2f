import type { Clock, Random } from '@stathmos/std'
import type { Log } from '../log/log.ts'
import type { Authenticator } from '../session/protocol.ts'
import { GuessLimiter } from './guess-limiter.ts'
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
  readonly log: Log
  /** Lets guest in from other machines too. */
  readonly remoteGuestAllowed: boolean
}

/** Checks logins of every protocol alike. */
export function openAuthenticator({
  users,
  passwords,
  clock,
  random,
  log,
  remoteGuestAllowed,
}: AuthenticatorOptions): Authenticator {
  const verdicts = new VerdictCache(clock, random)
  const guesses = new GuessLimiter(clock, random, log)
  return {
    verify(name, password, peer) {
      const stored = users.user(name)?.passwordHash
      const check = (): Promise<boolean | null> => passwords.matches(password, stored)
      const answer = verdicts.decide(name, password, stored, () => guesses.run(peer.address, name, check))
      // The peer of the socket decides, never the listener it came to or an address that somebody claims.
      const welcome = name !== GUEST || peer.loopback || remoteGuestAllowed
      return answer instanceof Promise ? answer.then((right) => right === true && welcome) : answer === true && welcome
    },
  }
}
