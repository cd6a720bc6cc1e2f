// The store's contract over somebody's library, on a database of its own for every promise.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { storeContract, type StoreSubject } from '../../packages/sdk/src/store/contract.ts'
import type { SqlStoreOptions } from '../../packages/sdk/src/store/sql/sql-store.ts'
import type { Store } from '../../packages/sdk/src/store/port.ts'
import { noMariadb, startMariadb } from '../peers/mariadb.ts'
import { PACKET_BYTES_MAX } from '../peers/mysql-server.ts'
import { startMysql, wantsMysql } from '../peers/mysql.ts'
import { noPostgres, startPostgres } from '../peers/postgres.ts'
import { betterSqlite, noBetterSqlite } from '../peers/sqlite.ts'

export type DatabaseName = 'SQLite' | 'PostgreSQL' | 'MariaDB'

/** A library that is connected to a database. */
export interface Opened<Tx> {
  /** What the application has in hand outside of transactions. */
  readonly root: unknown
  store(options: SqlStoreOptions): Store<Tx>
  /** Runs a statement outside of transactions. */
  run(text: string): Promise<unknown>
  end(): Promise<unknown>
}

/** A store under test, and statements beside it. */
export interface Subject<Tx> extends StoreSubject<Tx> {
  /** Where the database is: a server's address, or a file. */
  readonly address: string
  run(text: string): Promise<unknown>
}

interface Server {
  readonly url: string
  stop(): Promise<unknown>
}

interface Place {
  /** Why it cannot be had here. */
  readonly missing: string | null
  start(): Promise<Server>
  /** The database's own time, as the store asks for it. */
  readonly time: string
}

const places: Readonly<Record<DatabaseName, Place>> = {
  SQLite: {
    missing: noBetterSqlite,
    start: () => Promise.resolve({ url: '', stop: () => Promise.resolve() }),
    time: "cast(round((julianday('now') - 2440587.5) * 86400000) as integer)",
  },
  PostgreSQL: {
    missing: noPostgres,
    start: startPostgres,
    time: '(extract(epoch from statement_timestamp()) * 1000)::bigint',
  },
  MariaDB: {
    missing: wantsMysql ? null : noMariadb,
    start: wantsMysql ? startMysql : startMariadb,
    time: "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)",
  },
}

/** More transactions than this wait for a connection. */
export const CONNECTIONS = 12

let prefixes = 0

/**
 * Declares the tests of the contract, and further ones about the same library.
 *
 * @param open connects the library: to a server's address, or a file of SQLite
 */
export function storesOver<Tx>(
  name: DatabaseName,
  open: (address: string) => Promise<Opened<Tx>>,
  more: (subject: () => Promise<Subject<Tx>>) => void = () => {},
): void {
  const { missing, start, time } = places[name]
  const called = name === 'MariaDB' && wantsMysql ? 'MySQL' : name
  describe.skipIf(missing !== null)(`on ${called}${missing === null ? '' : `: ${missing}`}`, () => {
    let server: Server
    beforeAll(async () => {
      server = await start()
    })
    afterAll(() => server.stop())

    const subject = async (): Promise<Subject<Tx>> => {
      const directory = mkdtempSync(join(tmpdir(), 'stathmos-store-'))
      const address = name === 'SQLite' ? join(directory, 'app.db') : server.url
      const opened = await open(address)
      const prefix = `t${++prefixes}_`
      const timeSql = `(${time} + (select ms from ${prefix}moved))`
      const store = opened.store({ prefix, timeSql })
      try {
        await opened.run(`create table ${prefix}moved (ms bigint)`)
        await opened.run(`insert into ${prefix}moved values (0)`)
        await store.migrate()
      } catch (error) {
        await opened.end()
        rmSync(directory, { recursive: true })
        throw error
      }
      return {
        store,
        address,
        root: opened.root,
        firstOfKeyMayConflict: name === 'MariaDB',
        // In a statement every byte of a body is two digits.
        ...(name === 'MariaDB' ? { tooLargeBytes: PACKET_BYTES_MAX / 2 } : {}),
        oneWriter: name === 'SQLite',
        run: (text) => opened.run(text),
        pass: async (ms) => void (await opened.run(`update ${prefix}moved set ms = ms + ${ms}`)),
        unmigrated: () => Promise.resolve(opened.store({ prefix: `${prefix}not_` })),
        async close() {
          await store.close()
          await opened.end()
          rmSync(directory, { recursive: true })
        },
      }
    }
    const promises = storeContract({ open: subject, concurrent: true })
    test.for(promises.map(({ name: promise, run }) => [promise, run] as const))('%s', ([, run]) => run())
    if (name === 'SQLite') testWriteLock(subject)
    more(subject)
  })
}

/** What a library begins with does not matter: the lock is there before anything is read. */
function testWriteLock<Tx>(subject: () => Promise<Subject<Tx>>): void {
  test('a transaction has the write lock from its beginning, and is to be repeated when another process has it', async () => {
    const { store, run, address, close } = await subject()
    await run('pragma busy_timeout = 0')
    const other = sqliteFile(address)
    other.pragma('busy_timeout = 0')
    await store.transaction(() => {
      expect(() => other.exec('begin immediate')).toThrow(/locked/)
      return Promise.resolve()
    })
    other.exec('begin immediate')
    const refused = store.transaction(() => Promise.reject(new Error('never begun')))
    await expect(refused).rejects.toMatchObject({ code: 'conflict', retryable: true })
    other.exec('commit')
    expect(await store.transaction(() => Promise.resolve('goes on'))).toBe('goes on')
    other.close()
    await close()
  })
}

/** A connection to a file, as most libraries want it. */
export function sqliteFile(file: string): NonNullable<ReturnType<NonNullable<typeof betterSqlite>>> {
  const db = betterSqlite!(file)
  db.pragma('journal_mode = wal')
  return db
}
