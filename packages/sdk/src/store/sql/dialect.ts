import type { Fragment } from './fragment.ts'
import type { SqlValue } from './driver.ts'
import type { Index, Table } from './schema.ts'

/** How a column of rows that are handed over as JSON is read: `small` whole numbers have 32 bits, others 64. */
export type Cell = 'text' | 'small' | 'integer'

/** Rows to be handed over as JSON. */
export type JsonRow = Readonly<Record<string, string | number | null>>

/** What went wrong in the database, as far as the SDK tells errors apart. */
export type Failure = 'conflict' | 'down' | 'missing-table' | 'duplicate' | 'too-large' | 'other'

/** How large a statement may be, where a larger one costs the connection. */
export interface StatementLimit {
  /** What the operator can raise. */
  readonly setting: string
  /** SQL of the session's limit in bytes. */
  readonly bytesSql: string
  /** Bytes of a value as clients write it into the statement. */
  bytesOf(value: SqlValue): number
}

/**
 * How one database says what the store wants to say. Everything else is written once, in the SQL that PostgreSQL, SQLite,
 * MySQL and MariaDB share: CTEs, window functions, `substr`, `exists`, rows out of JSON.
 */
export interface Dialect {
  /** The placeholder of the value with that number, counted from 1, with the type that its JavaScript type stands for. */
  placeholder(number: number, value: SqlValue): string
  /** The database's time in ms since 1970 as a whole number, the same during a statement. */
  readonly now: string
  /**
   * A table of the objects in a JSON array, to stand after `from` or `join`, under the given alias.
   *
   * @param json text of the array; values are texts, whole numbers and null, named as the columns
   */
  rows(json: string, alias: string, columns: Readonly<Record<string, Cell>>): Fragment
  /** Added to a `select` to lock what it found until the transaction ends; a wait ends with the row as it is then. */
  readonly forUpdate: string
  /** The same for rows that any other process may take instead: those that are locked are left out, where it can be said. */
  readonly forUpdateOfFree: string
  /**
   * Statements by which a transaction waits only for a moment for each lock, and then ends with a conflict; `end` has to follow
   * where the setting would outlive the transaction. Absent where nobody waits for another transaction.
   */
  readonly impatience?: { readonly begin: string; readonly end: string | null }
  /**
   * Column of the inbox that is the due time of what can be claimed, and null for all else, where an index cannot be of
   * some rows only. Default: `due_at`.
   */
  readonly claimDue?: string
  /** A statement that fails in a transaction that can only be rolled back; absent where there is no such state. */
  readonly probe?: string
  /** Absent where the database only says by an error that something is too large for it. */
  readonly statementLimit?: StatementLimit
  /** Whether clients write or read a binary as a text of its digits. */
  readonly binariesAsText: boolean
  /**
   * Bytes of the messages that the store writes with one statement, unless a single one has more: what several small ones
   * take together is never too large.
   */
  readonly messagesBytesMax: number
  /** Whether some clients only read bytes that are a column of a table, and not those of an expression. */
  readonly joinsBodies?: boolean
  /**
   * Whether there is one writing transaction at a time, from its beginning: rows are added in the order of the commits, and
   * what a transaction costs is the pages that it writes.
   */
  readonly oneWriter?: true
  /** Whether `insert`, `update` and `delete` can tell what they changed with `returning`. */
  readonly returning: boolean
  /**
   * `insert … select …` that leaves out what is there already, by the columns of a unique key; `returning` can follow where
   * there is one. It waits for a concurrent transaction that has inserted the same.
   */
  insertNew(into: string, columns: readonly string[], select: Fragment, key: readonly string[]): Fragment
  /** Selects as `changed` how many rows the session's last statement changed; needed where there is no `returning`. */
  readonly changed?: string
  /** `insert … select …` that changes the row that is there already; `old` and `new` name the two in `set`. */
  upsert(
    into: string,
    columns: readonly string[],
    select: Fragment,
    key: readonly string[],
    set: (row: {
      old: (column: string) => string
      new: (column: string) => string
    }) => Readonly<Record<string, string>>,
  ): Fragment
  /** `delete` of at most so many rows, the first in an order; `returning` can follow where there is one. */
  deleteSome(from: string, key: readonly string[], where: Fragment, order: string, limit: number): Fragment
  /** Whether a column of whole numbers is one of these; by default with all of them in the text. */
  among?(column: string, numbers: readonly number[]): Fragment
  /** `limit …` that has the rows read in their order by an index that has it; by default in just that word. */
  firstOf?(limit: number): Fragment
  /** Whether a row of the outbox is pending and has one of these places; by default in just these words. */
  pending?(outbox: string, seqs: readonly number[]): Fragment
  /** Whether a row of the inbox, whose columns' names begin with `of`, is one of these of a consumer; by default with `in`. */
  received?(inbox: string, consumer: string, ids: readonly string[], of: string): Fragment
  /** Whether a column is one of what a select finds, which is run once; by default with `in`. */
  found?(column: string, select: Fragment): Fragment
  /** Whether a column matches a pattern in which `*` stands for any run of characters, with regard to case. */
  matches(column: Fragment, pattern: string): Fragment
  /** Statements that make a table with its indexes, harmless when it is there. */
  createTable(name: string, table: Table, indexes: readonly (Index & { readonly name: string })[]): readonly string[]
  /** Statements that follow when all tables are made, in the same transaction. */
  furnish?(names: Names): readonly string[]
  /** Statement that makes whoever migrates at the same time wait, until the transaction ends; null when none is needed. */
  readonly migrationLock: string | null
  /** @param code of the client's error: SQLSTATE, errno's name, SQLite's result code … */
  failureOf(code: string): Failure
  /** Statements that do in one round trip what the store otherwise does in several. */
  readonly oneTrip?: OneTrip
}

/** Whole operations as one statement, for databases behind a network whose statements can be nested that far. */
export interface OneTrip {
  /** The tables' names are those of {@link Names}; what is selected is described at the places of use. */
  addToOutbox(
    names: Names,
    now: Fragment,
    rows: readonly JsonRow[],
    streams: readonly JsonRow[],
    bodies: Uint8Array,
  ): Fragment
  beginInInbox(names: Names, now: Fragment, rows: readonly JsonRow[], consumer: string, ordered: boolean): Fragment
}

/** The tables by what they hold, with prefix and schema, as they are written in SQL. */
export interface Names {
  readonly migration: string
  readonly stream: string
  readonly intake: string
  readonly outbox: string
  readonly bucket: string
  readonly owner: string
  readonly timer: string
  readonly inbox: string
  readonly inboxKey: string
  readonly dedupe: string
  readonly schedule: string
  readonly rate: string
}
