import { expect, test } from 'vitest'
import { mysqlDialect } from './mysql-dialect.ts'
import { checkBinaries, StatementSize } from './statement-size.ts'

const MIB = 1024 * 1024

/** A server with a limit that can be changed, and how often it was asked. */
function serverWith(max: number) {
  const server = { max, asked: 0 }
  const size = new StatementSize(mysqlDialect.statementLimit!)
  const run = async (bodyBytes: number): Promise<void> => {
    const values = [new Uint8Array(bodyBytes), 'id']
    if (!size.isDoubtful('insert', values)) return
    await size.check('insert', values, (text) => {
      expect(text).toBe('select @@max_allowed_packet as bytes_max')
      server.asked++
      return Promise.resolve([{ bytes_max: server.max }])
    })
  }
  return { server, run }
}

test('nobody is asked for what every server takes, and once for what this one takes', async () => {
  const { server, run } = serverWith(16 * MIB)
  await run(100_000)
  expect(server.asked).toBe(0)
  await run(MIB)
  await run(7 * MIB)
  expect(server.asked).toBe(1)
})

test('what the server does not take is refused, until its limit is raised', async () => {
  const { server, run } = serverWith(4 * MIB)
  await run(MIB)
  const refused = { code: 'too_large', retryable: false, data: { max: 4 * MIB } }
  await expect(run(2 * MIB)).rejects.toMatchObject(refused)
  await run(MIB)
  server.max = 16 * MIB
  await run(2 * MIB)
  await run(7 * MIB)
  expect(server.asked).toBe(3)
})

test('quotes and line feeds count twice, and letters as many bytes as they have', () => {
  const { bytesOf } = mysqlDialect.statementLimit!
  expect(bytesOf('abc')).toBe(5)
  expect(bytesOf('"\n\\\'')).toBe(10)
  expect(bytesOf('ä€')).toBe(7)
  expect(bytesOf(new Uint8Array(4))).toBe(11)
})

test('a body that no client could read back is refused', () => {
  const large = Object.defineProperty(new Uint8Array(), 'byteLength', { value: 260 * MIB })
  expect(() => checkBinaries(['id', large])).toThrow(expect.objectContaining({ code: 'too_large' }))
  expect(() => checkBinaries(['id', null, 7, new Uint8Array(9)])).not.toThrow()
})
