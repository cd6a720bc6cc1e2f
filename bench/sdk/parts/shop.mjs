// The service of the benchmarks as its transport sees it, for who fills its queues and looks into them.
import { randomBytes, randomUUID } from 'node:crypto'
import { cloudEvents } from '@stathmos/sdk'
import { orders } from './orders.mjs'

const CONTRACT = { kind: 'event', type: 'order.placed' }

/** What `service('shop')` declares for its handler `book`. */
export const TOPOLOGY = {
  sends: [CONTRACT],
  consumers: [{ queue: 'shop.book', contract: CONTRACT, ordered: true, partitions: 8 }],
}

export function shopSurroundings() {
  const nothing = () => {}
  return {
    service: 'shop',
    form: cloudEvents,
    clock: {
      now: () => Date.now(),
      monotonic: () => performance.now(),
      after(delayMs, fire) {
        const timer = setTimeout(() => fire(), delayMs)
        return { cancel: () => clearTimeout(timer) }
      },
    },
    random: { uint32: () => randomBytes(4).readUInt32LE() },
    log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
  }
}

/** Messages as a relay would send them. */
export function messages(count, from) {
  return orders(count, from).map((order) => {
    const id = randomUUID()
    return {
      id,
      ...CONTRACT,
      version: 1,
      source: 'shop',
      time: Date.now(),
      key: order.customer,
      keySeq: order.number,
      contentType: 'application/json',
      body: Buffer.from(JSON.stringify(order)),
      metadata: { correlationId: id },
    }
  })
}
