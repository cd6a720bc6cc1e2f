import { raw, sql } from './fragment.ts'
import { numberIn, numberOrNullIn, textIn } from './row.ts'
import type { Database } from './database.ts'
import type { ScheduleRow, ScheduleStore } from '../port.ts'

/** What recurs. A row is changed by whoever knows what is in it. */
export class SqlSchedules<Tx> implements ScheduleStore<Tx> {
  readonly #db: Database<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
  }

  async list(): Promise<readonly ScheduleRow[]> {
    const rows = await this.#db.run(
      null,
      sql`select name, definition, next_at, last_at from ${raw(this.#db.names.schedule)} order by name`,
    )
    return rows.map((row) => ({
      name: textIn(row, 'name'),
      definition: textIn(row, 'definition'),
      nextAt: numberIn(row, 'next_at'),
      lastAt: numberOrNullIn(row, 'last_at'),
    }))
  }

  async save(tx: Tx, row: ScheduleRow, expected: ScheduleRow | null): Promise<boolean> {
    const session = this.#db.within(tx)
    const { names } = this.#db
    if (expected !== null) {
      const last = expected.lastAt === null ? raw('last_at is null') : sql`last_at = ${expected.lastAt}`
      const set = sql`definition = ${row.definition}, next_at = ${row.nextAt}, last_at = ${row.lastAt ?? raw('null')}`
      const where = sql`name = ${row.name} and definition = ${expected.definition} and next_at = ${expected.nextAt} and ${last}`
      return (await this.#db.update(session, names.schedule, set, where)) > 0
    }
    const { name, definition, nextAt: next_at, lastAt: last_at } = row
    const inserted = await this.#db.insertNew(session, names.schedule, {
      rows: [{ name, definition, next_at, last_at }],
      cells: { name: 'text', definition: 'text', next_at: 'integer', last_at: 'integer' },
      columns: { name: 'r.name', definition: 'r.definition', next_at: 'r.next_at', last_at: 'r.last_at' },
      key: ['name'],
      order: 'r.name',
    })
    return inserted.length > 0
  }

  async remove(name: string): Promise<void> {
    await this.#db.run(null, sql`delete from ${raw(this.#db.names.schedule)} where name = ${name}`)
  }
}
