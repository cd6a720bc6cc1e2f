import { systemClock, type Clock } from '@stathmos/std'
import { expect, test } from 'vitest'
import { openLog, type LogLevel } from './log.ts'

const clock: Clock = { ...systemClock, now: () => Date.UTC(2026, 0, 2, 3, 4, 5) }

function lines(level: LogLevel, pretty: boolean): { log: ReturnType<typeof openLog>; written: string[] } {
  const written: string[] = []
  return { written, log: openLog({ level, clock, pretty, write: (line) => written.push(line) }) }
}

test('a line is one JSON object with time, level, message and fields', () => {
  const { log, written } = lines('info', false)
  log.warn('connection refused', { peer: '127.0.0.1', limit: 10 })
  expect(written).toHaveLength(1)
  expect(JSON.parse(written[0]!)).toEqual({
    time: '2026-01-02T03:04:05.000Z',
    level: 'warn',
    message: 'connection refused',
    peer: '127.0.0.1',
    limit: 10,
  })
})

test('lines below the level are not written', () => {
  const { log, written } = lines('warn', true)
  log.debug('a')
  log.info('b')
  log.warn('c')
  log.error('d')
  expect(written).toHaveLength(2)
})

test.each([true, false])('a client cannot forge a line with a name of its making (pretty: %s)', (pretty) => {
  const { log, written } = lines('info', pretty)
  log.info('user\nforged', { user: 'a\r\nerror all is lost\u001b[2J\u009b2J', spaced: 'a user=root' })
  expect(written).toHaveLength(1)
  expect(written[0]!.trimEnd()).not.toMatch(/[\r\n\u001b]/)
  if (pretty) expect(written[0]).toContain('spaced="a user=root"')
})
