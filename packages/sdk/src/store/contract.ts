import { backlogPromises } from './contract-backlog.ts'
import { claimPromises } from './contract-claims.ts'
import { effectPromises } from './contract-effects.ts'
import { inboxBacklogPromises, inboxBacklogRaces } from './contract-inbox-backlog.ts'
import { inboxPromises } from './contract-inbox.ts'
import { orderPromises } from './contract-order.ts'
import { outboxPromises } from './contract-outbox.ts'
import { pagePromises } from './contract-pages.ts'
import { racePromises } from './contract-races.ts'
import { registerPromises } from './contract-register.ts'
import { relayPromises } from './contract-relay.ts'
import { sizePromises } from './contract-sizes.ts'
import type { StoreSubject } from './contract-sample.ts'
import { timerPromises } from './contract-timers.ts'
import { upkeepPromises } from './contract-upkeep.ts'

export type { StoreSubject } from './contract-sample.ts'
export type * from './port.ts'

/** One promise of an interface, and how to see that an implementation keeps it: rejects when it does not. */
export interface Promised {
  readonly name: string
  readonly run: () => Promise<void>
}

export interface StoreSuite<Tx> {
  /** Opens a store whose tables are there and empty. Closed at the end of each promise. */
  readonly open: () => Promise<StoreSubject<Tx>>
  /** Whether its transactions can overlap: with several connections, or several processes. Adds the races. */
  readonly concurrent: boolean
}

/**
 * What everything above the store relies on, for any runner of tests:
 *
 * ```ts
 * for (const { name, run } of storeContract({ open, concurrent: true })) test(name, run)
 * ```
 */
export function storeContract<Tx>({ open, concurrent }: StoreSuite<Tx>): readonly Promised[] {
  const promises = [
    ...upkeepPromises,
    ...outboxPromises,
    ...relayPromises,
    ...backlogPromises,
    ...timerPromises,
    ...inboxPromises,
    ...orderPromises,
    ...claimPromises,
    ...inboxBacklogPromises,
    ...effectPromises,
    ...registerPromises,
    ...pagePromises,
    ...sizePromises,
    ...(concurrent ? [...racePromises, ...inboxBacklogRaces] : []),
  ]
  return promises.map(({ name, run }) => ({
    name,
    async run() {
      const subject = await open()
      try {
        await run(subject)
      } finally {
        await subject.close()
      }
    },
  }))
}
