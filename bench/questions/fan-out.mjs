// One message to 100 queues: what does each delivery cost, with one body stored?
import { mqload } from '../load/mqload.mjs'
import { figures, timing } from './load.mjs'

export const fanOut = {
  name: 'fanout-100',
  title: 'fan-out 1 to 100 queues, deliveries, 128 B',
  target: { rate: 450_000, cpuUs: 2.0 },
  async measure(broker) {
    const load = { size: 128, persistent: 1, window: 512, fanout: 100, cons: 1, prefetch: 2000, ackevery: 100 }
    const result = await mqload(broker, { ...load, ...timing })
    return figures(result, result.recv_s)
  },
}
