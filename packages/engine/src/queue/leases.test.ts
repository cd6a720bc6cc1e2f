import { expect, test } from 'vitest'
import { Leases } from './leases.ts'

test('leases run out in the order of their moments', () => {
  const leases = new Leases()
  leases.begin(1, 30, null)
  leases.begin(2, 10, null)
  leases.begin(3, 20, null)
  expect(leases.dueAtMs).toBe(10)
  expect(leases.takeLapsed(9)).toBeUndefined()
  expect([leases.takeLapsed(20)?.ticket, leases.takeLapsed(20)?.ticket, leases.takeLapsed(20)]).toEqual([
    2,
    3,
    undefined,
  ])
  expect(leases.dueAtMs).toBe(30)
})

test('a renewed lease runs out at its new moment only, and tells the same holder', () => {
  const leases = new Leases()
  const lapsed = (): void => {}
  leases.begin(1, 10, lapsed)
  leases.begin(1, 50, null)
  expect(leases.takeLapsed(49)).toBeUndefined()
  expect(leases.takeLapsed(50)).toMatchObject({ ticket: 1, lapsed })
  expect(leases.takeLapsed(1000)).toBeUndefined()
})

test('a lease that ended does not run out', () => {
  const leases = new Leases()
  leases.begin(1, 10, null)
  leases.end(1)
  leases.end(1)
  expect(leases.size).toBe(0)
  expect(leases.dueAtMs).toBe(Number.POSITIVE_INFINITY)
  expect(leases.takeLapsed(10)).toBeUndefined()
})

test('leases that end long before their moment leave nothing behind', () => {
  const leases = new Leases()
  for (let round = 0; round < 3; round++) {
    for (let ticket = 0; ticket < 10_000; ticket++) {
      leases.begin(ticket, 1_000_000 + ticket, null)
      leases.end(ticket)
    }
  }
  leases.begin(7, 2_000_000, null)
  expect(leases.size).toBe(1)
  expect(leases.dueAtMs).toBe(2_000_000)
})
