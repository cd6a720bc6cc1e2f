import { crc32 } from 'node:zlib'
import type { Clock, Random } from '@stathmos/std'
import type { Log } from '../log/log.ts'

/** Wrong passwords that may come from a source, each within `FORGOTTEN_MS` of the one before, until its logins are slowed. */
const WRONG_MAX = 5

/** How long no wrong password must come from a source until it is trusted again. */
const FORGOTTEN_MS = 60_000

/** Sources whose wrong passwords are counted; the one that was wrong longest ago is forgotten first. */
const SOURCES_MAX = 10_000

/**
 * A source is an address and so many parts of all names: who guesses the password of one user slows few others that log in
 * from there. Not each user a source: how soon a name is slowed would tell whether it is somebody's.
 */
const NAME_GROUPS = 16

/** Logins that wait, some 6 s of work: who stands further back would not be served before the handshake's deadline. */
const WAITING_MAX = 128

/** Slowed logins among them: a second one would wait for longer than the handshake may take. */
const SLOWED_MAX = 1

/**
 * After the check of a slowed login the next of its kind waits for so many times as long as it took. Deriving a key takes
 * a core, the caches and the memory's bandwidth, and on a small machine the messages notice, whatever the priority of
 * the thread: guessing may have less than a hundredth of the time, so that 99 of 100 messages meet none of it. With a
 * check of 75 ms that is one every 9 s, which is just within the time that a handshake may take.
 */
const REST_FACTOR = 119

interface Suspicion {
  wrong: number
  forgottenAtMs: number
}

interface Login {
  readonly address: string
  readonly source: string
  readonly check: () => Promise<boolean | null>
  readonly settle: (answer: boolean | null) => void
  readonly fail: (error: unknown) => void
}

/**
 * The line in which logins wait to be checked, one at a time. A source that gives one wrong password after the other
 * gets few checks, while the logins of all others go on at full speed: a fleet that reconnects is right, and is not slowed.
 */
export class GuessLimiter {
  readonly #clock: Clock
  readonly #log: Log
  /** Nobody can tell which names are in one group. */
  readonly #secret: number
  readonly #suspicions = new Map<string, Suspicion>()
  #waiting: Login[] = []
  #busy = false
  #restedAtMs = -Infinity

  constructor(clock: Clock, random: Random, log: Log) {
    this.#clock = clock
    this.#log = log
    this.#secret = random.uint32()
  }

  /** The answer of `check` when it is the login's turn; null, unchecked and at once, when too many wait before it. */
  run(address: string, name: string, check: () => Promise<boolean | null>): Promise<boolean | null> | null {
    const source = `${address} ${crc32(name, this.#secret) % NAME_GROUPS}`
    this.#next()
    if (!this.#hasRoomFor(source)) return null
    return new Promise((settle, fail) => {
      this.#waiting.push({ address, source, check, settle, fail })
      this.#next()
    })
  }

  #hasRoomFor(source: string): boolean {
    if (this.#waiting.length >= WAITING_MAX) return false
    if (!this.#isSuspect(source)) return true
    return this.#waiting.filter((login) => this.#isSuspect(login.source)).length < SLOWED_MAX
  }

  #next(): void {
    if (this.#busy) return
    const rested = this.#clock.monotonic() >= this.#restedAtMs
    const index = this.#waiting.findIndex(({ source }) => rested || !this.#isSuspect(source))
    const [login] = index < 0 ? [] : this.#waiting.splice(index, 1)
    if (login !== undefined) void this.#serve(login)
  }

  async #serve({ address, source, check, settle, fail }: Login): Promise<void> {
    this.#busy = true
    const slowed = this.#isSuspect(source)
    const beganMs = this.#clock.monotonic()
    try {
      const answer = await check()
      if (answer === false) this.#suspect(source, address)
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

  /** Those at the end of the line that are too many, now that one more source is slowed. */
  #turnAway(): void {
    let slowed = 0
    this.#waiting = this.#waiting.filter((login) => {
      const stays = !this.#isSuspect(login.source) || ++slowed <= SLOWED_MAX
      if (!stays) login.settle(null)
      return stays
    })
  }

  #isSuspect(source: string): boolean {
    const suspicion = this.#suspicions.get(source)
    if (suspicion === undefined) return false
    if (this.#clock.monotonic() < suspicion.forgottenAtMs) return suspicion.wrong > WRONG_MAX
    this.#suspicions.delete(source)
    return false
  }

  #suspect(source: string, address: string): void {
    const wrong = (this.#suspicions.get(source)?.wrong ?? 0) + 1
    this.#suspicions.delete(source)
    this.#suspicions.set(source, { wrong, forgottenAtMs: this.#clock.monotonic() + FORGOTTEN_MS })
    for (const oldest of this.#suspicions.keys()) {
      if (this.#suspicions.size <= SOURCES_MAX) break
      this.#suspicions.delete(oldest)
    }
    if (wrong !== WRONG_MAX + 1) return
    this.#log.warn('logins slowed: too many wrong passwords', { peer: address })
    this.#turnAway()
  }
}
