// A report as a table: the SDK, its target, each peer and the ratio to it. Losing figures look like all others.

const whole = (value) => Math.round(value).toLocaleString('en')
const short = (value) => value.toPrecision(3)

const UNITS = {
  rate: ['per second', whole],
  aloneRate: ['per second without the message', whole],
  lostPercent: ['share lost, %', short],
  cpuUs: ['CPU µs each', short],
  aloneCpuUs: ['CPU µs each without the message', short],
  databaseCpuUs: ["the database's CPU µs each", short],
  aloneDatabaseCpuUs: ["the database's CPU µs each without the message", short],
  p50Ms: ['p50, ms', short],
  p99Ms: ['p99, ms', short],
}

/** More is better; of everything else, less. */
const MORE = new Set(['rate', 'aloneRate'])
/** Figures of the circumstances: no ratio says anything about them. */
const GIVEN = new Set(['aloneRate', 'aloneCpuUs', 'aloneDatabaseCpuUs'])
/** SQLite has no processes: these are nothing there. */
const OF_SERVERS = new Set(['databaseCpuUs', 'aloneDatabaseCpuUs'])

export const HEAD = ['question', 'figure', 'Stathmos', 'target', 'reached', 'peers (better by)']

export function rowsOf(report) {
  return Object.values(report.questions).flatMap(({ title, target, subjects }) => {
    const { stathmos, ...peers } = subjects
    const own = stathmos.median
    const failures = Object.entries(subjects)
      .filter(([, { median }]) => median.failed !== undefined)
      .map(([name, { median }]) => [title, `${name} failed ${median.failures} times: ${median.failed}`, '', '', '', ''])
    const figures = Object.entries(UNITS)
      .filter(([key]) => own[key] !== undefined && !(OF_SERVERS.has(key) && own[key] === 0))
      .map(([key, [unit, format]]) => {
        const goal = target[key]
        const reached =
          goal === undefined ? '' : (MORE.has(key) ? own[key] >= goal : own[key] <= goal) ? 'yes' : '**no**'
        const theirs = Object.entries(peers)
          .filter(([, { median }]) => median[key] !== undefined)
          .map(([name, { median }]) => `${name} ${format(median[key])}${ratio(key, own[key], median[key])}`)
        return [title, unit, format(own[key]), goal === undefined ? '' : format(goal), reached, theirs.join('; ')]
      })
    return [...figures, ...failures]
  })
}

function ratio(key, own, other) {
  if (GIVEN.has(key)) return ''
  const better = MORE.has(key) ? own / other : other / own
  return ` (${better >= 100 ? Math.round(better) : better.toPrecision(2)}×)`
}

export function printTable(report) {
  const lines = [HEAD, ...rowsOf(report)]
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
}
