// What does a message cost the transaction that it is added to? The same transaction without and with it: the five statements
// of TPC-B, as pgbench has them, or a single insert, which is the least that a transaction can do.

/** Slices of each kind, taken in turn, so that what else the machine does hits both. */
const PAIRS = 3
const SLICE_MS = 2_000
const WARM_UP_MS = 700

const WORKS = { tpcb: 'TPC-B', insert: 'one insert' }

/** @param {keyof typeof WORKS} work what the transaction does beside the message */
export const outboxAdd = (work, kind, connections, peers) => ({
  name: `outbox-add-${work}-${kind}${kind === 'sqlite' ? '' : `-${connections}`}`,
  title: `${WORKS[work]}, ${titleOf(kind)}, ${connections} connection${connections === 1 ? '' : 's'}: with a message in the transaction`,
  target: { lostPercent: 35 },
  async measure(world) {
    const database = await world.database(kind)
    const part = await world.serving(database, { relay: false, connections: connections + 3 })
    await part.ask('migrate')
    return inPairs(part, connections, database, work)
  },
  peers: Object.fromEntries(
    Object.entries(peers).map(([name, options]) => [
      name,
      async (world) => {
        const database = await world.database(kind)
        const part = await world.peer(name, database, { connections: connections + 3, ...options })
        return inPairs(part, connections, database, work)
      },
    ]),
  ),
})

async function inPairs(part, connections, database, work) {
  if (work === 'tpcb') await part.ask('fillBalances')
  const nothing = { count: 0, ms: 0, cpuUs: 0, databaseCpuUs: 0 }
  const sums = { alone: { ...nothing }, with: { ...nothing } }
  for (let pair = -1; pair < PAIRS; pair++)
    for (const publish of [false, true]) {
      await part.ask('empty')
      const before = database.cpuSeconds()
      const slice = await part.ask('add', { connections, forMs: pair < 0 ? WARM_UP_MS : SLICE_MS, publish, work })
      slice.databaseCpuUs = (database.cpuSeconds() - before) * 1e6
      if (pair < 0) continue
      const sum = publish ? sums.with : sums.alone
      for (const key of Object.keys(sum)) sum[key] += slice[key]
    }
  const [aloneRate, rate] = [sums.alone, sums.with].map(({ count, ms }) => (count * 1000) / ms)
  return {
    rate,
    aloneRate,
    lostPercent: (1 - rate / aloneRate) * 100,
    cpuUs: sums.with.cpuUs / sums.with.count,
    aloneCpuUs: sums.alone.cpuUs / sums.alone.count,
    databaseCpuUs: sums.with.databaseCpuUs / sums.with.count,
    aloneDatabaseCpuUs: sums.alone.databaseCpuUs / sums.alone.count,
  }
}

export function titleOf(kind) {
  return kind === 'postgres' ? 'PostgreSQL' : 'SQLite'
}
