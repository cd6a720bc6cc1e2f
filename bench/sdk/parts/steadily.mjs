import { setTimeout as sleep } from 'node:timers/promises'
import { sharedMs } from './part.mjs'

/** Does something `rate` times a second, one after the other; what is late is made up for. */
export async function steadily(rate, seconds, work) {
  const startedAt = sharedMs()
  for (let index = 0; index < rate * seconds; index++) {
    const waitMs = startedAt + (index * 1000) / rate - sharedMs()
    if (waitMs > 0) await sleep(waitMs)
    await work(index)
  }
}
