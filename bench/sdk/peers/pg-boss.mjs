// pg-boss: jobs in PostgreSQL, fetched in batches. Jobs have no order. A job is completed after its handler, in a
// transaction of its own: what the handler wrote is there again when the process ends in between.
import { load } from './installed.mjs'

const QUEUE = 'orders'
/** The shortest that it allows. */
const POLL_SECONDS = 0.5

export async function open({ place, workers = 1, batch = 1 }) {
  const { default: PgBoss } = await load('pg-boss')
  const boss = new PgBoss({ connectionString: place, max: 10, supervise: false, schedule: false })
  boss.on('error', (error) => console.error(error))
  await boss.start()
  await boss.createQueue(QUEUE)
  return {
    /** In the transaction. */
    async addIn(client, order) {
      await boss.send(QUEUE, order, { db: { executeSql: (text, values) => client.query(text, values) } })
    },
    async fill(orders) {
      await boss.insert(orders.map((data) => ({ name: QUEUE, data })))
    },
    async work(book) {
      const options = { batchSize: batch, pollingIntervalSeconds: POLL_SECONDS }
      for (let index = 0; index < workers; index++)
        await boss.work(QUEUE, options, (jobs) => Promise.all(jobs.map(({ data }) => book(data))))
    },
    tables: ['pgboss.job'],
    close: () => boss.stop({ graceful: false, wait: true }),
  }
}
