// How fast is a full outbox emptied, in the order of each key? Two processes on PostgreSQL, one on SQLite.
import { setTimeout as sleep } from 'node:timers/promises'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { OrderCheck } from '../parts/orders.mjs'
import { shopSurroundings, TOPOLOGY } from '../parts/shop.mjs'
import { until } from '../../peers/process.mjs'
import { titleOf } from './outbox-add.mjs'

const COUNT = 100_000
const PATIENCE_MS = 120_000

export const relay = (kind, transport, processes, target) => ({
  name: `relay-${kind}-${transport}`,
  title: `outbox in ${titleOf(kind)}, ${processes} relay${processes === 1 ? '' : 's'}, to ${transport === 'amqp' ? 'Stathmos over AMQP' : 'nowhere (the share of the store)'}`,
  target,
  async measure(world, { scale }) {
    const count = Math.round(COUNT * scale)
    const database = await world.database(kind)
    const broker = transport === 'amqp' ? await world.broker() : null
    if (broker !== null) await declareQueues(broker)
    const filler = await world.serving(database, { relay: false })
    await filler.ask('migrate')
    await filler.ask('becomeFamiliar')
    const options = broker === null ? {} : { amqpUrl: broker.url }
    const relays = []
    for (let index = 0; index < processes; index++) relays.push(await world.serving(database, options))
    const begin = kind === 'postgres' ? beginTogether : beginWithOutboxFull
    const { startedAt, cpuBefore } = await begin(filler, relays, count, database)
    const results = await untilSent(relays, count)
    const cpuAfter = database.cpuSeconds()
    const lastAt = Math.max(...results.map(({ lastAt: at }) => at))
    const disorder = broker === null ? sum(results, 'violations') : await disorderAt(broker, count)
    if (disorder > 0) throw new Error(`${disorder} messages are missing, twice there or out of order`)
    return {
      rate: (count * 1000) / (lastAt - startedAt),
      cpuUs: (sum(results, 'cpuUs') - cpuBefore.relays) / count,
      databaseCpuUs: ((cpuAfter - cpuBefore.database) * 1e6) / count,
    }
  },
})

/** The relays share the buckets before there is anything to send, and see all of it at once. */
async function beginTogether(filler, relays, count, database) {
  await Promise.all(relays.map((part) => part.ask('start')))
  await filler.ask('fill', { count })
  await until(
    async () => (await filler.ask('owners')).filter(({ buckets }) => Number(buckets) > 16).length === relays.length,
    30_000,
    undefined,
    100,
  )
  const cpuBefore = { relays: await cpuOf(relays), database: database.cpuSeconds() }
  return { startedAt: await filler.ask('commit'), cpuBefore }
}

/** SQLite has one writer: while somebody fills, nobody could lease. */
async function beginWithOutboxFull(filler, relays, count, database) {
  await filler.ask('fill', { count })
  await filler.ask('commit')
  const cpuBefore = { relays: await cpuOf(relays), database: database.cpuSeconds() }
  const [started] = await Promise.all(relays.map((part) => part.ask('start')))
  return { startedAt: started, cpuBefore }
}

async function cpuOf(parts) {
  return sum(await Promise.all(parts.map((part) => part.ask('sent'))), 'cpuUs')
}

async function untilSent(relays, count) {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    const results = await Promise.all(relays.map((part) => part.ask('sent')))
    if (sum(results, 'count') >= count) return results
    if (performance.now() > end) throw new Error(`${sum(results, 'count')} of ${count} were sent in ${PATIENCE_MS} ms`)
    await sleep(20)
  }
}

async function declareQueues(broker) {
  const transport = amqp(broker.url)
  await transport.open(shopSurroundings())
  await transport.declare(TOPOLOGY)
  await transport.close()
}

/** Takes everything from the queues and looks at it. */
async function disorderAt(broker, count) {
  const transport = amqp(broker.url)
  await transport.open(shopSurroundings())
  await transport.declare(TOPOLOGY)
  const check = new OrderCheck()
  const subscription = await transport.subscribe(TOPOLOGY.consumers[0], 2_000, (delivery) => {
    check.see(JSON.parse(Buffer.from(delivery.raw.body).toString()))
    delivery.accept()
  })
  await until(() => check.count >= count, PATIENCE_MS, undefined, 20)
  // What is there twice comes behind the last.
  await sleep(200)
  await subscription.close()
  await transport.close()
  return check.violations + Math.abs(check.count - count)
}

function sum(results, key) {
  return results.reduce((total, result) => total + result[key], 0)
}
