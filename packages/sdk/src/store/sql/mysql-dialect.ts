import { Buffer } from 'node:buffer'
import { likePattern } from './postgres-dialect.ts'
import { raw, sql } from './fragment.ts'
import type { Cell, Dialect, Failure } from './dialect.ts'
import type { ColumnType, Table } from './schema.ts'
import type { SqlValue } from './driver.ts'

/**
 * Texts compare byte by byte, spaces at the end included. Each of the two reads its own name of it, the other takes it for
 * a comment; both understand all else that is written here, so that nobody has to say which one it is.
 */
const COLLATION = 'collate /*M!100600 utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */'

const TEXT_CHARS: Readonly<Partial<Record<ColumnType, number>>> = { word: 20, name: 200, id: 210, key: 200 }

const TYPES: Readonly<Record<ColumnType, string>> = {
  auto: 'bigint auto_increment',
  place: 'bigint',
  word: `varchar(${TEXT_CHARS.word})`,
  name: `varchar(${TEXT_CHARS.name})`,
  id: `varchar(${TEXT_CHARS.id})`,
  key: `varchar(${TEXT_CHARS.key})`,
  text: 'longtext',
  bytes: 'longblob',
  integer: 'int',
  count: 'bigint',
  time: 'bigint',
  real: 'double',
}

const CELLS: Readonly<Record<Cell, string>> = {
  text: `longtext character set utf8mb4 ${COLLATION}`,
  small: 'int',
  integer: 'bigint',
}

/**
 * The due time of what can be claimed. With an index in just that order a claim locks what it takes; sorting would lock all
 * that is due, and whoever claims at the same time would find nothing left.
 */
const CLAIM_DUE = 'claim_due'

/** What InnoDB takes as a key, in characters of four bytes. */
const KEY_CHARS_MAX = 768

/**
 * MySQL from 8.0.17 and MariaDB from 10.6, at READ COMMITTED. No `get_lock`, which belongs to the session and not to the
 * transaction; no `returning`, which MySQL does not have.
 */
export const mysqlDialect: Dialect = {
  placeholder: () => '?',
  now: "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)",
  rows(json, alias, columns) {
    const cells = Object.entries(columns).map(([name, cell]) => `${name} ${CELLS[cell]} path '$.${name}'`)
    // A query of its own: MySQL refuses to lock rows that are joined with a table of JSON.
    return sql`(select * from json_table(${json}, '$[*]' columns (${raw(cells.join(', '))})) as j) as ${raw(alias)}`
  },
  forUpdate: ' for update',
  forUpdateOfFree: ' for update skip locked',
  // Whole seconds are all there is, and the setting is the connection's.
  impatience: {
    begin: 'set @stathmos_wait = @@innodb_lock_wait_timeout, session innodb_lock_wait_timeout = 1',
    end: 'set session innodb_lock_wait_timeout = @stathmos_wait',
  },
  binariesAsText: true,
  statementLimit: { setting: 'max_allowed_packet', bytesSql: '@@max_allowed_packet', bytesOf },
  // With binaries and quotes written twice as long it fits into the smallest limit that is usual: 1 MiB.
  messagesBytesMax: 256 * 1024,
  claimDue: CLAIM_DUE,
  returning: false,
  // Of all that `ignore` lets pass only the duplicate can happen: lengths and kinds of values were looked at before.
  insertNew: (into, columns, select) => sql`insert ignore into ${raw(`${into} (${columns.join(', ')})`)} ${select}`,
  changed: 'row_count()',
  upsert(into, columns, select, _key, set) {
    const changes = set({ old: (column) => `${into}.${column}`, new: (column) => `values(${column})` })
    const assignments = Object.entries(changes).map(([column, value]) => `${column} = ${value}`)
    return sql`insert into ${raw(`${into} (${columns.join(', ')})`)} ${select}
      on duplicate key update ${raw(assignments.join(', '))}`
  },
  deleteSome: (from, _key, where, order, limit) =>
    sql`delete from ${raw(from)} where ${where} order by ${raw(order)} limit ${limit}`,
  matches: (column, pattern) => sql`${column} like ${likePattern(pattern)} escape '!'`,
  createTable(name, table, indexes) {
    const columns = Object.entries(table.columns).map(([column, type]) => {
      const bare = type.replace('?', '') as ColumnType
      return `${column} ${TYPES[bare]}${type.endsWith('?') ? '' : ' not null'}`
    })
    const claims = indexes.find((index) => index.where !== undefined && index.columns.includes('due_at'))
    if (claims !== undefined)
      columns.push(`${CLAIM_DUE} bigint generated always as (case when ${claims.where} then due_at end) virtual`)
    const keys = [
      ...primary(table),
      ...table.unique.map((key) => `unique key (${key.join(', ')})`),
      ...indexes.flatMap((index) => {
        if (index.onlyPartial === true) return []
        // The rows that matter are those whose time is not null, whatever their state is.
        const fixed = index.fixed === undefined ? [] : [index.fixed]
        const parts = index === claims ? ['consumer', CLAIM_DUE, 'seq'] : [...fixed, ...index.columns]
        return [`key ${index.name} (${parts.join(', ')})`]
      }),
    ]
    const rest = `engine = innodb row_format = dynamic character set utf8mb4 ${COLLATION}`
    return [`create table if not exists ${name} (${[...columns, ...keys].join(', ')}) ${rest}`]
  },
  // What makes tables ends the transaction, and waits for others that make the same.
  migrationLock: null,
  failureOf,
}

/** As text: binaries in hexadecimal digits, and a backslash before each of what would end a text or is not printed. */
function bytesOf(value: SqlValue): number {
  if (value instanceof Uint8Array) return 2 * value.byteLength + 3
  if (typeof value !== 'string') return 24
  return Buffer.byteLength(value) + (value.match(/[\0\b\t\n\r\x1a"'\\]/g)?.length ?? 0) + 2
}

/** The identity of a row. One that is too long for a key is held by its digest, and found by the end of it. */
function primary(table: Table): string[] {
  const auto = Object.keys(table.columns).find((column) => table.columns[column] === 'auto')
  const chars = (columns: readonly string[]): number =>
    columns.reduce((sum, column) => sum + (TEXT_CHARS[table.columns[column] as ColumnType] ?? 0), 0)
  const counted = auto === undefined || table.primary[0] === auto ? [] : [`unique key (${auto})`]
  if (chars(table.primary) <= KEY_CHARS_MAX) return [`primary key (${table.primary.join(', ')})`, ...counted]
  const digest = `unhex(sha2(concat_ws(char(0), ${table.primary.join(', ')}), 256))`
  return [
    `identity binary(32) generated always as (${digest}) stored`,
    'unique key (identity)',
    `key (${table.primary.slice(1).toReversed().join(', ')})`,
    ...counted,
  ]
}

const CONFLICTS: ReadonlySet<string> = new Set([
  // What a transaction is told that lost a deadlock while it waited for the next number of a table.
  'ER_AUTOINC_READ_FAILED',
  '1467',
  'ER_LOCK_DEADLOCK',
  '1213',
  'ER_LOCK_WAIT_TIMEOUT',
  '1205',
  '1020',
  '3572',
])
const MISSING: ReadonlySet<string> = new Set([
  'ER_NO_SUCH_TABLE',
  '1146',
  'ER_BAD_FIELD_ERROR',
  '1054',
  'ER_BAD_DB_ERROR',
  '1049',
])
/** Too many connections, a server that stops, kills the connection, only takes readers, or has no space. */
const DOWN: ReadonlySet<string> = new Set(['1040', '1053', '1927', '1290', '1792', '1836', '1021', '1114', '4031'])

/** By number, or by the name that clients give it. */
function failureOf(code: string): Failure {
  if (CONFLICTS.has(code)) return 'conflict'
  if (MISSING.has(code)) return 'missing-table'
  if (code === 'ER_DUP_ENTRY' || code === '1062') return 'duplicate'
  if (code === 'ER_NET_PACKET_TOO_LARGE' || code === '1153') return 'too-large'
  if (DOWN.has(code) || code === 'PROTOCOL_CONNECTION_LOST') return 'down'
  return 'other'
}
