import { expect, test } from 'vitest'
import { EngineError } from '../errors.ts'
import { Access, DECISIONS_MAX, USER_NAME_CHARS_MAX } from './access.ts'
import type { AccessChange } from './access.ts'

const ALL = { configure: '.*', write: '.*', read: '.*' }

test('a new user may do nothing and enter nowhere', () => {
  const { access } = world()
  access.setUser(user('ann'))
  expect(access.mayEnter('ann', '/')).toBe(false)
  expect(access.permits('ann', '/', 'read', 'q')).toBe(false)
})

test('somebody unknown may do nothing', () => {
  const { access } = world()
  expect(access.mayEnter('bob', '/')).toBe(false)
  expect(access.permits('bob', '/', 'read', 'q')).toBe(false)
})

test('each operation has its own pattern, and each vhost its own permission', () => {
  const { access } = world()
  access.setUser(user('ann'))
  access.setPermission('ann', '/', { configure: '', write: '^out\\.', read: '^in\\.' })
  expect(access.mayEnter('ann', '/')).toBe(true)
  expect(access.permits('ann', '/', 'configure', 'out.a')).toBe(false)
  expect(access.permits('ann', '/', 'write', 'out.a')).toBe(true)
  expect(access.permits('ann', '/', 'write', 'in.a')).toBe(false)
  expect(access.permits('ann', '/', 'read', 'in.a')).toBe(true)
  expect(access.mayEnter('ann', 'other')).toBe(false)
  expect(access.permits('ann', 'other', 'read', 'in.a')).toBe(false)
})

test('patterns that are all empty let the user in and nothing more', () => {
  const { access } = world()
  access.setUser(user('ann'))
  access.setPermission('ann', '/', { configure: '', write: '', read: '' })
  expect(access.mayEnter('ann', '/')).toBe(true)
  expect(access.permits('ann', '/', 'read', '')).toBe(false)
})

test('a change holds at once, whatever was decided before', () => {
  const { access } = world()
  access.setUser(user('ann'))
  access.setPermission('ann', '/', ALL)
  expect(access.permits('ann', '/', 'read', 'q')).toBe(true)
  access.setPermission('ann', '/', { ...ALL, read: '^p$' })
  expect(access.permits('ann', '/', 'read', 'q')).toBe(false)
  access.clearPermission('ann', '/')
  expect(access.permits('ann', '/', 'read', 'p')).toBe(false)
  access.setPermission('ann', '/', ALL)
  access.deleteUser('ann')
  access.setUser(user('ann'))
  expect(access.permits('ann', '/', 'read', 'q')).toBe(false)
})

test('changing a user leaves the permissions', () => {
  const { access } = world()
  access.setUser(user('ann'))
  access.setPermission('ann', '/', ALL)
  access.setUser({ name: 'ann', passwordHash: 'other', tags: ['administrator'] })
  expect(access.user('ann')).toEqual({ name: 'ann', passwordHash: 'other', tags: ['administrator'] })
  expect(access.permits('ann', '/', 'read', 'q')).toBe(true)
})

test('tags are the user’s own: the caller’s array may change', () => {
  const { access } = world()
  const tags = ['monitoring']
  access.setUser({ ...user('ann'), tags })
  tags.push('administrator')
  expect(access.user('ann')?.tags).toEqual(['monitoring'])
})

test('decisions are the same beyond the number that is remembered, and for names too long to remember', () => {
  const { access } = world()
  access.setUser(user('ann'))
  access.setPermission('ann', '/', { ...ALL, read: '[02468]$' })
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at <= DECISIONS_MAX; at++) {
      if (access.permits('ann', '/', 'read', `q${at}`) !== (at % 2 === 0)) throw new Error(`wrong for q${at}`)
    }
  }
  expect(access.permits('ann', '/', 'read', `${'q'.repeat(1000)}0`)).toBe(true)
  expect(access.permits('ann', '/', 'read', `${'q'.repeat(1000)}1`)).toBe(false)
})

test('a refused pattern leaves the old permission in force and reports nothing', () => {
  const { access, changes } = world()
  access.setUser(user('ann'))
  access.setPermission('ann', '/', ALL)
  const before = changes.length
  expect(failure(() => access.setPermission('ann', '/', { ...ALL, write: '(' })).code).toBe('invalid_argument')
  expect(access.permits('ann', '/', 'write', 'q')).toBe(true)
  expect(changes).toHaveLength(before)
})

test('permissions need a user, and users a name of bounded length', () => {
  const { access } = world()
  expect(failure(() => access.setPermission('bob', '/', ALL)).code).toBe('user_not_found')
  expect(failure(() => access.setUser(user(''))).code).toBe('invalid_argument')
  expect(failure(() => access.setUser(user('a'.repeat(USER_NAME_CHARS_MAX + 1)))).code).toBe('invalid_argument')
})

test('taking away what is not there changes and reports nothing', () => {
  const { access, changes } = world()
  expect(access.deleteUser('ann')).toBe(false)
  expect(access.clearPermission('ann', '/')).toBe(false)
  access.clearVHost('/')
  expect(changes).toEqual([])
})

test('names that mean something to the language are names', () => {
  const { access } = world()
  expect(access.user('__proto__')).toBeUndefined()
  access.setUser(user('__proto__'))
  expect(access.mayEnter('__proto__', 'constructor')).toBe(false)
  access.setPermission('__proto__', 'constructor', ALL)
  expect(access.permits('__proto__', 'constructor', 'read', 'toString')).toBe(true)
})

test('reported changes, applied in order, give the same state and are not reported again', () => {
  const { access, changes } = world()
  for (const name of ['ann', 'bob', 'cid']) access.setUser(user(name))
  for (const name of ['ann', 'bob', 'cid']) access.setPermission(name, '/', ALL)
  access.setPermission('ann', 'two', { ...ALL, read: '^x' })
  access.setPermission('cid', 'three', ALL)
  access.clearPermission('bob', '/')
  access.clearVHost('three')
  access.deleteUser('cid')
  const copy = world()
  for (const change of changes) copy.access.apply(JSON.parse(JSON.stringify(change)) as AccessChange)
  expect(copy.access.definitions()).toEqual(access.definitions())
  expect(copy.changes).toEqual([])
})

test('definitions go out and in as plain values, and replace what was there', () => {
  const { access } = world()
  access.setUser({ ...user('ann'), tags: ['administrator'] })
  access.setPermission('ann', '/', { configure: 'a', write: 'b', read: 'c' })
  const copy = world()
  copy.access.setUser(user('old'))
  copy.changes.length = 0
  copy.access.load(JSON.parse(JSON.stringify(access.definitions())))
  expect(copy.access.definitions()).toEqual({
    users: [{ name: 'ann', passwordHash: 'hash', tags: ['administrator'] }],
    permissions: [{ user: 'ann', vhost: '/', configure: 'a', write: 'b', read: 'c' }],
  })
  expect(copy.access.permits('ann', '/', 'read', 'c')).toBe(true)
  expect(copy.changes).toEqual([])
})

test('definitions with a fault change nothing', () => {
  const { access } = world()
  access.setUser(user('ann'))
  const permissions = [{ user: 'bob', vhost: '/', ...ALL }]
  expect(failure(() => access.load({ users: [user('cid')], permissions })).code).toBe('user_not_found')
  expect(access.users().map(({ name }) => name)).toEqual(['ann'])
})

function world() {
  const changes: AccessChange[] = []
  return { access: new Access((change) => void changes.push(change)), changes }
}

function user(name: string) {
  return { name, passwordHash: 'hash', tags: [] }
}

function failure(run: () => unknown): EngineError {
  try {
    run()
  } catch (error) {
    if (error instanceof EngineError) return error
    throw error
  }
  throw new Error('expected an EngineError')
}
