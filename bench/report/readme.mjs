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
const { cpu, cores, memoryGiB, kernel, node, fileSystem, commit } = report.machine
const versions = new Set(
  Object.values(report.questions).flatMap(({ brokers }) =>
    Object.entries(brokers).map(([name, { median }]) => `${name} ${median.version}`),
  ),
)
const row = (cells) => `| ${cells.join(' | ')} |`
const table = [headOf(report), headOf(report).map(() => '---'), ...rowsOf(report)].map(row)
const text = [
  BEGIN,
  '',
  `${report.at.slice(0, 10)}, commit ${commit}: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${fileSystem}, Linux ${kernel}, Node ${node}; ${[...versions].join(', ')}; medians of ${report.runs} runs.`,
  '',
  ...table,
  '',
  END,
].join('\n')
const readme = readFileSync(README, 'utf8')
const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
if (begin < 0 || end < begin) throw new Error(`${README} has no place for results`)
writeFileSync(README, readme.slice(0, begin) + text + readme.slice(end + END.length))
