import { SdkError } from '../../errors.ts'
import { countWithin } from './bodies-within.ts'
import { raw, sql, type Fragment } from './fragment.ts'
import { conditionOf, idIn, receivedIn, SHELVES, type Shelf } from './register-filter.ts'
import { attemptsIn, MESSAGE_COLUMNS, messageIn, numberIn, numberOrNullIn, textIn, textOrNullIn } from './row.ts'
import type { Database } from './database.ts'
import type { RegisterEntry, RegisterFilter, RegisterPage, RegisterReading, RegisterState } from '../port.ts'
import type { SqlRow } from './driver.ts'

/** Most entries of a page. */
const PAGE_MAX = 1000

/** Entries whose bytes are looked at first, before it is known whether they are small. */
const AHEAD = 50

/** What is read of every message that is not read itself. */
const HEAD = ['id', 'type', 'version', 'msg_key', 'external_id'] as const

/** Where a page ended: time, table and place in it. */
interface Place {
  readonly createdAt: number
  readonly shelf: number
  readonly seq: number
}

/** A row of a table, or as much of it as has been read. */
interface Found {
  readonly place: Place
  readonly row: SqlRow
}

interface Look {
  readonly rows: readonly Found[]
  readonly isAll: boolean
}

/** What is read of a row. */
type Parts = Required<Pick<RegisterReading, 'bodies' | 'errors'>>

const NOTHING: Parts = { bodies: false, errors: false }

/** A page of the register. Where it is bounded by bytes, only what fits is read. */
export async function pageOf<Tx>(
  db: Database<Tx>,
  filter: RegisterFilter,
  limit: number,
  after: string | null,
  { bodies = true, errors = true, bytesMax }: RegisterReading,
): Promise<RegisterPage> {
  const most = Math.min(Math.max(Math.trunc(limit), 1), PAGE_MAX)
  const from = after === null ? null : placeIn(after)
  const parts = { bodies, errors }
  const bounded = bytesMax !== undefined && (bodies || errors)
  const look = bounded
    ? await measured(db, filter, from, most, bytesMax, parts)
    : await found(db, filter, from, most, (shelf) => columnsOf(shelf, parts))
  const rows = bounded ? await wholeOf(db, filter, look.rows, parts) : look.rows
  const last = look.rows.at(-1)?.place
  const next = look.isAll || last === undefined ? null : `${last.createdAt}.${last.shelf}.${last.seq}`
  return { entries: rows.map(({ place, row }) => entryIn(SHELVES[place.shelf]!, row, parts)), next }
}

/** The first rows behind a place, at most so many, and whether these are all. */
async function found<Tx>(
  db: Database<Tx>,
  filter: RegisterFilter,
  from: Place | null,
  most: number,
  columns: (shelf: Shelf) => Fragment,
): Promise<Look> {
  const all: Found[] = []
  for (const [index, shelf] of SHELVES.entries()) {
    const condition = conditionOf(shelf, filter, db.dialect)
    if (condition === null) continue
    const rows = await db.run(
      null,
      sql`select ${columns(shelf)} from ${raw(db.names[shelf.table])}
        where ${condition} and ${beyond(from, index)} order by created_at, seq limit ${most + 1}`,
    )
    for (const row of rows) {
      const place = { createdAt: numberIn(row, 'created_at'), shelf: index, seq: numberIn(row, 'seq') }
      all.push({ place, row })
    }
  }
  all.sort(({ place: a }, { place: b }) => a.createdAt - b.createdAt || a.shelf - b.shelf || a.seq - b.seq)
  return { rows: all.slice(0, most), isAll: all.length <= most }
}

/**
 * The same, without what is to be read of them, as far as that fits. InnoDB reads a body to say how long it is: not many more
 * are measured than fit.
 */
async function measured<Tx>(
  db: Database<Tx>,
  filter: RegisterFilter,
  from: Place | null,
  most: number,
  bytesMax: number,
  parts: Parts,
): Promise<Look> {
  for (let ahead = Math.min(most, AHEAD); ; ahead = Math.min(most, ahead * 4)) {
    const columns = (shelf: Shelf): Fragment => sql`${columnsOf(shelf, NOTHING)}, ${bytesOf(shelf, parts)} as bytes`
    const { rows, isAll } = await found(db, filter, from, ahead, columns)
    const sizes = rows.map(({ row }) => numberIn(row, 'bytes'))
    const count = countWithin(sizes, bytesMax)
    if (count < rows.length) return { rows: rows.slice(0, count), isAll: false }
    if (isAll || ahead === most) return { rows, isAll }
  }
}

/** Reads the rest of the rows. What has another place meanwhile, or is not what was asked for any more, is left out. */
async function wholeOf<Tx>(
  db: Database<Tx>,
  filter: RegisterFilter,
  page: readonly Found[],
  parts: Parts,
): Promise<readonly Found[]> {
  const whole = new Map<string, SqlRow>()
  for (const [index, shelf] of SHELVES.entries()) {
    const rows = page.filter(({ place }) => place.shelf === index).map(({ row }) => row)
    const condition = conditionOf(shelf, filter, db.dialect)
    if (rows.length === 0 || condition === null) continue
    const read = await db.run(
      null,
      sql`select ${columnsOf(shelf, parts)} from ${raw(db.names[shelf.table])}
        where ${condition} and ${theseOf(db, shelf, rows)}`,
    )
    for (const row of read) whole.set(`${index}.${numberIn(row, 'seq')}`, row)
  }
  return page.flatMap(({ place }) => {
    const row = whole.get(`${place.shelf}.${place.seq}`)
    return row === undefined ? [] : [{ place, row }]
  })
}

/** The rows by what they are found by without looking at others. */
function theseOf<Tx>(db: Database<Tx>, { table }: Shelf, rows: readonly SqlRow[]): Fragment {
  const ids = rows.map((row) => textIn(row, 'id'))
  if (table === 'outbox') return idIn(db.dialect, ids)
  if (table === 'inbox')
    return receivedIn(
      db.dialect,
      rows.map((row) => ({ consumer: textIn(row, 'consumer'), id: textIn(row, 'id') })),
    )
  return db.among(
    'seq',
    rows.map((row) => numberIn(row, 'seq')),
  )
}

function columnsOf({ table }: Shelf, { bodies, errors }: Parts): Fragment {
  const columns = ['seq', 'created_at', 'due_at', ...(bodies ? MESSAGE_COLUMNS : HEAD)]
  if (table !== 'timer') columns.push('state', 'attempts', 'reason', 'fingerprint')
  if (table !== 'timer' && errors) columns.push('errors')
  if (table === 'inbox') columns.push('consumer')
  return raw(columns.join(', '))
}

/** How large what is read of a row is: errors are counted in characters, which most of their bytes are. */
function bytesOf({ table }: Shelf, { bodies, errors }: Parts): Fragment {
  const columns = [...(bodies ? ['body'] : []), ...(errors && table !== 'timer' ? ['errors'] : [])]
  return raw(columns.length === 0 ? '0' : columns.map((column) => `coalesce(length(${column}), 0)`).join(' + '))
}

function entryIn({ table }: Shelf, row: SqlRow, { bodies, errors }: Parts): RegisterEntry {
  const stored = table === 'timer' ? 'scheduled' : (textIn(row, 'state') as RegisterState)
  // Put aside in the outbox, which is for the relay to know only.
  const state = table === 'outbox' && stored === 'waiting' ? 'pending' : stored
  return {
    direction: table === 'inbox' ? 'in' : 'out',
    consumer: table === 'inbox' ? textIn(row, 'consumer') : '',
    id: textIn(row, 'id'),
    type: textIn(row, 'type'),
    version: numberIn(row, 'version'),
    key: textOrNullIn(row, 'msg_key'),
    externalId: textOrNullIn(row, 'external_id'),
    state,
    attempts: table === 'timer' ? 0 : numberIn(row, 'attempts'),
    createdAt: numberIn(row, 'created_at'),
    dueAt: state === 'done' || state === 'sent' ? null : numberOrNullIn(row, 'due_at'),
    reason: table === 'timer' ? null : textOrNullIn(row, 'reason'),
    fingerprint: table === 'timer' ? null : textOrNullIn(row, 'fingerprint'),
    errors: table === 'timer' || !errors ? [] : attemptsIn(row),
    message: !bodies || row['body'] === null ? null : messageIn(row),
  }
}

/** Whether a row comes after the place, in the order of time, table and place in the table. */
function beyond(from: Place | null, shelf: number): Fragment {
  if (from === null) return raw('1 = 1')
  if (shelf > from.shelf) return sql`created_at >= ${from.createdAt}`
  if (shelf < from.shelf) return sql`created_at > ${from.createdAt}`
  return sql`(created_at > ${from.createdAt} or (created_at = ${from.createdAt} and seq > ${from.seq}))`
}

function placeIn(after: string): Place {
  const match = /^(\d+)\.(\d)\.(\d+)$/.exec(after)
  if (match === null) throw new SdkError('invalid_data', `"${after}" is no page that the register gave`)
  return { createdAt: Number(match[1]), shelf: Number(match[2]), seq: Number(match[3]) }
}
