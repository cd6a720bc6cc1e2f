import { describe, expect, test } from 'vitest'
import { SdkError } from '../../errors.ts'
import { translated } from './failure.ts'
import { mysqlDialect } from './mysql-dialect.ts'
import { postgresDialect } from './postgres-dialect.ts'
import { sqliteDialect } from './sqlite-dialect.ts'

const failing = (fields: object, message = 'no'): Error => Object.assign(new Error(message), fields)

describe("the store's own statements", () => {
  test.each([
    ['a deadlock', failing({ code: '40P01' }), 'conflict'],
    ['a serialization failure', failing({ code: '40001' }), 'conflict'],
    ['a row that another transaction wrote', failing({ code: '23505' }), 'conflict'],
    ['a server that shuts down', failing({ code: '57P01' }), 'store_down'],
    ['too many connections', failing({ code: '53300' }), 'store_down'],
    ['a replica', failing({ code: '25006' }), 'store_down'],
    ['nobody who listens', failing({ code: 'ECONNREFUSED' }), 'store_down'],
    ['a connection that ended, in words only', failing({}, 'Connection terminated unexpectedly'), 'store_down'],
    ['a table that is missing', failing({ code: '42P01' }), 'not_migrated'],
    ['what no buffer of the server holds', failing({ code: '54000' }), 'too_large'],
    ['an error inside of others', failing({ cause: failing({ driverError: failing({ code: '40P01' }) }) }), 'conflict'],
  ])('%s is told by its code', (_, error, code) => {
    const sdkError = translated(error, postgresDialect, true)
    expect(sdkError).toMatchObject({ code, cause: error, retryable: code !== 'not_migrated' && code !== 'too_large' })
  })

  test.each([
    ['better-sqlite3', failing({ code: 'SQLITE_BUSY_SNAPSHOT' }), 'conflict'],
    ['node:sqlite', failing({ code: 'ERR_SQLITE_ERROR', errcode: 5 }), 'conflict'],
    ['node:sqlite, extended', failing({ code: 'ERR_SQLITE_ERROR', errcode: 517 }), 'conflict'],
    ['a full disk', failing({ code: 'SQLITE_FULL' }), 'store_down'],
    ['better-sqlite3', failing({ code: 'SQLITE_TOOBIG' }), 'too_large'],
    ['node:sqlite', failing({ code: 'ERR_SQLITE_ERROR', errcode: 18 }), 'too_large'],
    ['a table that is missing', failing({ code: 'SQLITE_ERROR' }, 'no such table: stathmos_outbox'), 'not_migrated'],
  ])('SQLite says it through %s', (_, error, code) => {
    expect(translated(error, sqliteDialect, true)).toMatchObject({ code })
  })

  test.each([
    ['mysql2', failing({ code: 'ER_NET_PACKET_TOO_LARGE', errno: 1153 })],
    ['a library around it', failing({ cause: failing({ errno: 1153 }) })],
  ])('MySQL says through %s what it does not take, and the error how to have it taken', (_, error) => {
    const sdkError = translated(error, mysqlDialect, true)
    expect(sdkError).toMatchObject({ code: 'too_large', cause: error, retryable: false })
    expect((sdkError as Error).message).toContain('raise max_allowed_packet')
  })

  test('a database that nobody can reach is told apart from one that refuses', () => {
    const said = (error: Error): string => (translated(error, postgresDialect, true) as Error).message
    expect(said(failing({ code: 'ECONNREFUSED' }))).toContain('cannot be reached')
    expect(said(failing({}, 'timeout exceeded when trying to connect'))).toContain('cannot be reached')
    expect(said(failing({ code: '25006' }))).toContain('does not take what is written')
    expect(said(failing({ code: 'ECONNRESET' }))).toContain('was lost')
  })

  test('what nobody knows stays what it is', () => {
    const error = failing({ code: '22P02' })
    expect(translated(error, postgresDialect, true)).toBe(error)
    expect(translated('thrown', postgresDialect, true)).toBe('thrown')
    const own = new SdkError('not_found', 'it is not there')
    expect(translated(own, postgresDialect, true)).toBe(own)
  })
})

describe("the user's errors", () => {
  test.each([
    ['a socket of theirs', failing({ code: 'ECONNREFUSED' })],
    ['a unique key of theirs', failing({ code: '23505' })],
    ['a statement of theirs that is too large', failing({ code: '54000' })],
    ['a table of theirs', failing({ code: '42P01' })],
  ])('%s says nothing about the store', (_, error) => {
    expect(translated(error, postgresDialect, false)).toBe(error)
  })

  test('a deadlock in their statement is one all the same', () => {
    expect(translated(failing({ code: '40P01' }), postgresDialect, false)).toMatchObject({ code: 'conflict' })
  })
})
