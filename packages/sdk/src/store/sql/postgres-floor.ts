import { TABLES } from './schema.ts'
import type { Names } from './dialect.ts'
import type { ColumnType } from './schema.ts'

/** Pages that a table has from its beginning: to read them all has to look dearer than the way through an index. */
const PAGES = 64

const PAGE_BYTES = 8192

/** What a row has beside the values of its columns, and what a number takes. */
const ROW_BYTES = 28
const NUMBER_BYTES = 8

/** Whose rows are looked up one by one, by statements that are planned once. */
const LOOKED_INTO = ['stream', 'outbox', 'timer', 'inbox', 'inboxKey', 'dedupe'] as const

/**
 * Statements that make the tables larger than they need to be, and leave no row.
 *
 * PostgreSQL plans a prepared statement once, for the tables as they are then. One that autovacuum has looked at while it
 * was empty has no pages, and to read all of nothing is cheaper than any index: so it is read as a whole for every message,
 * until autovacuum comes again, with twenty thousand rows in it. With some pages that are never given back
 * (`vacuum_truncate`) the index is cheaper, whoever has counted the rows and when.
 */
export function floorOf(names: Names): readonly string[] {
  return LOOKED_INTO.flatMap((table) => {
    const name = names[table]
    const columns = Object.entries(TABLES[table].columns as Readonly<Record<string, string>>).filter(
      ([, type]) => type !== 'auto' && !type.endsWith('?'),
    )
    const values = columns.map(([column, type]) => valueOf(column, type as ColumnType))
    const rowBytes = ROW_BYTES + NUMBER_BYTES * columns.length
    const rows = Math.ceil((PAGES * PAGE_BYTES) / rowBytes)
    const [mark] = columns.find(([column]) => NAMED_NOTHING.has(column))!
    return [
      `insert into ${name} (${columns.map(([column]) => column).join(', ')})
        select ${values.join(', ')} from generate_series(1, ${rows}) n`,
      `delete from ${name} where ${mark} = ''`,
    ]
  })
}

/** Columns that are never empty in a row that is meant. */
const NAMED_NOTHING: ReadonlySet<string> = new Set(['type', 'scope', 'consumer'])

function valueOf(column: string, type: ColumnType): string {
  if (type === 'bytes') return "'\\x'::bytea"
  if (type === 'integer' || type === 'count' || type === 'time') return '0'
  if (NAMED_NOTHING.has(column) || type === 'text' || type === 'word') return "''"
  return 'n::text'
}
