// At a modest, steady rate: how long after the commit does the handler run? The transaction is the application's own, so
// that nobody tells the service when it commits. Among several processes the one that publishes does nothing else.
import { setTimeout as sleep } from 'node:timers/promises'
import { orderAt } from '../parts/orders.mjs'
import { titleOf } from './outbox-add.mjs'

const RATE = 50
const SECONDS = 10
/** Not counted: connections are opened, statements prepared, code compiled. */
const WARM_UP = 100
const PATIENCE_MS = 30_000

export const latency = (kind, processes, target, peers) => ({
  name: `latency-${kind}-${processes}`,
  title: `${RATE}/s, commit to handler, ${titleOf(kind)}, ${processes === 1 ? 'one process' : 'from one process to another'}`,
  target,
  async measure(world, { scale }) {
    const [database, broker] = [await world.database(kind), await world.broker()]
    const handler = await world.serving(database, { amqpUrl: broker.url, handles: true })
    await handler.ask('migrate')
    await handler.ask('start')
    if (processes === 1) return between(handler, handler, scale)
    const publisher = await world.serving(database, { amqpUrl: broker.url, relay: false })
    await publisher.ask('start')
    return between(publisher, handler, scale)
  },
  peers: Object.fromEntries(
    Object.entries(peers).map(([name, options]) => [
      name,
      async (world, { scale }) => {
        const part = await world.peer(name, await world.database(kind), options)
        await part.ask('start')
        return between(part, part, scale)
      },
    ]),
  ),
})

async function between(publisher, handler, scale) {
  const committedAt = await publisher.ask('publishSteadily', { rate: RATE, seconds: Math.max(SECONDS * scale, 4) })
  const end = performance.now() + PATIENCE_MS
  let times = []
  while ((times = await handler.ask('times')).length < committedAt.length) {
    if (performance.now() > end) throw new Error(`${times.length} of ${committedAt.length} were handled`)
    await sleep(100)
  }
  const handledAt = new Map(times.map(([customer, number, at]) => [`${customer} ${number}`, at]))
  const waits = committedAt
    .map((at, index) => handledAt.get(nameAt(index)) - at)
    .slice(WARM_UP)
    .toSorted((a, b) => a - b)
  return { p50Ms: waits[waits.length >> 1], p99Ms: waits[Math.floor(waits.length * 0.99)] }
}

function nameAt(index) {
  const { customer, number } = orderAt(index)
  return `${customer} ${number}`
}
