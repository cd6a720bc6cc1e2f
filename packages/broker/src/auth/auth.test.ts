import { seededRandom, systemClock, systemRandom, type Clock } from '@stathmos/std'
import { afterAll, expect, test } from 'vitest'
import { silentLog } from '../log/log.ts'
import type { Peer } from '../session/protocol.ts'
import { openAuthenticator } from './authenticator.ts'
import { openKeyDeriver, type KeyDeriver } from './key-deriver.ts'
import { isLoopback, isLoopbackHost } from '../net/loopback.ts'
import { formatPasswordHash, parsePasswordHash } from './password-hash.ts'
import { openPasswords, type Passwords } from './passwords.ts'

const local: Peer = { address: '127.0.0.1', port: 1, loopback: true, tls: false }
const remote: Peer = { address: '10.0.0.7', port: 1, loopback: false, tls: false }

const deriver = openKeyDeriver(systemClock)
afterAll(() => deriver.close())

/** Passwords whose stored form is the password itself, counting the checks and keeping them open until told. */
function fakePasswords(): Passwords & { checks: number; answer: boolean | null | 'true' } {
  return {
    checks: 0,
    answer: 'true',
    hash: (password) => Promise.resolve(password),
    matches(password, stored) {
      this.checks++
      return Promise.resolve(this.answer === 'true' ? password === stored : this.answer)
    },
  }
}

function authenticator(
  passwords: Passwords,
  options: { remoteGuestAllowed?: boolean; clock?: Clock; users?: Map<string, string> } = {},
) {
  const users =
    options.users ??
    new Map([
      ['guest', 'guest'],
      ['ann', 'secret'],
    ])
  return openAuthenticator({
    users: { user: (name) => (users.has(name) ? { passwordHash: users.get(name)! } : undefined) },
    passwords,
    clock: options.clock ?? systemClock,
    random: seededRandom(1),
    log: silentLog,
    remoteGuestAllowed: options.remoteGuestAllowed ?? false,
  })
}

test('a password is stored as a salted scrypt hash that matches it and no other', async () => {
  const passwords = openPasswords(deriver, systemRandom)
  const stored = await passwords.hash('correct horse')
  expect(stored).toMatch(/^scrypt\$32768\$8\$1\$[\w+/=]{24}\$[\w+/=]{44}$/)
  expect(await passwords.hash('correct horse')).not.toBe(stored)
  expect(await passwords.matches('correct horse', stored)).toBe(true)
  expect(await passwords.matches('correct horsf', stored)).toBe(false)
})

test('an unknown user costs the same derivation as a known one', async () => {
  const costs: unknown[] = []
  const counting: KeyDeriver = {
    derive({ n, r, p, keyBytes, salt }) {
      costs.push([n, r, p, keyBytes, salt.length])
      return Promise.resolve(new Uint8Array(keyBytes))
    },
    close: () => Promise.resolve(),
  }
  const passwords = openPasswords(counting, systemRandom)
  const known = await passwords.hash('a')
  expect(await passwords.matches('b', known)).toBe(true)
  expect(await passwords.matches('b', undefined)).toBe(false)
  expect(new Set(costs.map((cost) => JSON.stringify(cost))).size).toBe(1)
})

test('nobody logs in with the key that stands in for unknown users', async () => {
  const same: KeyDeriver = {
    derive: () => Promise.resolve(seededRandom(3).bytes(48).slice(16)),
    close: () => Promise.resolve(),
  }
  const passwords = openPasswords(same, seededRandom(3))
  expect(await passwords.matches('anything', undefined)).toBe(false)
})

test.each([
  '',
  'scrypt$1',
  'md5$x',
  'scrypt$1048576$8$1$AAAA$AAAA',
  'scrypt$3$8$1$AAAA$AAAA',
  'scrypt$32768$0$1$AAAA$AAAA',
])('a stored text that is no affordable hash lets nobody in: %j', (text) =>
  expect(parsePasswordHash(text)).toBeUndefined(),
)

test('a hash survives being written and read', () => {
  const hash = { n: 16, r: 1, p: 2, salt: new Uint8Array([1, 2, 3]), key: new Uint8Array([255, 254]) }
  expect(formatPasswordHash(hash)).toBe('scrypt$16$1$2$AQID$//4=')
  expect(parsePasswordHash('scrypt$16$1$2$AQID$//4=')).toMatchObject({ n: 16, r: 1, p: 2 })
})

test('the queue of the thread is bounded: one login too many is turned away at once', async () => {
  const own = openKeyDeriver(systemClock)
  const request = { password: 'x', salt: new Uint8Array(16), n: 2, r: 1, p: 1, keyBytes: 8 }
  const answers = await Promise.all(Array.from({ length: 33 }, () => own.derive(request)))
  expect(answers.filter((key) => key === null)).toHaveLength(1)
  expect(answers.at(-1)).toBeNull()
  await own.close()
})

test('closing the thread answers who was waiting', async () => {
  const own = openKeyDeriver(systemClock)
  const answer = own.derive({ password: 'x', salt: new Uint8Array(16), n: 2 ** 15, r: 8, p: 1, keyBytes: 8 })
  await own.close()
  expect(await answer).toBeNull()
})

test('a right password is let in; a wrong one, an unknown user and an overloaded broker are not', async () => {
  const passwords = fakePasswords()
  const { verify } = authenticator(passwords)
  expect(await verify('ann', 'secret', remote)).toBe(true)
  expect(await verify('ann', 'wrong', remote)).toBe(false)
  expect(await verify('bob', 'secret', remote)).toBe(false)
  passwords.answer = null
  expect(await verify('ann', 'other', remote)).toBe(false)
})

test('guest is let in from this machine only, unless that is allowed explicitly', async () => {
  const { verify } = authenticator(fakePasswords())
  expect(await verify('guest', 'guest', local)).toBe(true)
  expect(await verify('guest', 'guest', remote)).toBe(false)
  const allowing = authenticator(fakePasswords(), { remoteGuestAllowed: true })
  expect(await allowing.verify('guest', 'guest', remote)).toBe(true)
})

test('a storm of reconnecting clients costs one hash, and another after an hour', async () => {
  let now = 0
  const passwords = fakePasswords()
  const { verify } = authenticator(passwords, { clock: { ...systemClock, monotonic: () => now } })
  const all = await Promise.all(Array.from({ length: 1000 }, () => Promise.resolve(verify('ann', 'secret', remote))))
  expect(all.every(Boolean)).toBe(true)
  expect(passwords.checks).toBe(1)
  now = 3_599_999
  await verify('ann', 'secret', remote)
  expect(passwords.checks).toBe(1)
  now = 3_600_000
  await verify('ann', 'secret', remote)
  expect(passwords.checks).toBe(2)
})

test('a wrong password that is repeated costs a hash a minute', async () => {
  let now = 0
  const passwords = fakePasswords()
  const { verify } = authenticator(passwords, { clock: { ...systemClock, monotonic: () => now } })
  for (now = 0; now < 60_000; now += 1_000) expect(await verify('ann', 'wrong', remote)).toBe(false)
  expect(passwords.checks).toBe(1)
  expect(await verify('ann', 'wrong', remote)).toBe(false)
  expect(passwords.checks).toBe(2)
})

test('a password that was checked before is answered without a promise', async () => {
  const { verify } = authenticator(fakePasswords())
  await Promise.all([verify('ann', 'secret', remote), verify('ann', 'wrong', remote)])
  expect(verify('ann', 'secret', remote)).toBe(true)
  expect(verify('ann', 'wrong', remote)).toBe(false)
})

test('a changed password counts at once', async () => {
  const users = new Map([['ann', 'old']])
  const { verify } = authenticator(fakePasswords(), { users })
  expect(await verify('ann', 'old', remote)).toBe(true)
  users.set('ann', 'new')
  expect(await verify('ann', 'old', remote)).toBe(false)
  expect(await verify('ann', 'new', remote)).toBe(true)
})

test('an overload is not remembered: the next try is checked', async () => {
  const passwords = fakePasswords()
  passwords.answer = null
  const { verify } = authenticator(passwords)
  expect(await verify('ann', 'secret', remote)).toBe(false)
  passwords.answer = 'true'
  expect(await verify('ann', 'secret', remote)).toBe(true)
})

test.each([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['10.0.0.1', false],
  ['::ffff:10.0.0.1', false],
  ['0.0.0.0', false],
  ['::', false],
  ['127.0.0.1.example.org', false],
  ['', false],
])('the loopback address %s: %s', (address, expected) => {
  expect(isLoopback(address)).toBe(expected)
})

test('localhost is this machine, another name may be anything', () => {
  expect(isLoopbackHost('localhost')).toBe(true)
  expect(isLoopbackHost('localhost.example.org')).toBe(false)
})
