/** What an open transaction wrote to one table: undefined for a row that it deleted. */
export type Written = Map<string, unknown>

/** A table, whatever its rows are. */
export interface Writable {
  /** Makes what a transaction wrote visible to all. */
  commit(written: Written): void
}

/** Where the rows that a transaction wrote are until it commits. */
export interface Writer {
  /** Null when it wrote nothing to the table. */
  written(rows: Writable): Written | null
  /** @throws {SdkError} `transaction_over` */
  writing(rows: Writable): Written
}

/**
 * A table in memory. A row is never changed but replaced by another one. Readers see what was committed, and of what was
 * not only what they wrote themselves; nobody keeps two writers of one row apart but their locks.
 */
export class Rows<T> implements Writable {
  readonly #committed = new Map<string, T>()
  readonly #live = new Map<string, T>()
  readonly #isLive: (row: T) => boolean

  /** @param isLive which rows are looked through again and again; the others are only found by their keys */
  constructor(isLive: (row: T) => boolean = () => true) {
    this.#isLive = isLive
  }

  get(writer: Writer | null, key: string): T | undefined {
    const written = writer?.written(this)
    return written?.has(key) ? (written.get(key) as T | undefined) : this.#committed.get(key)
  }

  put(writer: Writer, key: string, row: T): void {
    writer.writing(this).set(key, row)
  }

  delete(writer: Writer, key: string): void {
    writer.writing(this).set(key, undefined)
  }

  all(writer: Writer | null): T[] {
    return this.#seen(writer, this.#committed, () => true)
  }

  live(writer: Writer | null): T[] {
    return this.#seen(writer, this.#live, this.#isLive)
  }

  commit(written: Written): void {
    for (const [key, row] of written as Map<string, T | undefined>) {
      if (row === undefined) {
        this.#committed.delete(key)
        this.#live.delete(key)
        continue
      }
      this.#committed.set(key, row)
      if (this.#isLive(row)) this.#live.set(key, row)
      else this.#live.delete(key)
    }
  }

  #seen(writer: Writer | null, committed: ReadonlyMap<string, T>, wanted: (row: T) => boolean): T[] {
    const written = writer?.written(this) as Map<string, T | undefined> | null | undefined
    if (written === null || written === undefined) return [...committed.values()]
    const seen: T[] = []
    for (const [key, row] of committed) if (!written.has(key)) seen.push(row)
    for (const row of written.values()) if (row !== undefined && wanted(row)) seen.push(row)
    return seen
  }
}
