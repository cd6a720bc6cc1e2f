// What does a message cost on its whole way: published, confirmed, delivered, acknowledged by the hundred?
import { mqload } from '../load/mqload.mjs'
import { figures, timing, windowFor } from './load.mjs'

export const endToEnd = (label, size, target, options = {}) => ({
  name: `e2e-${label}`,
  title:
    options.persistent === 0
      ? `the same, ${size} B, transient`
      : `publish, confirm, deliver, ack, ${label} B`.replace(/k B$/, ' KiB'),
  target,
  async measure(broker) {
    const load = {
      size,
      persistent: 1,
      window: windowFor(size),
      cons: 1,
      prefetch: 2000,
      ackevery: 100,
      ...timing,
      ...options,
    }
    const result = await mqload(broker, load)
    if (result.ooo > 0) throw new Error(`${result.ooo} messages came out of order`)
    return {
      ...figures(result, Math.min(result.pub_s, result.recv_s)),
      deliveryP50Ms: result.del_us.p50 / 1000,
      deliveryP99Ms: result.del_us.p99 / 1000,
    }
  },
})
