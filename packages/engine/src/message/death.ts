/** Why a queue gave a message up. */
export type DeathReason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit'

/** How often, and when last, a message died in one queue for one reason. */
export interface Death {
  readonly queue: string
  readonly reason: DeathReason
  readonly count: number
  /** Of the latest one, ms since 1970. */
  readonly timeMs: number
  /** Where it had been published when it first died here. */
  readonly exchange: string
  readonly routingKeys: readonly string[]
  /** The time to live it was sent with, where it expired. */
  readonly originalTtlMs?: number
}

/** What happened to a message before it got here: newest first. */
export interface History {
  readonly deaths: readonly Death[]
  readonly first: { readonly queue: string; readonly reason: DeathReason; readonly exchange: string } | null
  readonly last: { readonly queue: string; readonly reason: DeathReason; readonly exchange: string } | null
  /** A queue gave it another routing key: the further keys that its sender named count no more. */
  readonly rekeyed?: true
}

export const NO_HISTORY: History = { deaths: [], first: null, last: null }

/**
 * The history after one more death; the same queue and reason are counted, not listed twice.
 * @param rekeyed the dead letter goes out with a routing key of the queue's own
 */
export function die(history: History, death: Omit<Death, 'count'>, rekeyed = false): History {
  const earlier = history.deaths.find((known) => known.queue === death.queue && known.reason === death.reason)
  const counted: Death =
    earlier === undefined ? { ...death, count: 1 } : { ...earlier, count: earlier.count + 1, timeMs: death.timeMs }
  const last = { queue: death.queue, reason: death.reason, exchange: death.exchange }
  return {
    deaths: [counted, ...history.deaths.filter((known) => known !== earlier)],
    first: history.first ?? last,
    last,
    ...(rekeyed || history.rekeyed === true ? { rekeyed: true } : {}),
  }
}

/**
 * Whether sending the message to `queue` would close a cycle that no consumer had a part in: it has died
 * there before, and since then nobody rejected it.
 */
export function wouldCycle(history: History, queue: string): boolean {
  for (const death of history.deaths) {
    if (death.reason === 'rejected') return false
    if (death.queue === queue) return true
  }
  return false
}
