import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { Confirms } from './confirms.ts'

function recorder(): { confirms: Confirms; told: string[] } {
  const told: string[] = []
  const confirms = new Confirms({
    ack: (tag, multiple) => told.push(`ack ${tag}${multiple ? ' multiple' : ''}`),
    nack: (tag) => told.push(`nack ${tag}`),
  })
  return { confirms, told }
}

test('everything published in one turn is confirmed together', () => {
  const { confirms, told } = recorder()
  confirms.owe(10, 1)
  confirms.owe(20, 1)
  confirms.owe(30, 1)
  confirms.tell(30)
  expect(told).toEqual([])
  confirms.tell(31)
  expect(told).toEqual(['ack 3 multiple'])
})

test('an earlier turn is confirmed as soon as it is on disk, whatever follows', () => {
  const { confirms, told } = recorder()
  confirms.owe(10, 1)
  confirms.owe(20, 2)
  confirms.tell(15)
  confirms.tell(25)
  expect(told).toEqual(['ack 1', 'ack 2'])
  expect(confirms.settled).toBe(true)
})

test('what needs no storage is confirmed at once when nothing is owed, and else in its turn', () => {
  const { confirms, told } = recorder()
  confirms.oweNothing(1)
  confirms.tell(0)
  confirms.owe(10, 2)
  confirms.oweNothing(2)
  confirms.tell(10)
  expect(told).toEqual(['ack 1'])
  confirms.tell(11)
  expect(told).toEqual(['ack 1', 'ack 3 multiple'])
})

test('a refusal is told at once, before what is owed', () => {
  const { confirms, told } = recorder()
  confirms.owe(10, 1)
  confirms.refuse()
  confirms.tell(11)
  expect(told).toEqual(['nack 2', 'ack 1'])
  expect(confirms.outstanding).toBe(0)
})

test('every publish is told exactly once, none before its position is on disk', () => {
  const publish = fc.record({ kind: fc.constantFrom('owe', 'nothing', 'refuse', 'turn', 'tell') })
  fc.assert(
    fc.property(fc.array(publish, { maxLength: 200 }), (steps) => {
      const open = new Map<number, number>()
      let durable = 1
      let tag = 0
      const confirms = new Confirms({
        ack: (upTo, multiple) => {
          for (const [each, position] of open) {
            if (multiple ? each > upTo : each !== upTo) continue
            expect(position).toBeLessThan(durable)
            open.delete(each)
          }
        },
        nack: (each) => expect(open.delete(each)).toBe(true),
      })
      let position = 1
      let turn = 0
      for (const { kind } of steps) {
        if (kind === 'owe') {
          open.set(++tag, (position += 10))
          confirms.owe(position, turn)
        } else if (kind === 'nothing') {
          open.set(++tag, 0)
          confirms.oweNothing(turn)
        } else if (kind === 'refuse') {
          open.set(++tag, 0)
          confirms.refuse()
        } else if (kind === 'turn') turn++
        else confirms.tell((durable = Math.max(durable, position - 15)))
      }
      confirms.tell((durable = position + 1))
      expect(open.size).toBe(0)
      expect(confirms.settled).toBe(true)
      expect(confirms.outstanding).toBe(0)
    }),
  )
})
