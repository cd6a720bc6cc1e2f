// Every question, in the order of the table, with the peers that it is asked of, and how each of them is set up.
import { inbox } from './inbox.mjs'
import { latency } from './latency.mjs'
import { outboxAdd } from './outbox-add.mjs'
import { relay } from './relay.mjs'
import { wholeWay } from './whole-way.mjs'

/** What peers do in a transaction of PostgreSQL, or right after it (bullmq, whose jobs are in Redis). */
const ADDING = { 'pg-boss': {}, 'graphile-worker': {}, 'graphile-worker-ordered': { ordered: true }, ...bullmq({}) }
/** Batches where they know batches, and more at once than by default; not tuned further. */
const WORKING = {
  'pg-boss': { workers: 4, batch: 500 },
  'graphile-worker': { concurrency: 10, localQueue: 500 },
  'graphile-worker-ordered': { concurrency: 10, ordered: true },
  ...bullmq({ concurrency: 50 }),
}
const WAITING = {
  'pg-boss': { workers: 1, batch: 100 },
  'graphile-worker': { concurrency: 10 },
  ...bullmq({ concurrency: 10 }),
}

/** Redis that syncs each write, and Redis that syncs every second and loses up to that much. */
function bullmq(options) {
  return {
    'bullmq-always': { ...options, appendfsync: 'always' },
    'bullmq-everysec': { ...options, appendfsync: 'everysec' },
  }
}

export const QUESTIONS = [
  outboxAdd('tpcb', 'postgres', 8, ADDING),
  outboxAdd('tpcb', 'sqlite', 1, {}),
  outboxAdd('insert', 'postgres', 8, ADDING),
  outboxAdd('insert', 'postgres', 24, ADDING),
  outboxAdd('insert', 'sqlite', 1, {}),
  relay('postgres', 'amqp', 2, { rate: 20_000 }),
  relay('postgres', 'null', 2, {}),
  relay('sqlite', 'amqp', 1, { rate: 10_000 }),
  relay('sqlite', 'null', 1, {}),
  inbox('postgres', { rate: 5_000 }),
  inbox('sqlite', {}),
  wholeWay('postgres', WORKING),
  wholeWay('sqlite', {}),
  latency('postgres', 1, { p50Ms: 5 }, WAITING),
  latency('postgres', 2, { p50Ms: 60 }, {}),
  latency('sqlite', 1, { p50Ms: 5 }, {}),
  latency('sqlite', 2, { p50Ms: 60 }, {}),
]
