// Kills the processes of a service that uses the SDK, again and again, and asks afterwards whether every order that was
// taken was booked once, invoiced once, in its customer's order, and no other.
//
//   node tests/torture/sdk/torture.mjs --cycles 200 --store postgres|sqlite [--seed 7] [--keep] [--sabotage accept-first]
//
// Two sellers and one clerk share a database and a broker; all of them relay and handle. In every cycle one of the three
// is killed without warning, or now and then the broker. At the end all orders are drained and the tables are judged.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startStathmos } from '../../../bench/peers/stathmos.mjs'
import { startPostgres } from '../../peers/postgres.mjs'
import { randomOf } from '../random.mjs'
import { check } from './checker.mjs'
import { openDatabase } from './database.mjs'

const SHOP = fileURLToPath(new URL('shop.mjs', import.meta.url))
const PROCESSES = [
  ['seller', 'seller-1'],
  ['seller', 'seller-2'],
  ['clerk', 'clerk-1'],
]
const FAULT_AFTER_MS = { min: 50, max: 1500 }
/** Of the faults, those that hit the broker instead of a process of the service. */
const BROKER_SHARE = 0.1
/** Nothing may take longer on the slowest machine: leases of dead processes run out within it, many times. */
const DRAIN_PATIENCE_MS = 300_000

/**
 * @param {{ cycles: number, store: 'postgres' | 'sqlite', seed: number, keep?: boolean, sabotage?: string, patienceMs?: number, log?: (line: string) => void }} options
 */
export async function torture({
  cycles,
  store,
  seed,
  keep = false,
  sabotage,
  patienceMs = DRAIN_PATIENCE_MS,
  log = () => {},
}) {
  const random = randomOf(seed)
  const dir = mkdtempSync(join(tmpdir(), 'stathmos-sdk-torture-'))
  const server = store === 'postgres' ? await startPostgres() : null
  const place = server?.url ?? join(dir, 'shop.db')
  const database = await openDatabase(store, place)
  let broker = await startStathmos({ dir: join(dir, 'broker') })
  const running = new Map()
  let unexpected = 0

  const begin = async ([role, name]) => {
    const args = ['--store', store, '--database', place, '--amqp', `amqp://127.0.0.1:${broker.port}`]
    if (sabotage !== undefined) args.push('--sabotage', sabotage)
    const child = fork(SHOP, [...args, '--role', role, '--name', name], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      execArgv: [],
    })
    running.set(name, child)
    child.once('exit', (code, signal) => {
      if (signal === 'SIGKILL' || code === 0) return
      unexpected++
      log(`${name} ended by itself: code ${code}, signal ${signal}`)
    })
    await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
  }
  const kill = async (name) => {
    const child = running.get(name)
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  try {
    await database.migrate()
    await database.store.migrate()
    await Promise.all(PROCESSES.map(begin))
    for (let cycle = 1; cycle <= cycles; cycle++) {
      await sleep(FAULT_AFTER_MS.min + random() * (FAULT_AFTER_MS.max - FAULT_AFTER_MS.min))
      if (random() < BROKER_SHARE) {
        const { dir: data, port } = broker
        await broker.kill({ keep: true })
        broker = await startStathmos({ dir: data, args: ['--amqp-port', String(port)] })
      } else {
        const chosen = PROCESSES[Math.floor(random() * PROCESSES.length)]
        await kill(chosen[1])
        await begin(chosen)
      }
      if (cycle % 10 === 0) log(`${cycle} of ${cycles}`)
    }
    for (const child of running.values()) child.kill('SIGTERM')
    await Promise.all([...running.values()].map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')))
    await begin(['clerk', 'clerk-1'])
    const drained = await until(async () => {
      const [{ open }] = await database.all(
        'SELECT 2 * (SELECT count(*) FROM orders) - (SELECT count(*) FROM booked) - (SELECT count(*) FROM invoiced) AS open',
      )
      return Number(open) <= 0
    }, patienceMs)
    running.get('clerk-1').kill('SIGTERM')
    await once(running.get('clerk-1'), 'exit')
    return { cycles, store, seed, drained, unexpected, ...(await check(database)) }
  } finally {
    for (const child of running.values()) child.kill('SIGKILL')
    await database.close()
    await broker.kill({ keep: false })
    await server?.stop()
    if (!keep) rmSync(dir, { recursive: true, force: true })
  }
}

async function until(condition, patienceMs) {
  const deadline = performance.now() + patienceMs
  while (performance.now() < deadline) {
    if (await condition()) return true
    await sleep(100)
  }
  return false
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      cycles: { type: 'string', default: '25' },
      store: { type: 'string', default: 'sqlite' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      keep: { type: 'boolean', default: false },
      sabotage: { type: 'string' },
    },
  })
  const result = await torture({
    cycles: Number(values.cycles),
    store: values.store,
    seed: Number(values.seed),
    keep: values.keep,
    sabotage: values.sabotage,
    log: (line) => console.error(line),
  })
  console.log(
    JSON.stringify(
      { ...result, violations: result.violations.slice(0, 20), violationCount: result.violations.length },
      null,
      2,
    ),
  )
  process.exitCode = result.drained && result.violations.length === 0 ? 0 : 1
}
