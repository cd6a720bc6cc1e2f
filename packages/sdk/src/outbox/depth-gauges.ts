import type { Surroundings } from '../surroundings.ts'
import type { Attributes } from '../telemetry/telemetry.ts'
import type { DepthLook } from './depth-look.ts'
import type { StoreTime } from './store-time.ts'
import { ATTRIBUTE, METRIC } from '../telemetry/conventions.ts'

/** Reports how full outbox and inbox are, how late the timers, and whether the engine is there. Returns what ends it. */
export function depthGauges(surroundings: Surroundings<never>, time: StoreTime, look: DepthLook): () => void {
  const { store, telemetry } = surroundings
  const ageOf = (at: number | null): number => (at === null ? 0 : Math.max(time.now() - at, 0) / 1000)
  const gauge = (name: string, read: () => Promise<number>): (() => void) =>
    telemetry.gauge(name, async () => [{ value: await read(), attributes: NONE }])
  let up = true
  const ends = [
    surroundings.transport.watch((now) => (up = now)),
    gauge(METRIC.transportUp, async () => (up ? 1 : 0)),
    telemetry.gauge(METRIC.inboxStored, async () => {
      const stored = await store.inbox.depth()
      return stored.map(({ consumer, state, count }) => ({
        value: count,
        attributes: { [ATTRIBUTE.consumerGroup]: consumer, [ATTRIBUTE.state]: state },
      }))
    }),
    gauge(METRIC.outboxPending, async () => (await look.read()).pending),
    gauge(METRIC.outboxOldestAge, async () => ageOf((await look.read()).oldestAt)),
    gauge(METRIC.outboxParked, async () => (await look.read()).parked),
    gauge(METRIC.outboxParkedKeys, async () => (await look.read()).parkedKeys),
    gauge(METRIC.timersOverdue, async () => ageOf(await store.timers.nextDue())),
  ]
  return () => {
    for (const end of ends) end()
  }
}

const NONE: Attributes = {}
