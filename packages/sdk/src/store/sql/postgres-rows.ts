import { raw, sql, type Fragment } from './fragment.ts'
import type { Cell } from './dialect.ts'

const CELLS: Readonly<Record<Cell, string>> = { text: 'text', small: 'integer', integer: 'bigint' }

/** Rows out of a JSON array; `json_to_recordset` reads the text once. */
export function recordset(json: string, alias: string, columns: Readonly<Record<string, Cell>>): Fragment {
  const typed = Object.entries(columns).map(([name, cell]) => `${name} ${CELLS[cell]}`)
  return sql`json_to_recordset(${json}::json) as ${raw(`${alias}(${typed.join(', ')})`)}`
}
