import { array, assert, asyncProperty, constantFrom } from 'fast-check'
import { expect, test } from 'vitest'
import { Locks } from './locks.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('a lock has one holder at a time, and who waits gets it in the order of coming', async () => {
  const locks = new Locks()
  const holders = [{}, {}, {}]
  const got: number[] = []
  const taking = holders.map(async (holder, index) => {
    await locks.take(holder, 'a')
    got.push(index)
  })
  await turn()
  expect(got).toEqual([0])
  expect(locks.tryTake(holders[1]!, 'a')).toBe(false)
  expect(locks.tryTake(holders[0]!, 'a')).toBe(true)
  locks.release(holders[0]!)
  await turn()
  expect(got).toEqual([0, 1])
  locks.release(holders[1]!)
  await Promise.all(taking)
  expect(got).toEqual([0, 1, 2])
})

test('who gives up waiting does not get the lock, and those behind it do', async () => {
  const locks = new Locks()
  const [holder, quitter, next] = [{}, {}, {}]
  await locks.take(holder, 'a')
  const quitting = locks.take(quitter, 'a')
  const waiting = locks.take(next, 'a')
  locks.release(quitter)
  await quitting
  locks.release(holder)
  await waiting
  expect(locks.tryTake(quitter, 'a')).toBe(false)
})

test('a holder that asks twice at once gets both answers', async () => {
  const locks = new Locks()
  const [first, second] = [{}, {}]
  await locks.take(first, 'a')
  const twice = Promise.all([locks.take(second, 'a'), locks.take(second, 'a')])
  locks.release(first)
  await twice
  expect(locks.tryTake(first, 'a')).toBe(false)
})

test('whatever is taken in whatever order: all get through or are refused, and no lock is left', async () => {
  const plan = array(array(constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 4 }), { maxLength: 8 })
  await assert(
    asyncProperty(plan, async (transactions) => {
      const locks = new Locks()
      const held = new Map<string, object>()
      await Promise.all(
        transactions.map(async (names) => {
          const holder = {}
          const mine: string[] = []
          try {
            for (const name of names) {
              await locks.take(holder, name)
              expect(held.get(name) ?? holder).toBe(holder)
              held.set(name, holder)
              mine.push(name)
            }
          } catch (error) {
            expect(error).toMatchObject({ code: 'conflict', retryable: true })
          } finally {
            for (const name of mine) held.delete(name)
            locks.release(holder)
          }
        }),
      )
      for (const name of ['a', 'b', 'c', 'd']) expect(locks.tryTake({}, name)).toBe(true)
    }),
  )
})
