import { SdkError } from '../../errors.ts'
import { join, raw, sql, type Fragment } from './fragment.ts'
import { translated } from './failure.ts'
import { numberIn } from './row.ts'
import { TABLE_NAMES } from './schema.ts'
import { checkBinaries, StatementSize } from './statement-size.ts'
import type { Cell, Dialect, JsonRow, Names } from './dialect.ts'
import type { SqlDriver, SqlRow, SqlSession, SqlValue } from './driver.ts'

/** Rows to insert where they are new. */
interface Insertion {
  readonly rows: readonly JsonRow[]
  readonly cells: Readonly<Record<string, Cell>>
  /** The table's columns, each with its value: SQL in which the rows are called `r`. Those of the key are plain columns. */
  readonly columns: Readonly<Record<string, string | Fragment>>
  /** Columns that are a unique key; the rows have them under the same names. */
  readonly key: readonly string[]
  /** In which order rows are inserted, and therefore locked. */
  readonly order: string
}

/** Runs a statement whose text is known already, with its values in their order. */
export type PreparedStatement = (session: SqlSession, values: readonly SqlValue[]) => Promise<readonly SqlRow[]>

/** What the parts of a store run their statements with: a driver, its dialect, and the names of the tables. */
export class Database<Tx> {
  readonly driver: SqlDriver<Tx>
  readonly dialect: Dialect
  readonly names: Names
  /** The dialect's time, as SQL. */
  readonly now: Fragment
  readonly #size: StatementSize | null

  constructor(driver: SqlDriver<Tx>, dialect: Dialect, prefix: string, clockSql: string | undefined) {
    this.driver = driver
    this.dialect = dialect
    this.names = namesWith(prefix)
    this.now = raw(clockSql ?? dialect.now)
    this.#size = dialect.statementLimit === undefined ? null : new StatementSize(dialect.statementLimit)
  }

  /** Runs a statement; without a session on its own, committed when the promise resolves. */
  run(session: SqlSession | null, statement: Fragment): Promise<readonly SqlRow[]> {
    return this.#query(session, this.#textOf(statement), statement.values)
  }

  /**
   * A statement whose text is made once.
   *
   * @param sample with a value of the right type in every place; its values are those that vary
   */
  prepared(sample: Fragment): PreparedStatement {
    const text = this.#textOf(sample)
    return (session, values) => this.#query(session, text, values)
  }

  #textOf({ texts, values }: Fragment): string {
    let text = texts[0]!
    for (const [index, value] of values.entries())
      text += this.dialect.placeholder(index + 1, value) + texts[index + 1]!
    return text
  }

  async #query(session: SqlSession | null, text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]> {
    const runner = session ?? this.driver
    try {
      if (this.dialect.binariesAsText) checkBinaries(values)
      if (this.#size?.isDoubtful(text, values) === true)
        await this.#size.check(text, values, (ask) => runner.query(ask, []))
      return await runner.query(text, values)
    } catch (error) {
      throw translated(error, this.dialect, true)
    }
  }

  /** The session of a transaction that somebody else began. */
  within(tx: Tx): SqlSession {
    return this.driver.bind(tx)
  }

  /** Runs user code in a transaction. What it throws is told apart from what begin and commit throw. */
  async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    let thrown: { readonly error: unknown } | null = null
    const watched = async (tx: Tx): Promise<T> => {
      try {
        const result = await work(tx)
        if (this.dialect.probe !== undefined && this.driver.tellsRollback !== true)
          await this.run(this.within(tx), raw(this.dialect.probe))
        return result
      } catch (error) {
        thrown = { error }
        throw error
      }
    }
    try {
      return await this.driver.transaction(watched)
    } catch (error) {
      const users = thrown as { readonly error: unknown } | null
      throw translated(error, this.dialect, users === null || users.error !== error)
    }
  }

  /** Runs several of the store's own statements in a transaction. */
  async together<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
    try {
      return await this.driver.transaction((tx) => work(this.driver.bind(tx)))
    } catch (error) {
      throw translated(error, this.dialect, true)
    }
  }

  /** Changes rows of a table. Null as the session makes a transaction of it where one is needed. @returns how many */
  update(session: SqlSession | null, table: string, set: Fragment, where: Fragment): Promise<number> {
    return this.#change(session, table, where, sql`update ${raw(table)} set ${set} where ${where}`)
  }

  /** Deletes rows of a table. @returns how many */
  delete(session: SqlSession | null, table: string, where: Fragment): Promise<number> {
    return this.#change(session, table, where, sql`delete from ${raw(table)} where ${where}`)
  }

  /** Whether a column of whole numbers is one of these. */
  among(column: string, numbers: readonly number[]): Fragment {
    return this.dialect.among?.(column, numbers) ?? raw(`${column} in (${numbers.join(', ')})`)
  }

  /** Whether a row of the outbox is pending and has one of these places. */
  pending(seqs: readonly number[]): Fragment {
    const { dialect, names } = this
    return dialect.pending?.(names.outbox, seqs) ?? sql`state = 'pending' and ${this.among('seq', seqs)}`
  }

  /** `limit …` of what is read in the order of an index. */
  firstOf(limit: number): Fragment {
    return this.dialect.firstOf?.(limit) ?? sql`limit ${limit}`
  }

  /** Deletes at most so many rows of a table, by a key, the first in an order. @returns how many */
  async deleteSome(
    table: string,
    key: readonly string[],
    where: Fragment,
    order: string,
    limit: number,
    session: SqlSession | null = null,
  ): Promise<number> {
    const { dialect } = this
    const statement = dialect.deleteSome(table, key, where, order, limit)
    if (dialect.returning) return (await this.run(session, sql`${statement} returning 1 as one`)).length
    if (session === null) return this.together((own) => this.deleteSome(table, key, where, order, limit, own))
    await this.run(session, statement)
    const [count] = await this.run(session, sql`select ${raw(dialect.changed!)} as changed`)
    return numberIn(count!, 'changed')
  }

  async #change(session: SqlSession | null, table: string, where: Fragment, change: Fragment): Promise<number> {
    if (this.dialect.returning) return (await this.run(session, sql`${change} returning 1 as one`)).length
    if (session === null) return this.together((own) => this.#change(own, table, where, change))
    const lock = raw(this.dialect.forUpdate)
    const found = await this.run(session, sql`select 1 as one from ${raw(table)} where ${where}${lock}`)
    if (found.length > 0) await this.run(session, change)
    return found.length
  }

  /**
   * Inserts what is not there yet, by a unique key, and waits for a concurrent transaction that has inserted the same.
   *
   * @returns the keys of the rows that were inserted
   */
  async insertNew(session: SqlSession, into: string, insertion: Insertion): Promise<readonly SqlRow[]> {
    const { dialect } = this
    const { rows, cells, columns, key, order } = insertion
    if (rows.length === 0) return []
    const keys = raw(key.join(', '))
    const insert = (what: readonly JsonRow[]): Fragment => {
      const values = Object.values(columns).map((value) => (typeof value === 'string' ? raw(value) : value))
      const select = sql`select ${join(values, ', ')} from ${dialect.rows(JSON.stringify(what), 'r', cells)}
        order by ${raw(order)}`
      return dialect.insertNew(into, Object.keys(columns), select, key)
    }
    if (dialect.returning) return this.run(session, sql`${insert(rows)} returning ${keys}`)
    // Locking what is there waits for whoever is about to commit the same.
    const where = raw(key.map((column) => `t.${column} = ${columns[column] as string}`).join(' and '))
    const found = await this.run(
      session,
      sql`select ${join(
        key.map((column) => raw(`t.${column}`)),
        ', ',
      )} from ${dialect.rows(JSON.stringify(rows), 'r', cells)} join ${raw(into)} t on ${where}${raw(dialect.forUpdate)}`,
    )
    const there = new Set(found.map((row) => keyOf(row, key)))
    const missing = rows.filter((row) => !there.has(keyOf(row, key)))
    if (missing.length === 0) return []
    await this.run(session, insert(missing))
    const distinct = new Set(missing.map((row) => keyOf(row, key))).size
    const [count] = await this.run(session, sql`select ${raw(dialect.changed!)} as changed`)
    if (numberIn(count!, 'changed') === distinct) return missing
    const options = { retryable: true }
    throw new SdkError('conflict', 'another transaction wrote the same row: run it again', options)
  }

  async time(session: SqlSession | null): Promise<number> {
    return numberIn((await this.run(session, sql`select ${this.now} as now_ms`))[0]!, 'now_ms')
  }
}

/** @param prefix of all tables: `stathmos_`, or `messaging.stathmos_` with the schema that they are in */
function namesWith(prefix: string): Names {
  const names = Object.entries(TABLE_NAMES).map(([table, name]) => [table, prefix + name])
  return Object.fromEntries(names) as Names
}

function keyOf(row: SqlRow, key: readonly string[]): string {
  return JSON.stringify(key.map((column) => row[column]))
}
