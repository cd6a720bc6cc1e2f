import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ATTRIBUTE, METRIC, unitOf } from './conventions.ts'

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: object
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly fieldConfig?: { readonly defaults: { readonly unit: string } }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string; readonly datasource: object }[]
}

interface Dashboard {
  readonly id: null
  readonly schemaVersion: number
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly query: unknown }[]
  }
  readonly panels: readonly Panel[]
}

const read = (name: string): string => readFileSync(new URL(`../../../../docs/sdk/${name}`, import.meta.url), 'utf8')
const dashboard = JSON.parse(read('dashboard.json')) as Dashboard
const graphs = dashboard.panels.filter(({ type }) => type !== 'row')
const expressions = graphs.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

/** Metrics that are not on the dashboard, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {}

/** Labels that Prometheus and its scraping add. */
const FOREIGN_LABELS = ['job', 'le']

/** A metric as Prometheus has it, with the names of its series. */
function seriesOf(metric: string, kind: string): readonly string[] {
  const name = metric.replaceAll('.', '_') + (unitOf(metric) === 's' ? '_seconds' : '')
  if (kind === 'counter') return [`${name}_total`]
  return kind === 'histogram' ? [`${name}_bucket`, `${name}_count`, `${name}_sum`] : [name]
}

/** What kind a metric is, is said in docs/sdk/operations.md. */
const kinds = new Map(
  [...read('operations.md').matchAll(/^\| `([a-z_.]+)` \| (counter|gauge|histogram) \|/gm)].map(([, name, kind]) => [
    name!,
    kind!,
  ]),
)
const metricOf = new Map(
  Object.values(METRIC).flatMap((metric) => seriesOf(metric, kinds.get(metric)!).map((series) => [series, metric])),
)
const labels = new Set([
  ...Object.values(ATTRIBUTE).map((attribute) => attribute.replaceAll('.', '_')),
  ...FOREIGN_LABELS,
])

/** All words of an expression that look like series: what stands before a selector. */
const seriesIn = (expression: string): string[] => [...expression.matchAll(/([a-z_]+)\{/g)].map(([, name]) => name!)

/** Labels that are selected and grouped by. */
function labelsIn(expression: string): string[] {
  const selected = [...expression.matchAll(/([a-z_]+)(?:=~|!~|!=|=)"/g)].map(([, name]) => name!)
  const grouped = [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names]) => names!.split(/, */))
  return [...selected, ...grouped]
}

describe('the dashboard', () => {
  test('names only series that the SDK has, as Prometheus has them', () => {
    expect(expressions.flatMap(seriesIn).filter((series) => !metricOf.has(series))).toEqual([])
    expect(expressions.filter((expression) => seriesIn(expression).length === 0)).toEqual([])
  })

  test('has every metric on it, or a reason why not', () => {
    const shown = new Set(expressions.flatMap(seriesIn).map((series) => metricOf.get(series)))
    const absent = Object.values(METRIC).filter((metric) => !shown.has(metric))
    expect(absent.toSorted()).toEqual(Object.keys(LEFT_OUT).toSorted())
  })

  test('asks counters and histograms for rates, and gauges for what they are', () => {
    const wrong = expressions.filter((expression) =>
      seriesIn(expression).some((series) => {
        const rated = new RegExp(`(?:rate|increase)\\(${series}\\{[^}]*\\}\\[\\$__rate_interval\\]\\)`).test(expression)
        return rated === (kinds.get(metricOf.get(series)!) === 'gauge')
      }),
    )
    expect(wrong).toEqual([])
  })

  test('selects the service everywhere, and by labels that the SDK has', () => {
    const unselected = expressions.filter(
      (expression) => expression.split('job=~"$job"').length - 1 !== seriesIn(expression).length,
    )
    expect(unselected).toEqual([])
    expect(expressions.flatMap(labelsIn).filter((label) => !labels.has(label))).toEqual([])
    const named = graphs.flatMap(({ targets = [] }) =>
      targets.flatMap(({ expr, legendFormat }) =>
        [...legendFormat.matchAll(/\{\{([a-z_]+)\}\}/g)].filter(([, label]) => !labelsIn(expr).includes(label!)),
      ),
    )
    expect(named).toEqual([])
  })

  test('shows what is measured in seconds as seconds', () => {
    const timed = graphs.filter(({ targets = [] }) =>
      targets.some(({ expr }) => /_seconds(_bucket)?\{/.test(expr) && !expr.includes('_count{')),
    )
    expect(timed.length).toBeGreaterThan(5)
    expect(timed.filter(({ fieldConfig }) => fieldConfig?.defaults.unit !== 's')).toEqual([])
  })

  test('has parentheses that end', () => {
    const open = expressions.filter((expression) => expression.split('(').length !== expression.split(')').length)
    expect(open).toEqual([])
  })

  test('can be imported into any Grafana from 10 on: the data source is asked for', () => {
    expect(dashboard).toMatchObject({ id: null, schemaVersion: 38 })
    const variables = dashboard.templating.list
    expect(variables[0]).toMatchObject({ name: 'datasource', type: 'datasource', query: 'prometheus' })
    const sources = [
      ...graphs.map(({ datasource }) => datasource),
      ...graphs.flatMap(({ targets = [] }) => targets.map(({ datasource }) => datasource)),
    ]
    for (const source of sources) expect(source).toEqual({ type: 'prometheus', uid: '${datasource}' })
    expect(variables[1]).toMatchObject({ name: 'job', query: { query: expect.stringContaining('label_values(') } })
    expect(metricOf.has(/label_values\(([a-z_]+),/.exec(JSON.stringify(variables[1]))![1]!)).toBe(true)
  })

  test('has panels that say what they show and do not cover each other', () => {
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    expect(graphs.filter(({ title, description = '' }) => title === '' || description === '')).toEqual([])
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)}/${y + Math.floor(cell / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
    expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([])
  })
})
