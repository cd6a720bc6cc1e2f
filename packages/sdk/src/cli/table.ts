/** Columns of a table: what stands above, and what stands in a row's cell. */
export type Columns<Row> = Readonly<Record<string, (row: Row) => string | number | null>>

/** A table for people: columns as wide as they have to be, numbers to the right, no line longer than it must be. */
export function table<Row>(rows: readonly Row[], columns: Columns<Row>): string {
  const heads = Object.keys(columns)
  const cells = rows.map((row) => Object.values(columns).map((cell) => cell(row)))
  const texts = [heads, ...cells.map((line) => line.map((cell) => oneLine(cell)))]
  const widths = heads.map((_, column) => Math.max(...texts.map((line) => line[column]!.length)))
  const numeric = heads.map((_, column) => cells.every((line) => typeof line[column] === 'number'))
  return texts
    .map((line) =>
      line
        .map((text, column) =>
          numeric[column] === true ? text.padStart(widths[column]!) : text.padEnd(widths[column]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('')
}

/** `3s`, `5m`, `2h`, `9d`: how long ago, or how long until. */
export function age(ms: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
  ] as const
  const [unit, length] = units.find(([, each]) => Math.abs(ms) >= each) ?? (['s', 1000] as const)
  return `${Math.floor(Math.abs(ms) / length)}${unit}`
}

/** Nested values as an indented list. */
export function outline(value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return `${indent}${oneLine(value as string | number | null)}\n`
  if (Array.isArray(value)) return value.map((each) => `${indent}-\n${outline(each, `${indent}  `)}`).join('')
  return Object.entries(value)
    .map(([name, each]) => {
      if (typeof each !== 'object' || each === null) return `${indent}${name}: ${oneLine(each as string)}\n`
      if (isFlat(each)) return `${indent}${name}: ${each.join(', ')}\n`
      return `${indent}${name}:\n${outline(each, `${indent}  `)}`
    })
    .join('')
}

function isFlat(value: object): value is (string | number)[] {
  return Array.isArray(value) && value.every((each) => typeof each !== 'object')
}

/** What comes from messages must not move the cursor of whoever looks at it. */
function oneLine(cell: string | number | boolean | null | undefined): string {
  return cell === null || cell === undefined ? '-' : String(cell).replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
}
