// A report as a table: Stathmos, each peer, the ratio to it, and the target. Losing figures look like all others.

const UNITS = {
  rate: ['messages/s', (value) => Math.round(value).toLocaleString('en')],
  cpuUs: ['CPU µs per message', (value) => value.toPrecision(3)],
  confirmP50Ms: ['confirm p50, ms', (value) => value.toPrecision(3)],
  confirmP99Ms: ['confirm p99, ms', (value) => value.toPrecision(3)],
  confirmP99Factor: ['confirm p99, times that without them', (value) => value.toPrecision(3)],
  deliveryP50Ms: ['delivery p50, ms', (value) => value.toPrecision(3)],
  deliveryP99Ms: ['delivery p99, ms', (value) => value.toPrecision(3)],
  residentMb: ['resident, MiB', (value) => Math.round(value).toLocaleString('en')],
  residentAfterRestartMb: ['resident after a restart, MiB', (value) => Math.round(value).toLocaleString('en')],
  restartMs: ['restart after a clean stop, ms', (value) => Math.round(value).toLocaleString('en')],
  restartAfterKillMs: ['restart after kill -9, ms', (value) => Math.round(value).toLocaleString('en')],
  fillRate: ['filled, messages/s', (value) => Math.round(value).toLocaleString('en')],
  connectionKb: ['KiB per connection', (value) => value.toPrecision(3)],
  connectsPerSecond: ['connects/s', (value) => Math.round(value).toLocaleString('en')],
}

/** More is better; of everything else, less. */
const MORE = new Set(['rate', 'fillRate', 'connectsPerSecond'])
/** Shown whether there is a target or not; every other figure only with one. */
const ALWAYS = new Set([
  'rate',
  'cpuUs',
  'residentAfterRestartMb',
  'restartAfterKillMs',
  'fillRate',
  'connectsPerSecond',
])

/** Rows of [question, figure, Stathmos, target, reached, peer, ratio, …]. */
export function rowsOf(report) {
  const peers = peersOf(report)
  const rows = []
  for (const { title, target, brokers } of Object.values(report.questions)) {
    const own = brokers.stathmos?.median ?? {}
    const keys = Object.keys(UNITS).filter(
      (key) => own[key] !== undefined && (ALWAYS.has(key) || target[key] !== undefined),
    )
    for (const key of keys) {
      const [unit, format] = UNITS[key]
      const goal = target[key] ?? (key === 'restartAfterKillMs' ? target.restartMs : undefined)
      const cells = [
        title,
        unit,
        format(own[key]),
        goal === undefined ? '' : format(goal),
        goal === undefined ? '' : reached(key, own[key], goal),
      ]
      for (const peer of peers) {
        const theirs = brokers[peer]?.median
        if (theirs?.[key] === undefined) cells.push(theirs?.failed === undefined ? '' : 'fails', '')
        else
          cells.push(
            format(theirs[key]),
            `${(MORE.has(key) ? own[key] / theirs[key] : theirs[key] / own[key]).toPrecision(2)}×`,
          )
      }
      rows.push(own.disturbed ? [...cells.slice(0, 2), `${cells[2]} (disturbed)`, ...cells.slice(3)] : cells)
    }
    if (own.failed !== undefined)
      rows.push([title, `failed: ${own.failed}`, '', '', 'no', ...peers.flatMap(() => ['', ''])])
  }
  return rows
}

export function headOf(report) {
  return [
    'question',
    'figure',
    'Stathmos',
    'target',
    'reached',
    ...peersOf(report).flatMap((name) => [name, 'better by']),
  ]
}

function peersOf(report) {
  const names = new Set(Object.values(report.questions).flatMap(({ brokers }) => Object.keys(brokers)))
  names.delete('stathmos')
  return [...names]
}

function reached(key, value, goal) {
  return (MORE.has(key) ? value >= goal : value <= goal) ? 'yes' : 'no'
}

export function printTable(report) {
  const lines = [headOf(report), ...rowsOf(report)]
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => (cell ?? '').padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
}
