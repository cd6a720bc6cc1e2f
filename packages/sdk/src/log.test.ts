import { afterEach, expect, test, vi } from 'vitest'
import { standardErrorLog, unfailing } from './log.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

function linesOf(say: () => void): string[] {
  const lines: string[] = []
  vi.spyOn(process.stderr, 'write').mockImplementation((line) => lines.push(String(line)) > 0)
  say()
  return lines
}

test('warnings and errors are lines of JSON with the error’s stack, the rest is left out', () => {
  const lines = linesOf(() => {
    standardErrorLog.debug({}, 'a detail')
    standardErrorLog.info({}, 'started')
    standardErrorLog.warn({ err: new Error('no store'), message: 'm1', attempt: 2, seq: 7n }, 'tried again')
  })
  expect(lines).toHaveLength(1)
  expect(JSON.parse(lines[0]!)).toMatchObject({
    level: 'warn',
    msg: 'tried again',
    message: 'm1',
    attempt: 2,
    seq: '7',
  })
  expect(lines[0]).toContain('Error: no store\\n    at ')
})

test('a line is bounded, whatever is in an error', () => {
  const [line] = linesOf(() => standardErrorLog.error({ err: new Error('x'.repeat(100_000)) }, 'failed'))
  expect(line!.length).toBeLessThanOrEqual(8_001)
})

const circle: Record<string, unknown> = {}
circle['itself'] = circle

test.each([
  ['goes round in a circle', circle],
  ['does not want to be looked at', new Proxy({}, { get: () => expect.fail('looked at') })],
])('what is thrown and %s does not keep a line from being written', (_, thrown) => {
  const [line] = linesOf(() => standardErrorLog.error({ err: thrown }, 'failed'))
  expect(JSON.parse(line!)).toMatchObject({ level: 'error', msg: 'failed' })
})

test('a log that throws is not the caller’s problem', () => {
  const log = unfailing({ ...standardErrorLog, warn: () => expect.fail('no room') })
  const [line] = linesOf(() => log.warn({}, 'something'))
  expect(JSON.parse(line!)).toMatchObject({ msg: 'the log failed', unwritten: 'something' })
})
