import { raw, sql } from './fragment.ts'
import { numberIn } from './row.ts'
import type { Database } from './database.ts'
import type { RateStore } from '../port.ts'

/** Token buckets. Whoever takes holds the row for two statements. */
export class SqlRates<Tx> implements RateStore {
  readonly #db: Database<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
  }

  take(name: string, capacity: number, perMs: number, want: number): Promise<{ granted: number; nextAt: number }> {
    const { dialect, names, now } = this.#db
    return this.#db.together(async (session) => {
      const columns = ['name', 'tokens', 'filled_at']
      await this.#db.run(
        session,
        dialect.insertNew(names.rate, columns, sql`select ${name}, ${capacity}, ${now}`, ['name']),
      )
      const [row] = await this.#db.run(
        session,
        sql`select tokens, filled_at, ${now} as now_ms from ${raw(names.rate)} where name = ${name}${raw(dialect.forUpdate)}`,
      )
      // A statement that waited for the row began before the other one wrote its time.
      const nowMs = Math.max(numberIn(row!, 'now_ms'), numberIn(row!, 'filled_at'))
      const elapsedMs = nowMs - numberIn(row!, 'filled_at')
      const tokens = Math.min(capacity, numberIn(row!, 'tokens') + (elapsedMs * capacity) / perMs)
      const granted = Math.max(Math.min(Math.floor(tokens), Math.floor(want)), 0)
      const rest = tokens - granted
      await this.#db.run(
        session,
        sql`update ${raw(names.rate)} set tokens = ${rest}, filled_at = ${nowMs} where name = ${name}`,
      )
      return { granted, nextAt: rest >= 1 ? nowMs : nowMs + Math.ceil(((1 - rest) * perMs) / capacity) }
    })
  }
}
