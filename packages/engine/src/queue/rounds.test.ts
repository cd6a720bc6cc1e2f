import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Consumer } from './consumer.ts'
import { Rounds } from './rounds.ts'

const consumer = (priority: number): Consumer => ({ priority, waiting: false }) as Consumer

function picks(rounds: Rounds, count: number): (Consumer | null)[] {
  return Array.from({ length: count }, () => {
    const first = rounds.first()
    if (first !== null) rounds.rotate()
    return first
  })
}

test('those of one priority take turns', () => {
  const rounds = new Rounds()
  const [a, b, c] = [consumer(0), consumer(0), consumer(0)]
  for (const one of [a, b, c]) rounds.add(one)
  expect(picks(rounds, 7)).toEqual([a, b, c, a, b, c, a])
})

test('a higher priority is served until it can take no more', () => {
  const rounds = new Rounds()
  const [low, high] = [consumer(1), consumer(2)]
  rounds.add(low)
  rounds.add(high)
  expect(picks(rounds, 3)).toEqual([high, high, high])
  rounds.skip()
  expect(high.waiting).toBe(false)
  expect(picks(rounds, 2)).toEqual([low, low])
  rounds.add(high)
  expect(rounds.first()).toBe(high)
})

test('who is added twice has one turn in a round', () => {
  const rounds = new Rounds()
  const [a, b] = [consumer(0), consumer(0)]
  for (const one of [a, b, a, b]) rounds.add(one)
  expect(picks(rounds, 4)).toEqual([a, b, a, b])
})

test('who leaves is gone, and the others keep their turns', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 20 }),
      fc.array(fc.nat()),
      (priorities, gone) => {
        const rounds = new Rounds()
        const all = priorities.map(consumer)
        for (const one of all) rounds.add(one)
        const left = new Set(all)
        for (const pick of gone) {
          const leaver = all[pick % all.length]!
          rounds.remove(leaver)
          left.delete(leaver)
          const top = Math.max(...[...left].map(({ priority }) => priority))
          const expected = [...left].filter(({ priority }) => priority === top)
          expect(rounds.empty).toBe(left.size === 0)
          expect(new Set(picks(rounds, expected.length))).toEqual(new Set(expected))
        }
      },
    ),
  )
})
