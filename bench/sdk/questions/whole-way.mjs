// From a full store to the handler's insert: relayed, through the broker, handled, in order, by one process. The same work
// for peers whose queue is the store itself: jobs that are there, one process, one insert each.
import { assertBooked, untilHandled } from './inbox.mjs'
import { titleOf } from './outbox-add.mjs'

const COUNT = 40_000

export const wholeWay = (kind, peers) => ({
  name: `whole-way-${kind}`,
  title: `${titleOf(kind)}, from stored to one insert each, one process`,
  target: {},
  async measure(world, { scale }) {
    const count = Math.round(COUNT * scale)
    const [database, broker] = [await world.database(kind), await world.broker()]
    const part = await world.serving(database, { amqpUrl: broker.url, handles: true })
    await part.ask('migrate')
    await part.ask('becomeFamiliar')
    await part.ask('fill', { count })
    await part.ask('commit')
    return handle(part, database, count)
  },
  peers: Object.fromEntries(
    Object.entries(peers).map(([name, options]) => [
      name,
      async (world, { scale }) => {
        const count = Math.round(COUNT * scale)
        const database = await world.database(kind)
        const part = await world.peer(name, database, options)
        await part.ask('fill', { count })
        await part.ask('analyze')
        return handle(part, database, count, { ordered: options.ordered ?? false })
      },
    ]),
  ),
})

async function handle(part, database, count, options) {
  const cpuBefore = [(await part.ask('handled')).cpuUs, database.cpuSeconds()]
  const startedAt = await part.ask('start')
  const { lastAt, cpuUs } = await untilHandled(part, count)
  const databaseCpu = database.cpuSeconds() - cpuBefore[1]
  await assertBooked(database, count, options)
  return {
    rate: (count * 1000) / (lastAt - startedAt),
    cpuUs: (cpuUs - cpuBefore[0]) / count,
    databaseCpuUs: (databaseCpu * 1e6) / count,
  }
}
