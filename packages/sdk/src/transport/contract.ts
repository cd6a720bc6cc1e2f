import { connectingPromises } from './contract/connecting.ts'
import { consumingPromises } from './contract/consuming.ts'
import { orderingPromises } from './contract/ordering.ts'
import type { TransportPromise } from './contract/parties.ts'
import { replyingPromises } from './contract/replying.ts'
import { sendingPromises } from './contract/sending.ts'

export type { TransportPromise, TransportSubject } from './contract/parties.ts'

/**
 * What the SDK relies on, wherever messages travel. A further transport runs all of it, each promise on a subject of its
 * own, in any test runner: a promise that is not kept throws. What a transport says it cannot do is not asked of it.
 */
export const transportContract: readonly TransportPromise[] = [
  ...sendingPromises,
  ...consumingPromises,
  ...orderingPromises,
  ...replyingPromises,
  ...connectingPromises,
]
