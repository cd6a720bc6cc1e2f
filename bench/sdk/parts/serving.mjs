// A process with a service in it, of the SDK: it adds, relays, handles, as it is told.
import { service } from '@stathmos/sdk'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { nullTransport } from './null-transport.mjs'
import { openDatabase, orderAt, OrderPlaced, orders } from './orders.mjs'
import { serve, sharedMs } from './part.mjs'
import { steadily } from './steadily.mjs'

/** Messages that are added by one statement when an outbox is filled. */
const FILL = 1_000
/** Messages that were in the outbox before. */
const FAMILIAR = 2_000

let database
let transport
let app
/** The transaction that fills the outbox, until it is committed. */
let filling
const sent = { count: 0, lastAt: 0 }
const handled = { count: 0, firstAt: 0, lastAt: 0, times: [] }

serve({
  /** @param {{ kind: string, place: string, amqpUrl?: string, relay?: false, handles?: boolean, connections?: number }} options */
  async open({ kind, place, amqpUrl, relay, handles = false, connections }) {
    database = await openDatabase(kind, place, connections)
    transport = counted(amqpUrl === undefined ? nullTransport() : amqp(amqpUrl))
    app = service('shop', {
      store: database.store,
      transport,
      sends: [OrderPlaced],
      ...(relay === false ? { relay } : {}),
    })
    if (handles) app.on(OrderPlaced, { name: 'book' }, book)
  },
  async migrate() {
    await database.migrate()
    await app.migrate()
  },
  fillBalances: () => database.fillBalances(),
  /** @returns when it was told to */
  async start() {
    const at = sharedMs()
    await app.start()
    return at
  },
  /** What relays have sent, and what of it was out of order at a null transport. */
  sent: () => ({ ...sent, violations: transport.check?.violations ?? 0, cpuUs: cpuUs() }),
  handled: () => ({ ...handled, times: undefined, cpuUs: cpuUs() }),
  times: () => handled.times,
  /** Transactions for a time, on so many connections; with a message each or without. @param work see takeOrder */
  async add({ connections, forMs, publish, work }) {
    const cpuBefore = cpuUs()
    const startedAt = sharedMs()
    let count = 0
    const run = async () => {
      const connection = await database.connection()
      while (sharedMs() - startedAt < forMs) {
        const order = orderAt(count++)
        await connection.begin()
        await database.takeOrder(connection.tx, work, order)
        if (publish) await app.in(connection.tx).publish(OrderPlaced, order)
        await connection.commit()
      }
      connection.close()
    }
    await Promise.all(Array.from({ length: connections }, run))
    return { count, ms: sharedMs() - startedAt, cpuUs: cpuUs() - cpuBefore }
  },
  /** Which relays have how many of the buckets. */
  owners: () =>
    database.all('select owner, count(*) as buckets from stathmos_bucket where owner is not null group by owner'),
  empty: () => database.empty(),
  fill,
  commit,
  /** Gives the database statistics of the outbox, as it has them after a minute of any service's life. */
  async becomeFamiliar() {
    await fill({ count: FAMILIAR })
    await commit()
    await database.analyze()
    await database.empty()
  },
  /** Transactions of one insert and one message at a steady rate. @returns when each was committed */
  async publishSteadily({ rate, seconds }) {
    const connection = await database.connection()
    const committedAt = []
    await steadily(rate, seconds, async (index) => {
      await connection.begin()
      await database.insert(connection.tx, 'orders', orderAt(index))
      await app.in(connection.tx).publish(OrderPlaced, orderAt(index))
      await connection.commit()
      committedAt.push(sharedMs())
    })
    connection.close()
    return committedAt
  },
  async end() {
    await app.stop()
    await database.close()
  },
})

/** Adds messages in one transaction, which stays open. */
async function fill({ count }) {
  filling = await database.connection()
  await filling.begin()
  for (let from = 0; from < count; from += FILL) {
    const chunk = orders(Math.min(FILL, count - from), from)
    await app.in(filling.tx).publishAll(chunk.map((order) => [OrderPlaced, order]))
  }
}

/** @returns when it was committed, in {@link sharedMs} */
async function commit() {
  await filling.commit()
  const at = sharedMs()
  filling.close()
  await database.store.notify()
  return at
}

async function book(order, { tx }) {
  const now = sharedMs()
  if (handled.count++ === 0) handled.firstAt = now
  handled.lastAt = now
  handled.times.push([order.customer, order.number, now])
  await database.insert(tx, 'booked', order)
}

function counted(inner) {
  const send = inner.send.bind(inner)
  inner.send = async (messages) => {
    const results = await send(messages)
    sent.count += results.filter((result) => result === 'sent').length
    sent.lastAt = sharedMs()
    return results
  }
  return inner
}

function cpuUs() {
  const { user, system } = process.cpuUsage()
  return user + system
}
