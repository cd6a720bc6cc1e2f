/** The median of every figure on its own; of an even number of runs, the lower middle. Failures are counted. */
export function median(runs) {
  const good = runs.filter(({ failed, rate }) => failed === undefined || rate !== undefined)
  const result = {}
  for (const key of new Set(good.flatMap(Object.keys))) {
    const values = good.map((run) => run[key]).filter((value) => value !== undefined)
    result[key] =
      typeof values[0] === 'number' ? round(values.toSorted((a, b) => a - b)[(values.length - 1) >> 1]) : values[0]
  }
  const failures = runs.filter(({ failed }) => failed !== undefined)
  return failures.length === 0 ? result : { ...result, failed: failures[0].failed, failures: failures.length }
}

/** Four digits say all that a benchmark knows. */
function round(value) {
  return Number(value.toPrecision(4))
}
