import type { Clock } from '@stathmos/std'
import type { Log } from '../log/log.ts'

/** Wrong passwords that an address may give, each within `FORGOTTEN_MS` of the one before, until its logins are slowed. */
const WRONG_MAX = 5

/** How long an address must give no wrong password to be trusted again. */
const FORGOTTEN_MS = 60_000

/** Addresses whose wrong passwords are counted; the one that was wrong longest ago is forgotten first. */
const ADDRESSES_MAX = 1_000

/** Logins that wait, some 6 s of work: who stands further back would not be served before the handshake's deadline. */
const WAITING_MAX = 128

/** Slowed logins among them; they get a check every few seconds. */
const SLOWED_MAX = 2

/**
 * After the check of a slowed login the next of its kind waits for so many times as long as it took. Deriving a key takes
 * a core, the caches and the memory's bandwidth, and on a small machine the messages notice, whatever the priority of
 * the thread: guessing may have a hundredth of the time, so that 99 of 100 messages meet none of it.
 */
const REST_FACTOR = 99

interface Suspicion {
  wrong: number
  forgottenAtMs: number
}

interface Login {
  readonly address: string
  readonly check: () => Promise<boolean | null>
  readonly settle: (answer: boolean | null) => void
  readonly fail: (error: unknown) => void
}

/**
 * The line in which logins wait to be checked, one at a time. An address that gives one wrong password after the other
 * gets few checks, while the logins of all other addresses go on at full speed: a fleet that reconnects is right, and
 * is not slowed.
 */
export class GuessLimiter {
  readonly #clock: Clock
  readonly #log: Log
  readonly #suspicions = new Map<string, Suspicion>()
  #waiting: Login[] = []
  #busy = false
  #restedAtMs = -Infinity

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  /** The answer of `check` when it is the login's turn; null, unchecked and at once, when too many wait before it. */
  run(address: string, check: () => Promise<boolean | null>): Promise<boolean | null> | null {
    this.#next()
    if (!this.#hasRoomFor(address)) return null
    return new Promise((settle, fail) => {
      this.#waiting.push({ address, check, settle, fail })
      this.#next()
    })
  }

  #hasRoomFor(address: string): boolean {
    if (this.#waiting.length >= WAITING_MAX) return false
    if (!this.#isSuspect(address)) return true
    return this.#waiting.filter((login) => this.#isSuspect(login.address)).length < SLOWED_MAX
  }

  #next(): void {
    if (this.#busy) return
    const rested = this.#clock.monotonic() >= this.#restedAtMs
    const index = this.#waiting.findIndex(({ address }) => rested || !this.#isSuspect(address))
    const [login] = index < 0 ? [] : this.#waiting.splice(index, 1)
    if (login !== undefined) void this.#serve(login)
  }

  async #serve({ address, check, settle, fail }: Login): Promise<void> {
    this.#busy = true
    const slowed = this.#isSuspect(address)
    const beganMs = this.#clock.monotonic()
    try {
      const answer = await check()
      if (answer === false) this.#suspect(address)
      settle(answer)
    } catch (error) {
      fail(error)
    }
    if (slowed) {
      const restMs = (this.#clock.monotonic() - beganMs) * REST_FACTOR
      this.#restedAtMs = this.#clock.monotonic() + restMs
      this.#clock.after(restMs, () => this.#next())
    }
    this.#busy = false
    this.#next()
  }

  /** Those at the end of the line that are too many, now that one more address is slowed. */
  #turnAway(): void {
    let slowed = 0
    this.#waiting = this.#waiting.filter((login) => {
      const stays = !this.#isSuspect(login.address) || ++slowed <= SLOWED_MAX
      if (!stays) login.settle(null)
      return stays
    })
  }

  #isSuspect(address: string): boolean {
    const suspicion = this.#suspicions.get(address)
    if (suspicion === undefined) return false
    if (this.#clock.monotonic() < suspicion.forgottenAtMs) return suspicion.wrong > WRONG_MAX
    this.#suspicions.delete(address)
    return false
  }

  #suspect(address: string): void {
    const wrong = (this.#suspicions.get(address)?.wrong ?? 0) + 1
    this.#suspicions.delete(address)
    this.#suspicions.set(address, { wrong, forgottenAtMs: this.#clock.monotonic() + FORGOTTEN_MS })
    for (const oldest of this.#suspicions.keys()) {
      if (this.#suspicions.size <= ADDRESSES_MAX) break
      this.#suspicions.delete(oldest)
    }
    if (wrong !== WRONG_MAX + 1) return
    this.#log.warn('logins slowed: too many wrong passwords', { peer: address })
    this.#turnAway()
  }
}
