// Does a message cost more when there are 1,000 queues, each with a consumer?
import { mqload } from '../load/mqload.mjs'
import { figures, timing } from './load.mjs'

export const manyQueues = {
  name: 'queues-1000',
  title: '1,000 queues, a consumer each, 128 B',
  target: { rate: 250_000, cpuUs: 3.5 },
  async measure(broker) {
    const load = {
      size: 128,
      persistent: 1,
      window: 2048,
      queues: 1000,
      cons: 1,
      consconns: 10,
      prefetch: 2000,
      ackevery: 100,
    }
    const result = await mqload(broker, { ...load, ...timing })
    return figures(result, Math.min(result.pub_s, result.recv_s))
  },
}
