import { connectingPromises } from './contract/connecting.ts'
import { consumingPromises } from './contract/consuming.ts'
import { orderingPromises } from './contract/ordering.ts'
import type { TransportSubject } from './contract/parties.ts'
import { replyingPromises } from './contract/replying.ts'
import { sendingPromises } from './contract/sending.ts'

export type { TransportSubject } from './contract/parties.ts'
export type * from './port.ts'

/** One promise of an interface, and how to see that an implementation keeps it: rejects when it does not. */
export interface Promised {
  readonly name: string
  readonly run: () => Promise<void>
}

/** What the suite needs of whoever runs it. */
export interface TransportSuite {
  /** An engine of its own for each promise, or a shared one: names are not used twice. */
  readonly open: () => Promise<TransportSubject>
}

/**
 * What everything above transports relies on, for any runner of tests. What a transport says that it cannot do is not
 * asked of it.
 *
 * ```ts
 * for (const { name, run } of transportContract({ open })) test(name, run)
 * ```
 */
export function transportContract({ open }: TransportSuite): readonly Promised[] {
  const promises = [
    ...sendingPromises,
    ...consumingPromises,
    ...orderingPromises,
    ...replyingPromises,
    ...connectingPromises,
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
