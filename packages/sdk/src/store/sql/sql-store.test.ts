import { describe, expect, test } from 'vitest'
import { sqlStore } from './sql-store.ts'
import type { SqlDriver } from './driver.ts'
import type { Clock } from '../../time/clock.ts'

/** Time that stands still, and timers that fire when they are told to. */
function standing() {
  const timers = new Set<() => void>()
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    after(_, fire) {
      timers.add(fire)
      return { cancel: () => timers.delete(fire) }
    },
  }
  const pass = (): void => {
    for (const fire of [...timers]) {
      timers.delete(fire)
      fire()
    }
  }
  return { clock, pass, waiting: () => timers.size }
}

/** A database that only counts how often it was asked to notify. */
function counting() {
  const notified: string[] = []
  const nothing = () => Promise.resolve([])
  const driver: SqlDriver<object> = {
    name: 'nothing',
    dialect: 'postgres',
    query: nothing,
    transaction: (work) => work({}),
    bind: () => ({ query: nothing }),
    isTransaction: (handle): handle is object => typeof handle === 'object',
    async notify(channel) {
      notified.push(channel)
    },
    close: () => Promise.resolve(),
  }
  return { driver, notified }
}

describe('notifications', () => {
  test('the first goes at once, and all that come during the pause are one', async () => {
    const { clock, pass } = standing()
    const { driver, notified } = counting()
    const store = sqlStore(driver, { clock })
    await store.notify()
    expect(notified).toEqual(['stathmos_outbox'])
    for (let i = 0; i < 10; i++) await store.notify()
    expect(notified).toHaveLength(1)
    pass()
    expect(notified).toHaveLength(2)
    pass()
    expect(notified).toHaveLength(2)
  })

  test('a store that is closed has nothing more to say', async () => {
    const { clock, pass, waiting } = standing()
    const { driver, notified } = counting()
    const store = sqlStore(driver, { clock })
    await store.notify()
    await store.notify()
    await store.close()
    pass()
    expect(notified).toHaveLength(1)
    expect(waiting()).toBe(0)
  })

  test('stores with other tables have channels of their own', async () => {
    const { clock } = standing()
    const { driver, notified } = counting()
    await sqlStore(driver, { clock, prefix: 'm_', schema: 'messages' }).notify()
    expect(notified).toEqual(['messages.m_outbox'])
  })
})

test.each(['', 'Stathmos_', 'a-b', "x'; drop table t; --", '1a', 'a'.repeat(41)])('"%s" is no prefix', (prefix) => {
  expect(() => sqlStore(counting().driver, { prefix })).toThrow(
    expect.objectContaining({ code: 'invalid_declaration' }),
  )
})

describe('transactions', () => {
  const asked = async (tellsRollback: boolean): Promise<readonly string[]> => {
    const statements: string[] = []
    const { driver } = counting()
    const query = (text: string): Promise<never[]> => {
      statements.push(text)
      return Promise.resolve([])
    }
    const store = sqlStore({ ...driver, tellsRollback, bind: () => ({ query }) })
    await store.transaction(() => Promise.resolve())
    return statements
  }

  test('are asked before the commit whether they can be, unless the client tells when they could not', async () => {
    expect(await asked(false)).toEqual(['select 1 as one'])
    expect(await asked(true)).toEqual([])
  })
})
