// Measures the SDK, and the peers that are installed beside it: every run with a fresh database, broker and processes.
//
//   npm run bench:sdk                                         everything
//   npm run bench:sdk -- --only relay-postgres-amqp,inbox-postgres --runs 5 --peers none
//   npm run bench:sdk -- --scale 0.2 --runs 1                 a quick look, with a fifth of the messages
//   npm run bench:sdk -- --list
//
// bench/sdk/README.md says how to read the figures.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { machine } from '../report/machine.mjs'
import { median } from '../report/median.mjs'
import { World } from './parts/world.mjs'
import { versionOf, whyNot } from './peers/installed.mjs'
import { QUESTIONS } from './questions/index.mjs'
import { printTable } from './report/table.mjs'

const SDK = 'stathmos'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    runs: { type: 'string', default: '3' },
    peers: { type: 'string' },
    scale: { type: 'string', default: '1' },
    out: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})
if (values.list) {
  for (const { name, title } of QUESTIONS) console.log(`${name.padEnd(22)} ${title}`)
  process.exit(0)
}
const only = values.only?.split(',')
const unknown = only?.filter((name) => !QUESTIONS.some((question) => question.name === name)) ?? []
if (unknown.length > 0) throw new Error(`no question ${unknown.join(', ')}; --list names them`)
const questions = QUESTIONS.filter(({ name }) => only === undefined || only.includes(name))

/** Who is asked besides the SDK; who is not installed is left out, and it is said. */
const wanted = [...new Set(questions.flatMap(({ peers = {} }) => Object.keys(peers)))].filter(
  (name) => values.peers === undefined || values.peers.split(',').includes(name),
)
const peers = wanted.filter((name) => versionOf(name) !== undefined)
for (const name of wanted)
  if (!peers.includes(name)) console.error(`  ${name} is not measured, it is not installed (${whyNot(name)})`)

/** What is open: an interrupted benchmark leaves nothing behind. */
let world = new World()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void world.close().then(() => process.exit(1)))

async function measure(ask) {
  world = new World()
  const loadBefore = loadavg()[0]
  try {
    return { ...(await ask(world, { scale: Number(values.scale) })), loadBefore }
  } catch (error) {
    return { failed: String(error.message).split('\n')[0], loadBefore }
  } finally {
    await world.close()
  }
}

const { version } = JSON.parse(readFileSync(new URL('../../packages/sdk/package.json', import.meta.url), 'utf8'))
const dir = fileURLToPath(new URL('results/', import.meta.url))
mkdirSync(dir, { recursive: true })
const startedAt = new Date().toISOString()
const file = values.out ?? `${dir}${startedAt.slice(0, 19).replaceAll(':', '')}.json`
const report = {
  at: startedAt,
  machine: machine(),
  runs: Number(values.runs),
  scale: Number(values.scale),
  versions: { [SDK]: version, ...Object.fromEntries(peers.map((name) => [name, versionOf(name)])) },
  questions: {},
}
for (const question of questions) {
  const asked = { [SDK]: question.measure, ...question.peers }
  const subjects = {}
  for (const name of [SDK, ...peers.filter((peer) => asked[peer] !== undefined)]) {
    const runs = []
    for (let run = 0; run < report.runs; run++) runs.push(await measure(asked[name]))
    subjects[name] = { median: median(runs), runs }
    console.error(`  ${question.name} ${name}: ${JSON.stringify(subjects[name].median)}`)
  }
  report.questions[question.name] = { title: question.title, target: question.target, subjects }
  // After every question: what is measured is kept, whatever happens to the rest.
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
}

printTable(report)
console.log(`\n${file}`)
