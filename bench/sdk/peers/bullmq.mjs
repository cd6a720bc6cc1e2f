// BullMQ: jobs in Redis. They are no part of a transaction of the database: a job is added after the commit, and is
// missing when the process ends in between.
import { load } from './installed.mjs'

export async function open({ redisPort, concurrency = 1 }) {
  const { Queue, Worker } = await load('bullmq')
  const connection = { host: '127.0.0.1', port: redisPort }
  const queue = new Queue('orders', { connection, defaultJobOptions: { removeOnComplete: true } })
  let worker
  return {
    addAfter: (order) => queue.add('book', order),
    async fill(orders) {
      await queue.addBulk(orders.map((data) => ({ name: 'book', data })))
    },
    async work(book) {
      worker = new Worker('orders', (job) => book(job.data), {
        connection: { ...connection, maxRetriesPerRequest: null },
        concurrency,
      })
      await worker.waitUntilReady()
    },
    tables: [],
    async close() {
      await worker?.close()
      await queue.close()
    },
  }
}
