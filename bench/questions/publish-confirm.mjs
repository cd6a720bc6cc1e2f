// How many persistent messages a second does one publisher get confirmed into one queue?
import { mqload } from '../load/mqload.mjs'
import { figures, timing, windowFor } from './load.mjs'

export const publishConfirm = (label, size, target) => ({
  name: `publish-${label}`,
  title: `publish + confirm, ${label} B`.replace(/k B$/, ' KiB'),
  target,
  async measure(broker) {
    const result = await mqload(broker, { size, persistent: 1, window: windowFor(size), ...timing })
    return {
      ...figures(result, result.pub_s),
      confirmP50Ms: result.conf_us.p50 / 1000,
      confirmP99Ms: result.conf_us.p99 / 1000,
    }
  },
})
