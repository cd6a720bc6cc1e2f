// At a modest, steady rate: how soon is a message confirmed, and how soon delivered?
import { mqload } from '../load/mqload.mjs'
import { figures, timing } from './load.mjs'

export const steady = {
  name: 'steady-5000',
  title: 'steady 5,000/s, 128 B',
  target: { cpuUs: 60, confirmP50Ms: 0.35, confirmP99Ms: 1.1, deliveryP50Ms: 0.4, deliveryP99Ms: 1.2 },
  async measure(broker) {
    const load = { size: 128, persistent: 1, rate: 5000, cons: 1, ackevery: 10, window: 5000, ...timing }
    const result = await mqload(broker, load)
    return {
      ...figures(result, result.recv_s),
      confirmP50Ms: result.conf_us.p50 / 1000,
      confirmP99Ms: result.conf_us.p99 / 1000,
      deliveryP50Ms: result.del_us.p50 / 1000,
      deliveryP99Ms: result.del_us.p99 / 1000,
    }
  },
}
