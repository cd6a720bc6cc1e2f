import { SdkError } from '../../errors.ts'
import { BUCKETS } from '../../message/bucket.ts'
import { raw, sql } from './fragment.ts'
import { numberOrNullIn } from './row.ts'
import { TABLE_NAMES, TABLES, type Table } from './schema.ts'
import type { Database } from './database.ts'
import type { SqlSession } from './driver.ts'

/** The version of the tables that this code works with. */
const SCHEMA_VERSION = 1

/** Makes the tables, and says whether they are there. */
export class Migration<Tx> {
  readonly #db: Database<Tx>
  readonly #prefix: string
  readonly #before: readonly string[]

  /**
   * @param prefix of tables and indexes
   * @param before statements that come first, harmless when repeated: what makes a schema
   */
  constructor(db: Database<Tx>, prefix: string, before: readonly string[]) {
    this.#db = db
    this.#prefix = prefix
    this.#before = before
  }

  async migrate(): Promise<void> {
    if ((await this.#version(null)) === SCHEMA_VERSION) return
    const { dialect } = this.#db
    await this.#db.together(async (session) => {
      if (dialect.migrationLock !== null) await this.#db.run(session, raw(dialect.migrationLock))
      for (const statement of this.#before) await this.#db.run(session, raw(statement))
      for (const [table, definition] of Object.entries<Table>(TABLES)) {
        if (definition.oneWriter === true && dialect.oneWriter !== true) continue
        const name = this.#db.names[table as keyof typeof TABLES]
        const short = this.#prefix + TABLE_NAMES[table as keyof typeof TABLES]
        const indexes = definition.indexes.map((index, number) => ({ ...index, name: `${short}_${number + 1}` }))
        for (const statement of dialect.createTable(name, definition, indexes))
          await this.#db.run(session, raw(statement))
      }
      for (const statement of dialect.furnish?.(this.#db.names) ?? []) await this.#db.run(session, raw(statement))
      await this.#fill(session)
    })
  }

  /** @throws {SdkError} `not_migrated` */
  async check(): Promise<void> {
    const version = await this.#version(null)
    if (version === SCHEMA_VERSION) return
    const found = version === null ? 'are not there' : `have version ${version}`
    const remedy = version !== null && version > SCHEMA_VERSION ? 'update the program' : 'run migrate()'
    throw new SdkError(
      'not_migrated',
      `the tables of the store ${found}; version ${SCHEMA_VERSION} is needed: ${remedy}`,
    )
  }

  /** Rows that are always there: the buckets, and the version last. */
  async #fill(session: SqlSession): Promise<void> {
    const { dialect, names, now } = this.#db
    const buckets = JSON.stringify(Array.from({ length: BUCKETS }, (_, bucket) => ({ bucket })))
    await this.#db.run(
      session,
      dialect.insertNew(
        names.bucket,
        ['bucket', 'owner', 'epoch', 'lease_until'],
        sql`select r.bucket, null, 0, 0 from ${dialect.rows(buckets, 'r', { bucket: 'small' })}`,
        ['bucket'],
      ),
    )
    await this.#db.run(
      session,
      dialect.insertNew(names.migration, ['version', 'applied_at'], sql`select ${SCHEMA_VERSION}, ${now}`, ['version']),
    )
  }

  async #version(session: SqlSession | null): Promise<number | null> {
    try {
      const [row] = await this.#db.run(
        session,
        sql`select max(version) as version from ${raw(this.#db.names.migration)}`,
      )
      return numberOrNullIn(row!, 'version')
    } catch (error) {
      if (error instanceof SdkError && error.code === 'not_migrated') return null
      throw error
    }
  }
}
