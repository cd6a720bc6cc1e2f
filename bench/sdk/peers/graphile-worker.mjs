// graphile-worker: jobs in PostgreSQL, announced by NOTIFY when they commit. `ordered` gives every customer a queue of its
// own, whose jobs run one after the other. A job is removed after its handler, in a transaction of its own.
import { load } from './installed.mjs'

export async function open({ place, pool, ordered = false, concurrency = 1, localQueue }) {
  const { run, runMigrations, makeWorkerUtils, Logger } = await load('graphile-worker')
  // Its own log writes a line for each job.
  const logger = new Logger(() => () => {})
  await runMigrations({ connectionString: place, logger })
  const utils = await makeWorkerUtils({ connectionString: place, logger })
  let runner
  return {
    async addIn(client, order) {
      await client.query({
        name: 'add-job',
        text: "select graphile_worker.add_job('book', $1::json, queue_name := $2::text)",
        values: [JSON.stringify(order), ordered ? order.customer : null],
      })
    },
    async fill(orders) {
      await utils.addJobs(
        orders.map((payload) => ({ identifier: 'book', payload, ...(ordered ? { queueName: payload.customer } : {}) })),
      )
    },
    async work(book) {
      runner = await run({
        pgPool: pool,
        concurrency,
        logger,
        noHandleSignals: true,
        taskList: { book: (order) => book(order) },
        preset: {
          worker: localQueue === undefined ? {} : { localQueue: { size: localQueue }, completeJobBatchDelay: 0 },
        },
      })
    },
    tables: ['graphile_worker._private_jobs', 'graphile_worker._private_job_queues'],
    async close() {
      await runner?.stop()
      await utils.release()
    },
  }
}
