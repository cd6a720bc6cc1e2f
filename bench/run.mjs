// Measures Stathmos, and the peers that are installed beside it, one broker up at a time.
//
//   npm run bench                                        everything
//   npm run bench -- --only e2e-128,publish-128 --runs 5 --peers none
//   npm run bench -- --repeats 0                         takes the figures of a busy machine, and marks them
//   npm run bench -- --list
//
// Every run has a fresh broker with an empty directory; the figures are medians. bench/README.md says how to read them.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { until } from './peers/process.mjs'
import { rabbitmqHome, startRabbitmq } from './peers/rabbitmq.mjs'
import { startStathmos } from './peers/stathmos.mjs'
import { QUESTIONS } from './questions/index.mjs'
import { machine } from './report/machine.mjs'
import { median } from './report/median.mjs'
import { printTable } from './report/table.mjs'

/** More foreign load than this, in cores, makes a run worthless: it is repeated. */
const OTHER_CORES_MAX = 0.5
/** So does a hypervisor that gives the machine's time to others: latencies are theirs then. */
const STOLEN_CORES_MAX = 0.05
const REPEATS_DEFAULT = '2'

const START = { stathmos: startStathmos, rabbitmq: startRabbitmq }

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    runs: { type: 'string', default: '3' },
    peers: { type: 'string' },
    repeats: { type: 'string', default: REPEATS_DEFAULT },
    out: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})
if (values.list) {
  for (const { name, title } of QUESTIONS) console.log(`${name.padEnd(16)} ${title}`)
  process.exit(0)
}
const only = values.only?.split(',')
const unknown = only?.filter((name) => !QUESTIONS.some((question) => question.name === name)) ?? []
if (unknown.length > 0) throw new Error(`no question ${unknown.join(', ')}; --list names them`)
const questions = QUESTIONS.filter(({ name }) => only === undefined || only.includes(name))
const peers = (values.peers ?? (rabbitmqHome() === undefined ? 'none' : 'rabbitmq'))
  .split(',')
  .filter((name) => name !== 'none')
const brokers = ['stathmos', ...peers]
for (const name of brokers)
  if (START[name] === undefined) throw new Error(`no broker ${name}: ${Object.keys(START).join(', ')}`)

/** The broker that is up: an interrupted benchmark leaves none behind. */
let current = null
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void shutDown().then(() => process.exit(1)))

async function shutDown() {
  await current?.kill({ keep: false })
  current = null
}

async function start(name, dir) {
  const broker = await START[name]({ dir })
  if (broker.http !== undefined) {
    const began = performance.now()
    await until(async () => (await fetch(`${broker.http}/readyz`)).status === 200, 60_000, undefined, 1)
    broker.readyMs += performance.now() - began
  }
  current = broker
  return broker
}

/** Ends a broker and starts it again on what it holds; `readyMs` of the new one is how long that took. */
async function restart(broker, how) {
  await broker[how]({ keep: true })
  current = null
  return start(broker.name, broker.dir)
}

async function measureOnce(question, name) {
  const broker = await start(name)
  const began = performance.now()
  const stolenBefore = stolenSeconds()
  try {
    const { broker: last, ...result } = await question.measure(broker, { restart })
    current = last ?? broker
    const stolenCores = ((stolenSeconds() - stolenBefore) * 1000) / (performance.now() - began)
    return { ...result, stolenCores, version: broker.version }
  } finally {
    await current?.stop({ keep: false })
    current = null
  }
}

/** What the hypervisor has taken from all cores since the start, in seconds (proc(5), ticks of 10 ms); 0 where nobody tells. */
function stolenSeconds() {
  try {
    return Number(readFileSync('/proc/stat', 'utf8').split(/\s+/, 9)[8]) / 100
  } catch {
    return 0
  }
}

async function measure(question, name) {
  for (let repeat = 0; ; repeat++) {
    const result = await measureOnce(question, name)
    const disturbed = (result.otherCores ?? 0) > OTHER_CORES_MAX || result.stolenCores > STOLEN_CORES_MAX
    if (!disturbed || repeat >= Number(values.repeats)) return { ...result, ...(disturbed ? { disturbed } : {}) }
    console.error(
      `  ${question.name} ${name}: ${(result.otherCores ?? 0).toFixed(2)} cores were busy with other things, ${result.stolenCores.toFixed(2)} taken by the hypervisor; again`,
    )
  }
}

const dir = fileURLToPath(new URL('results/', import.meta.url))
mkdirSync(dir, { recursive: true })
const startedAt = new Date().toISOString()
const file = values.out ?? `${dir}${startedAt.slice(0, 19).replaceAll(':', '')}.json`
const report = { at: startedAt, machine: machine(), runs: Number(values.runs), questions: {} }
for (const question of questions) {
  const results = {}
  for (const name of brokers) {
    if (question.peers !== undefined && !question.peers.includes(name)) continue
    const runs = []
    for (let run = 0; run < report.runs; run++) {
      try {
        runs.push(await measure(question, name))
      } catch (error) {
        runs.push({ failed: String(error.message).split('\n')[0] })
        await shutDown()
      }
    }
    results[name] = { median: median(runs), runs }
    console.error(`  ${question.name} ${name}: ${JSON.stringify(results[name].median)}`)
  }
  report.questions[question.name] = { title: question.title, target: question.target, brokers: results }
  // After every question: what is measured is kept, whatever happens to the rest.
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
}

printTable(report)
console.log(`\n${file}`)
