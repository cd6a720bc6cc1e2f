// How long a load is measured, and how much of a publisher's work may be unconfirmed.

export const WARM_SECONDS = 1.5
export const MEASURE_SECONDS = 4

/** Large messages fill a socket long before they fill a window. */
export const windowFor = (size) => (size >= 16_384 ? 512 : 2048)

export const timing = { warm: WARM_SECONDS, time: MEASURE_SECONDS }

/** What every load reports: messages a second, CPU of the broker for each, and what else the machine did. */
export function figures(result, rate) {
  return {
    rate,
    cpuUs: result.cpu_s_per_M,
    brokerCores: result.broker_cores,
    loadCores: result.gen_cores,
    otherCores: result.other_cores,
    residentMb: result.rss_mb,
  }
}
