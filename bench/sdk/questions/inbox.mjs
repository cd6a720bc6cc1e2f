// How fast does `on` handle a backlog at the broker, one insert and one memory for each message, in order?
import { setTimeout as sleep } from 'node:timers/promises'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { bookedViolations, openDatabase } from '../parts/orders.mjs'
import { messages, shopSurroundings, TOPOLOGY } from '../parts/shop.mjs'
import { titleOf } from './outbox-add.mjs'

const COUNT = 40_000
const BATCH = 500
const PATIENCE_MS = 180_000

export const inbox = (kind, target) => ({
  name: `inbox-${kind}`,
  title: `from Stathmos over AMQP to one insert, ${titleOf(kind)}, one process`,
  target,
  async measure(world, { scale }) {
    const count = Math.round(COUNT * scale)
    const [database, broker] = [await world.database(kind), await world.broker()]
    await fillQueues(broker, count)
    const part = await world.serving(database, { amqpUrl: broker.url, relay: false, handles: true })
    await part.ask('migrate')
    const cpuBefore = [(await part.ask('handled')).cpuUs, database.cpuSeconds()]
    await part.ask('start')
    const { firstAt, lastAt, cpuUs } = await untilHandled(part, count)
    const databaseCpu = database.cpuSeconds() - cpuBefore[1]
    await assertBooked(database, count)
    return {
      rate: ((count - 1) * 1000) / (lastAt - firstAt),
      cpuUs: (cpuUs - cpuBefore[0]) / count,
      databaseCpuUs: (databaseCpu * 1e6) / count,
    }
  },
})

async function fillQueues(broker, count) {
  const transport = amqp(broker.url)
  await transport.open(shopSurroundings())
  await transport.declare(TOPOLOGY)
  for (let from = 0; from < count; from += BATCH) {
    const results = await transport.send(messages(Math.min(BATCH, count - from), from))
    if (results.some((result) => result !== 'sent')) throw new Error('the broker did not take all')
  }
  await transport.close()
}

export async function untilHandled(part, count) {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    const result = await part.ask('handled')
    if (result.count >= count) return result
    if (performance.now() > end) throw new Error(`${result.count} of ${count} were handled in ${PATIENCE_MS} ms`)
    await sleep(20)
  }
}

/** The last transaction commits a moment after its handler was seen. */
export async function assertBooked({ kind, place }, count, { ordered = true } = {}) {
  const database = await openDatabase(kind, place, 2)
  const booked = async () => Number((await database.all('select count(*) as booked from booked'))[0].booked)
  try {
    for (let tries = 0; (await booked()) < count && tries < 100; tries++) await sleep(20)
    if (ordered) {
      const violations = await bookedViolations(database, count)
      if (violations > 0) throw new Error(`${violations} of ${count} are missing, twice there or out of order`)
    } else {
      const [{ different }] = await database.all(
        'select count(*) as different from (select distinct customer, number from booked) as pairs',
      )
      if (Number(different) !== count || (await booked()) !== count)
        throw new Error(`${different} of ${count} are booked, in ${await booked()} rows`)
    }
  } finally {
    await database.close()
  }
}
