import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Consumer, type Receiver, type Subscribed } from './consumer.ts'
import { Rounds } from './rounds.ts'

let made = 0
const consumer = (priority: number): Consumer =>
  new Consumer({} as Subscribed, {
    receiver: {} as Receiver,
    credit: 1,
    autoAccept: true,
    priority,
    tag: `consumer ${made++}`,
  })

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

test('whoever comes, leaves and takes turns, in whatever order: the rounds are those of plain lists', () => {
  const happening = fc.record({
    what: fc.constantFrom('add', 'remove', 'rotate', 'skip'),
    who: fc.nat({ max: 9 }),
  })
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 3 }), { minLength: 10, maxLength: 10 }), fc.array(happening), (given, story) => {
      const rounds = new Rounds()
      const all = given.map(consumer)
      // The first of the list has its turn.
      const lists = new Map<number, Consumer[]>([0, 1, 2, 3].map((priority) => [priority, []]))
      const top = (): Consumer[] | undefined =>
        [3, 2, 1, 0].map((one) => lists.get(one)!).find(({ length }) => length > 0)
      for (const { what, who } of story) {
        const one = all[who]!
        const list = lists.get(one.priority)!
        if (what === 'add') {
          rounds.add(one)
          if (!list.includes(one)) list.push(one)
        } else if (what === 'remove') {
          rounds.remove(one)
          if (list.includes(one)) list.splice(list.indexOf(one), 1)
        } else {
          const first = top()?.shift()
          if (first === undefined) continue
          rounds[what]()
          if (what === 'rotate') lists.get(first.priority)!.push(first)
        }
        expect(rounds.empty).toBe(top() === undefined)
        expect(rounds.first() === (top()?.[0] ?? null)).toBe(true)
        expect(all.map(({ waiting }) => waiting)).toEqual(
          all.map((other) => lists.get(other.priority)!.includes(other)),
        )
      }
    }),
  )
})

test('who left keeps no other one in memory', () => {
  const rounds = new Rounds()
  const [a, b, c] = [consumer(0), consumer(0), consumer(0)]
  for (const one of [a, b, c]) rounds.add(one)
  rounds.remove(b)
  expect([b.before === b, b.behind === b]).toEqual([true, true])
})

// Were one departure as much work as there are others, this would take minutes.
test('a hundred thousand consumers leave one after the other, first, last or in between', () => {
  const rounds = new Rounds()
  const all = Array.from({ length: 100_000 }, () => consumer(0))
  for (const one of all) rounds.add(one)
  const third = Math.floor(all.length / 3)
  for (let i = 0; i < third; i++) {
    rounds.remove(all[i]!)
    rounds.remove(all.at(-1 - i)!)
    rounds.remove(all[third + ((i * 7) % third)]!)
  }
  for (const one of all) rounds.remove(one)
  expect(rounds.empty).toBe(true)
})
