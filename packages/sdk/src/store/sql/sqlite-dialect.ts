import { raw, sql } from './fragment.ts'
import type { Dialect, Failure } from './dialect.ts'
import type { ColumnType } from './schema.ts'

const TYPES: Readonly<Record<ColumnType, string>> = {
  auto: 'integer primary key autoincrement',
  place: 'integer primary key',
  word: 'text',
  name: 'text',
  id: 'text',
  key: 'text',
  text: 'text',
  bytes: 'blob',
  integer: 'integer',
  count: 'integer',
  time: 'integer',
  real: 'real',
}

const NUMBERED: Readonly<Record<number, Failure>> = {
  5: 'conflict',
  6: 'conflict',
  8: 'down',
  10: 'down',
  11: 'down',
  13: 'down',
  14: 'down',
  18: 'too-large',
  26: 'down',
  1555: 'duplicate',
  2067: 'duplicate',
}

/** SQLite from 3.39. There is one writer at a time, who has locked everything from the beginning. */
export const sqliteDialect: Dialect = {
  placeholder: () => '?',
  now: "cast(round((julianday('now') - 2440587.5) * 86400000) as integer)",
  rows(json, alias, columns) {
    const cells = Object.keys(columns).map((name) => `value ->> '${name}' as ${name}`)
    return sql`(select ${raw(cells.join(', '))} from json_each(${json})) as ${raw(alias)}`
  },
  forUpdate: '',
  forUpdateOfFree: '',
  returning: true,
  binariesAsText: false,
  messagesBytesMax: 64 * 1024 * 1024,
  joinsBodies: true,
  oneWriter: true,
  // `where true` tells the parser that `on` begins no join.
  insertNew: (into, columns, select, key) =>
    sql`insert into ${raw(`${into} (${columns.join(', ')})`)} select * from (${select}) where true
      on conflict (${raw(key.join(', '))}) do nothing`,
  upsert(into, columns, select, key, set) {
    const changes = set({ old: (column) => `o_.${column}`, new: (column) => `excluded.${column}` })
    const assignments = Object.entries(changes).map(([column, value]) => `${column} = ${value}`)
    return sql`insert into ${raw(`${into} as o_ (${columns.join(', ')})`)} select * from (${select}) where true
      on conflict (${raw(key.join(', '))}) do update set ${raw(assignments.join(', '))}`
  },
  deleteSome: (from, key, where, order, limit) =>
    sql`delete from ${raw(from)} where (${raw(key.join(', '))}) in
      (select ${raw(key.join(', '))} from ${raw(from)} where ${where} order by ${raw(order)} limit ${limit})`,
  among: (column, numbers) => sql`${raw(column)} in (select value from json_each(${JSON.stringify(numbers)}))`,
  matches: (column, pattern) => sql`${column} glob ${pattern.replaceAll(/[[?]/g, '[$&]')}`,
  createTable(name, table, indexes) {
    const auto = Object.values(table.columns).some((type) => type === 'auto' || type === 'place')
    const columns = Object.entries(table.columns).map(([column, type]) => {
      const optional = type.endsWith('?') || type === 'auto' || type === 'place'
      return `${column} ${TYPES[type.replace('?', '') as ColumnType]}${optional ? '' : ' not null'}`
    })
    const keys = table.unique.map((key) => `unique (${key.join(', ')})`)
    // The column that counts is the table's own key, whatever its identity is for the store.
    if (!auto) keys.unshift(`primary key (${table.primary.join(', ')})`)
    else if (table.primary[0] !== 'seq') keys.unshift(`unique (${table.primary.join(', ')})`)
    return [
      `create table if not exists ${name} (${[...columns, ...keys].join(', ')})${auto ? '' : ' without rowid'}`,
      ...indexes.map(
        (index) =>
          `create index if not exists ${index.name} on ${name} (${index.columns.join(', ')})` +
          (index.where === undefined ? '' : ` where ${index.where}`),
      ),
    ]
  },
  migrationLock: null,
  failureOf(code) {
    if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) return 'conflict'
    if (code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY') return 'duplicate'
    if (code === 'SQLITE_TOOBIG') return 'too-large'
    // node:sqlite and sqlite3 say the numbers (sqlite.org/rescode.html); the low eight bits are the kind.
    if (/^\d+$/.test(code)) return NUMBERED[Number(code)] ?? NUMBERED[Number(code) & 0xff] ?? 'other'
    if (/^SQLITE_(CANTOPEN|IOERR|FULL|READONLY|NOTADB|CORRUPT)/.test(code)) return 'down'
    return 'other'
  },
}
