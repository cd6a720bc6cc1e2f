import { join, raw, sql, type Fragment } from './fragment.ts'
import type { Cell, JsonRow } from './dialect.ts'

const CELLS: Readonly<Record<Cell, string>> = { text: 'text', small: 'integer', integer: 'bigint' }

/** Rows out of a JSON array; `json_to_recordset` reads the text once. */
export function recordset(json: string, alias: string, columns: Readonly<Record<string, Cell>>): Fragment {
  const typed = Object.entries(columns).map(([name, cell]) => `${name} ${CELLS[cell]}`)
  return sql`json_to_recordset(${json}::json) as ${raw(`${alias}(${typed.join(', ')})`)}`
}

/** The same for rows that are at hand: a single one, which is the most frequent, is planned and read as what it is. */
export function rowsOf(rows: readonly JsonRow[], alias: string, columns: Readonly<Record<string, Cell>>): Fragment {
  const only = rows.length === 1 ? rows[0] : undefined
  if (only === undefined) return recordset(JSON.stringify(rows), alias, columns)
  const values = Object.entries(columns).map(([name, cell]) => sql`${only[name] ?? null}${raw(`::${CELLS[cell]}`)}`)
  return sql`(values (${join(values, ', ')})) as ${raw(`${alias}(${Object.keys(columns).join(', ')})`)}`
}
