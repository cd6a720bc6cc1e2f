import { SdkError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { InboxEntry, InboxStore } from '../store/port.ts'
import type { Clock, Timer } from '../time/clock.ts'

interface Lease {
  readonly entry: InboxEntry
  /** Of the handler that is running because of it; null while it waits for its turn. */
  controller: AbortController | null
  /** By the monotonic clock of this process. */
  until: number
}

export interface LeasesOptions {
  readonly inbox: Pick<InboxStore<unknown>, 'renew'>
  readonly consumer: string
  readonly leaseMs: number
  readonly clock: Clock
  readonly log: Log
}

/**
 * The claims that this process works on. They are renewed together at a third of their time, by one timer; one that was
 * lost, or that could not be renewed in time, has its signal aborted: somebody else may be working on it.
 */
export class Leases {
  readonly #options: LeasesOptions
  readonly #held = new Map<string, Lease>()
  #timer: Timer | null = null
  /** The next timer is set when the store has answered. */
  #renewing = false

  constructor(options: LeasesOptions) {
    this.#options = options
  }

  /** Keeps a claim that was just made alive until {@link end}, also while it waits for its turn in this process. */
  begin(entry: InboxEntry): void {
    const { clock, leaseMs } = this.#options
    this.#held.set(entry.message.id, { entry, controller: null, until: clock.monotonic() + leaseMs })
    if (!this.#renewing) this.#timer ??= clock.after(leaseMs / 3, () => void this.#renew())
  }

  /** Has the controller aborted when the claim is lost. @returns false when it is lost already */
  attach(entry: InboxEntry, controller: AbortController | null): boolean {
    const lease = this.#held.get(entry.message.id)
    if (lease?.entry.epoch !== entry.epoch) return false
    lease.controller = controller
    return true
  }

  end(entry: InboxEntry): void {
    if (this.#held.get(entry.message.id)?.entry.epoch === entry.epoch) this.#held.delete(entry.message.id)
    if (this.#held.size > 0) return
    this.#timer?.cancel()
    this.#timer = null
  }

  async #renew(): Promise<void> {
    const { inbox, consumer, leaseMs, clock, log } = this.#options
    this.#renewing = true
    const asked = [...this.#held.values()]
    const askedAt = clock.monotonic()
    try {
      const entries = asked.map(({ entry }) => entry)
      const ours = new Set(await inbox.renew(consumer, entries, leaseMs))
      for (const lease of asked) {
        if (ours.has(lease.entry.message.id)) lease.until = askedAt + leaseMs
        else this.#lose(lease, 'another process has it')
      }
    } catch (error) {
      log.warn({ err: error, consumer }, 'claims could not be renewed; it is tried again')
    }
    for (const lease of asked)
      if (lease.until <= clock.monotonic()) this.#lose(lease, 'it could not be renewed in time')
    this.#renewing = false
    this.#timer = this.#held.size === 0 ? null : clock.after(leaseMs / 3, () => void this.#renew())
  }

  #lose(lease: Lease, why: string): void {
    const { id } = lease.entry.message
    // It may have been finished while the store was asked, and have nothing to lose any more.
    if (this.#held.get(id) !== lease) return
    this.#held.delete(id)
    lease.controller?.abort(new SdkError('lease_lost', `the claim of message ${id} was lost: ${why}`))
  }
}
