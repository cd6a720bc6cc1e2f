// Does it scale to four publishers and four queues, or do they wait for each other?
import { mqload } from '../load/mqload.mjs'
import { figures, timing } from './load.mjs'

export const fourQueues = {
  name: 'four-queues',
  title: '4 publishers to 4 queues, 128 B',
  target: { rate: 700_000, cpuUs: 1.3 },
  async measure(broker) {
    const result = await mqload(broker, { size: 128, persistent: 1, window: 2048, pubs: 4, queues: 4, ...timing })
    return figures(result, result.pub_s)
  },
}
