import { Buffer } from 'node:buffer'
import { hash } from 'node:crypto'
import type { Clock, Random } from '@stathmos/std'

/** How long a wrong password is remembered. */
const WRONG_KEPT_MS = 60_000

/**
 * How long a right one is. A changed password counts at once all the same, because the stored hash is part of the key:
 * long, so that who is known gets in while somebody guesses from the same address.
 */
const RIGHT_KEPT_MS = 3_600_000

/** About 2 MiB of verdicts. */
const VERDICTS_MAX = 10_000

const SECRET_BYTES = 32

interface Verdict {
  result: boolean | Promise<boolean | null>
  expiresAtMs: number
}

/**
 * Remembers which passwords were right and which were wrong, so that a storm of reconnecting clients costs one hash
 * and not thousands, and so does a client that repeats one wrong password for ever. Logins that come while the first of
 * their kind is being checked wait for the same answer. Holds no password: the keys are hashes of it and of a secret of this process.
 */
export class VerdictCache {
  readonly #clock: Clock
  readonly #secret: string
  readonly #verdicts = new Map<string, Verdict>()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#secret = Buffer.from(random.bytes(SECRET_BYTES)).toString('hex')
  }

  /**
   * The remembered verdict, or that of `check`; no promise where it is known at once. One that could not be reached
   * (null) is not remembered.
   */
  decide(
    user: string,
    password: string,
    stored: string | undefined,
    check: () => Promise<boolean | null> | null,
  ): boolean | null | Promise<boolean | null> {
    const key = this.#keyOf(user, password, stored ?? '')
    const now = this.#clock.monotonic()
    const known = this.#verdicts.get(key)
    if (known !== undefined && now < known.expiresAtMs) return known.result
    const result = check()
    if (result === null) return null
    const verdict: Verdict = { result, expiresAtMs: now + WRONG_KEPT_MS }
    this.#verdicts.delete(key)
    this.#verdicts.set(key, verdict)
    this.#evict()
    void result.then((answer) => {
      if (answer !== null) verdict.result = answer
      else if (this.#verdicts.get(key) === verdict) this.#verdicts.delete(key)
      if (answer === true) verdict.expiresAtMs = this.#clock.monotonic() + RIGHT_KEPT_MS
    })
    return result
  }

  /** Drops the oldest: a Map keeps the order in which its keys came. */
  #evict(): void {
    for (const key of this.#verdicts.keys()) {
      if (this.#verdicts.size <= VERDICTS_MAX) return
      this.#verdicts.delete(key)
    }
  }

  #keyOf(user: string, password: string, stored: string): string {
    // Lengths first, or "ab" + "c" would be "a" + "bc". No HMAC, which takes five times as long: it keeps others from
    // lengthening what was hashed, and nobody gets to see these hashes or to bring one.
    return hash('sha256', `${this.#secret}${user.length}:${user}${password.length}:${password}${stored}`, 'base64')
  }
}
