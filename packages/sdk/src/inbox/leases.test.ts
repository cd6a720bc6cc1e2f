import { expect, test } from 'vitest'
import { silentLog } from '../log.ts'
import type { InboxEntry } from '../store/port.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { Leases } from './leases.ts'

const entry = (id: string): InboxEntry => ({ message: { id }, epoch: 1 }) as InboxEntry

/** A store that answers when it is told to. */
function world() {
  const clock = manualClock()
  const renewals: string[][] = []
  const answers: (() => void)[] = []
  let slow = false
  const inbox = {
    async renew(_: string, entries: readonly InboxEntry[]) {
      const ids = entries.map(({ message }) => message.id)
      renewals.push(ids)
      if (slow) await new Promise<void>((resolve) => answers.push(resolve))
      return ids
    },
  }
  const leases = new Leases({ inbox, consumer: 'c', leaseMs: 30_000, clock, log: silentLog })
  return {
    clock,
    renewals,
    leases,
    answer() {
      slow = false
      for (const resolve of answers.splice(0)) resolve()
    },
    slowDown: () => void (slow = true),
  }
}

test('claims are renewed together at a third of their time', async () => {
  const { clock, renewals, leases } = world()
  leases.begin(entry('a'))
  leases.begin(entry('b'))
  await clock.advance('60s')
  expect(renewals).toEqual(Array.from({ length: 6 }, () => ['a', 'b']))
})

test('one timer renews them, also when all ended and another began while the store was asked', async () => {
  const { clock, renewals, leases, answer, slowDown } = world()
  leases.begin(entry('a'))
  slowDown()
  await clock.advance('10s')
  leases.end(entry('a'))
  leases.begin(entry('b'))
  answer()
  await clock.settle()
  renewals.length = 0
  await clock.advance('60s')
  expect(renewals).toEqual(Array.from({ length: 6 }, () => ['b']))
})

test('none is left when all ended while the store was asked, and the next claim starts it again', async () => {
  const { clock, renewals, leases, answer, slowDown } = world()
  leases.begin(entry('a'))
  slowDown()
  await clock.advance('10s')
  leases.end(entry('a'))
  answer()
  await clock.advance('60s')
  expect(renewals).toEqual([['a']])
  leases.begin(entry('b'))
  await clock.advance('10s')
  expect(renewals).toEqual([['a'], ['b']])
})
