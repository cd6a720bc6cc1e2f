// Fills the results table of bench/README.md from a report:
//   node bench/report/readme.mjs bench/results/<file>.json [more files, later ones win question by question]
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { headOf, rowsOf } from './table.mjs'

const README = fileURLToPath(new URL('../README.md', import.meta.url))
const BEGIN = '<!-- results: begin (written by bench/report/readme.mjs) -->'
const END = '<!-- results: end -->'

const reports = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')))
const last = reports.at(-1)
const report = { ...last, questions: Object.assign({}, ...reports.map(({ questions }) => questions)) }

/** What, when, on what: for each report, because a table may be made of several. */
function provenance({ at, machine, runs, questions }) {
  const { cpu, cores, memoryGiB, kernel, node, fileSystem, commit } = machine
  const brokers = Object.values(questions).flatMap((question) => Object.entries(question.brokers))
  const versions = new Set(brokers.map(([name, { median }]) => `${name} ${median.version}`))
  const on = `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${fileSystem}, Linux ${kernel}, Node ${node}`
  const medians = runs === 1 ? 'one run' : `medians of ${runs} runs`
  return `- ${Object.keys(questions).join(', ')}: ${at.slice(0, 10)}, commit ${commit}, ${[...versions].join(', ')}, ${medians}; ${on}.`
}

const row = (cells) => `| ${cells.join(' | ')} |`
const table = [headOf(report), headOf(report).map(() => '---'), ...rowsOf(report)].map(row)
const text = [BEGIN, '', ...reports.map(provenance), '', ...table, '', END].join('\n')
const readme = readFileSync(README, 'utf8')
const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
if (begin < 0 || end < begin) throw new Error(`${README} has no place for results`)
writeFileSync(README, readme.slice(0, begin) + text + readme.slice(end + END.length))
