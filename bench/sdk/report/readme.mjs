// Fills the results table of bench/sdk/README.md from a report:
//   node bench/sdk/report/readme.mjs bench/sdk/results/<file>.json [more files, later ones win, one asked of one at a time]
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { QUESTIONS } from '../questions/index.mjs'
import { HEAD, rowsOf } from './table.mjs'

const README = fileURLToPath(new URL('../README.md', import.meta.url))
const BEGIN = '<!-- results: begin (written by bench/sdk/report/readme.mjs) -->'
const END = '<!-- results: end -->'
/** From this load average on, something else was running. */
const BUSY = 1

const reports = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')))
const report = { questions: {} }
for (const { name } of QUESTIONS)
  for (const { questions } of reports)
    if (questions[name] !== undefined) {
      const { subjects } = report.questions[name] ?? {}
      report.questions[name] = { ...questions[name], subjects: { ...subjects, ...questions[name].subjects } }
    }

/** What, when, on what, and how busy it was: for each report, because a table may be made of several. */
function provenance({ at, machine, runs, scale, versions, questions }) {
  const { cpu, cores, memoryGiB, kernel, node, fileSystem, commit } = machine
  const measured = Object.values(questions).flatMap(({ subjects }) =>
    Object.values(subjects).flatMap((one) => one.runs),
  )
  const load = Math.max(...measured.map(({ loadBefore }) => loadBefore))
  const on = `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${fileSystem}, Linux ${kernel}, Node ${node}`
  const medians = runs === 1 ? 'one run' : `medians of ${runs} runs`
  const part = scale === 1 ? '' : `, with ${scale} of the messages`
  const busy = load > BUSY ? `; **on a busy machine** (load average up to ${load.toFixed(1)} before a run)` : ''
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `- ${Object.keys(questions).join(', ')}: ${at.slice(0, 10)}, commit ${commit}, ${names.join(', ')}, ${medians}${part}; ${on}${busy}.`
}

const row = (cells) => `| ${cells.join(' | ')} |`
const table = [HEAD, HEAD.map(() => '---'), ...rowsOf(report)].map(row)
const text = [BEGIN, '', ...reports.map(provenance), '', ...table, '', END].join('\n')
const readme = readFileSync(README, 'utf8')
const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
if (begin < 0 || end < begin) throw new Error(`${README} has no place for results`)
writeFileSync(README, readme.slice(0, begin) + text + readme.slice(end + END.length))
