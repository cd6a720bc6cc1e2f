/** Which SQL is spoken. `mysql` is MySQL 8, `mariadb` is MariaDB from 10.6. */
export type SqlDialectName = 'postgres' | 'sqlite' | 'mysql' | 'mariadb'

/** What can be bound to a placeholder. Dates, booleans and JSON are texts and numbers before they get here. */
export type SqlValue = string | number | Uint8Array | null

/** A row by its columns' names. Whole numbers may come as number, text or bigint; binaries as any Uint8Array. */
export type SqlRow = Readonly<Record<string, unknown>>

/** Something that runs one statement at a time. */
export interface SqlSession {
  /**
   * Runs one statement and resolves with its rows, none when it returns none.
   *
   * @param text with the dialect's own placeholders: `$1`, `$2` … for PostgreSQL, `?` for all others
   * @throws what the database's client throws, as it is or wrapped with a `cause`; the store reads the code in it
   */
  query(text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]>
}

/**
 * A database's client or an ORM, as the SQL store needs it: all that differs between them. The store makes the SQL, the
 * driver only carries it. `Tx` is what the client's own users have in hand during a transaction.
 */
export interface SqlDriver<Tx> extends SqlSession {
  /** For the operator: `postgres`, `sqlite via kysely`. */
  readonly name: string
  readonly dialect: SqlDialectName
  /**
   * Runs `work` in a transaction of READ COMMITTED (SQLite: `BEGIN IMMEDIATE`) on one connection, commits when it
   * resolves, and rolls back and rejects with its very error when it rejects; when that cannot be rolled back because the
   * connection is lost, with `store_down` or the client's own error for it.
   */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /**
   * Whether `transaction` rejects when its commit was none: PostgreSQL answers it with a rollback, and no error, after a
   * statement failed whose error the user's code kept to itself. Otherwise the store asks before each commit.
   */
  readonly tellsRollback?: boolean
  /**
   * Statements within the transaction. Refuses them where it can tell that the transaction is over.
   *
   * @throws {SdkError} `transaction_over`, from `query`
   */
  bind(tx: Tx): SqlSession
  /** Whether the handle is a transaction of this client; never true for the root handle. Looks, and asks nobody. */
  isTransaction(handle: unknown): handle is Tx
  /**
   * Calls `changed` when somebody notified the channel, or may have done so unheard. Absent where the database has nothing
   * of the kind. Returns what ends it.
   */
  watch?(channel: string, changed: () => void): () => void
  /** Tells the watchers of the channel, outside of every transaction. */
  notify?(channel: string): Promise<void>
  /** Gives back what the driver opened itself; the user's handle stays open. */
  close(): Promise<void>
}
