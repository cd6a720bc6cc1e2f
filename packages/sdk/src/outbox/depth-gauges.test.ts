import { expect, test } from 'vitest'
import { METRIC } from '../telemetry/conventions.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { depthGauges } from './depth-gauges.ts'
import { DepthLook } from './depth-look.ts'
import { StoreTime } from './store-time.ts'

test('what is kept and not done counts, and whether the engine is there', async () => {
  const world = new OutboxWorld()
  const surroundings = world.process()
  const look = new DepthLook(surroundings.store.outbox as never, world.clock)
  const end = depthGauges(surroundings as never, new StoreTime(world.store, world.clock), look)
  await world.store.inbox.keep('desk.close', [
    { message: { ...world.draft(), keySeq: null }, state: 'parked', attempts: 1, dueAt: 0 },
  ])
  await world.store.transaction((tx) =>
    world.store.inbox.begin(tx, 'desk.close', [{ ...world.draft(), keySeq: null }], false),
  )
  expect(await world.telemetry.gauge(METRIC.inboxStored)).toBe(1)
  expect(await world.telemetry.gauge(METRIC.transportUp)).toBe(1)
  world.transport.tell(false)
  expect(await world.telemetry.gauge(METRIC.transportUp)).toBe(0)
  end()
  expect(await world.telemetry.gauge(METRIC.transportUp)).toBeUndefined()
})
