// A process with a peer in it: the verbs of serving.mjs, on the same tables of orders.
import { Pool } from 'pg'
import {
  fillBalancesInPostgres,
  insertInPostgres,
  migratePostgres,
  orderAt,
  orders,
  takeOrderInPostgres,
} from './orders.mjs'
import { serve, sharedMs } from './part.mjs'
import { steadily } from './steadily.mjs'

const FILL = 1_000

let pool
let peer
const handled = { count: 0, lastAt: 0, times: [] }

serve({
  async open({ module, place, connections = 20, ...options }) {
    pool = new Pool({ connectionString: place, max: connections })
    pool.on('error', () => {})
    await migratePostgres(pool)
    peer = await (await import(module)).open({ place, pool, ...options })
  },
  fillBalances: () => fillBalancesInPostgres(pool),
  async empty() {
    await pool.query(`truncate ${['orders', ...peer.tables].join(', ')}`)
  },
  async add({ connections, forMs, publish, work }) {
    const cpuBefore = cpuUs()
    const startedAt = sharedMs()
    let count = 0
    const run = async () => {
      const client = await pool.connect()
      while (sharedMs() - startedAt < forMs) await takeOrder(client, work, orderAt(count++), publish)
      client.release()
    }
    await Promise.all(Array.from({ length: connections }, run))
    return { count, ms: sharedMs() - startedAt, cpuUs: cpuUs() - cpuBefore }
  },
  async fill({ count }) {
    for (let from = 0; from < count; from += FILL) await peer.fill(orders(Math.min(FILL, count - from), from))
  },
  /** Gives the database statistics of the tables, jobs and all. */
  async analyze() {
    await pool.query('analyze')
  },
  async start() {
    const at = sharedMs()
    await peer.work(book)
    return at
  },
  async publishSteadily({ rate, seconds }) {
    const client = await pool.connect()
    const committedAt = []
    await steadily(rate, seconds, async (index) => {
      committedAt.push(await takeOrder(client, 'insert', orderAt(index), true))
    })
    client.release()
    return committedAt
  },
  handled: () => ({ ...handled, times: undefined, cpuUs: cpuUs() }),
  times: () => handled.times,
  async end() {
    await peer.close()
    await pool.end()
  },
})

/** @returns when the database had committed */
async function takeOrder(client, work, order, publish) {
  await client.query('begin')
  await takeOrderInPostgres(client, work, order)
  if (publish) await peer.addIn?.(client, order)
  await client.query('commit')
  const at = sharedMs()
  if (publish) await peer.addAfter?.(order)
  return at
}

async function book(order) {
  const now = sharedMs()
  handled.count++
  handled.lastAt = now
  handled.times.push([order.customer, order.number, now])
  await insertInPostgres(pool, 'booked', order)
}

function cpuUs() {
  const { user, system } = process.cpuUsage()
  return user + system
}
