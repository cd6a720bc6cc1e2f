import { expect, test } from 'vitest'
import { seededRandom } from '../random.ts'
import { SdkError } from '../errors.ts'
import { errorTypeOf } from '../telemetry/conventions.ts'
import { attemptOf, fingerprintOf } from './fingerprint.ts'
import { retryPolicy } from './retry-policy.ts'

test('pauses double from the first to the longest', () => {
  const policy = retryPolicy({ initial: '1s', max: '10s', jitter: 0 })
  const pauses = [1, 2, 3, 4, 5, 60].map((failed) => policy.pauseMs(failed, seededRandom(1)))
  expect(pauses).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000])
})

test('what failed together does not come back together', () => {
  const policy = retryPolicy({ initial: '1s', jitter: 0.5 })
  const random = seededRandom(7)
  const pauses = Array.from({ length: 100 }, () => policy.pauseMs(1, random))
  expect(new Set(pauses).size).toBeGreaterThan(80)
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(500)
  expect(Math.max(...pauses)).toBeLessThanOrEqual(1500)
})

test.each([
  [{ attempts: 0 }, 'retry.attempts is 0'],
  [{ attempts: 1.5 }, 'retry.attempts is 1.5'],
  [{ factor: 0.5 }, 'retry.factor is 0.5'],
  [{ jitter: 2 }, 'retry.jitter is 2'],
  [{ initial: 'soon' as '1s' }, '"soon" is no duration'],
])('a policy that makes no sense is refused: %j', (options, message) => {
  expect(() => retryPolicy(options)).toThrow(expect.objectContaining({ code: 'invalid_declaration' }) as Error)
  expect(() => retryPolicy(options)).toThrow(message)
})

test('errors that differ in ids, numbers and quoted texts alone have one fingerprint', () => {
  const a = new Error('order 4711 of "Ann" (0193f0a0-1111-7222-8333-444455556666) is not there')
  const b = new Error('order 12 of "Bob" (0193f0a0-9999-7222-8333-444455556666) is not there')
  expect(fingerprintOf(a)).toBe(fingerprintOf(b))
  expect(fingerprintOf(a)).not.toBe(fingerprintOf(new TypeError(a.message)))
  expect(fingerprintOf(a)).not.toBe(fingerprintOf(new Error('order 4711 is closed')))
})

test('a fingerprint begins with the code of an error that has one, or else with its class', () => {
  expect(fingerprintOf(new SdkError('timeout', 'too slow'))).toMatch(/^timeout-[0-9a-f]{12}$/)
  expect(fingerprintOf(new RangeError('x'))).toMatch(/^RangeError-[0-9a-f]{12}$/)
  expect(fingerprintOf('a thrown text')).toMatch(/^thrown-[0-9a-f]{12}$/)
})

test('an attempt keeps a bounded part of a huge error', () => {
  const attempt = attemptOf(new Error('x'.repeat(100_000)), 3, 17, 'host:1')
  expect(attempt).toMatchObject({ attempt: 3, at: 17, by: 'host:1', name: 'Error' })
  expect(JSON.stringify(attempt).length).toBeLessThan(8000)
})

test.each([
  ['an object without a prototype', Object.create(null), 'thrown', '{}'],
  ['an object', { status: 500 }, 'thrown', '{"status":500}'],
  ['a symbol', Symbol('why'), 'thrown', 'Symbol(why)'],
  ['nothing', undefined, 'thrown', 'undefined'],
  ['an error without a message', Object.assign(new Error('x'), { message: undefined }), 'Error', 'undefined'],
  [
    'an error whose message and stack are objects',
    Object.assign(new Error('x'), { message: {}, stack: {} }),
    'Error',
    '{}',
  ],
  ['an error whose name no database keeps', Object.assign(new Error('x'), { name: 'E\0' }), 'E?', 'x'],
  ['an error with a very long code', Object.assign(new Error('x'), { code: 'E'.repeat(9000) }), 'E'.repeat(100), 'x'],
])('whatever a handler throws makes an attempt: %s', (_, error, name, message) => {
  expect(attemptOf(error, 1, 17, 'host:1')).toMatchObject({ name, message, fingerprint: fingerprintOf(error) })
})

const trap = {
  get: (): never => {
    throw new Error('looked at')
  },
}

test.each([
  ['an object', new Proxy({}, trap)],
  ['an error', new Proxy(new Error('hidden'), trap)],
])('%s that throws when it is looked at is an attempt that failed like any other', (_, thrown) => {
  const attempt = attemptOf(thrown, 1, 0, 'host')
  expect(attempt).toMatchObject({ name: 'thrown', message: 'what was thrown does not let itself be looked at' })
  expect(errorTypeOf(thrown)).toBe('thrown')
})
