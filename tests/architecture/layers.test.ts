import { join } from 'node:path'
import { expect, test } from 'vitest'
import { roomOf, violations } from './arrows.ts'
import { rooms } from './layers.ts'
import { root, shippedSources, sourcesUnder } from './sources.ts'

test('every import of the shipped code follows an arrow of the table', () => {
  expect(violations(shippedSources(), rooms)).toEqual([])
})

test('every arrow of the table points to a room of the table', () => {
  const targets = Object.values(rooms).flat()
  expect(targets.filter((target) => !target.endsWith('/*') && !(target in rooms))).toEqual([])
})

test('the table has no cycle', () => {
  const finished = new Set<string>()
  const visit = (room: string, path: readonly string[]): void => {
    expect(path, 'a cycle of rooms').not.toContain(room)
    if (finished.has(room)) return
    // A package's own files put all its rooms together ("engine/*"); those arrows are no part of the order.
    for (const target of rooms[room]!) if (!target.endsWith('/*')) visit(target, [...path, room])
    finished.add(room)
  }
  for (const room of Object.keys(rooms)) visit(room, [])
})

test('a file belongs to its deepest room, and a folder without a row to none', () => {
  expect(roomOf('packages/engine/src/errors.ts', rooms)).toBe('engine/errors')
  expect(roomOf('packages/engine/src/queue/queue.ts', rooms)).toBe('engine/queue')
  expect(roomOf('packages/engine/src/index.ts', rooms)).toBe('engine')
  expect(roomOf('packages/broker/src/protocols/amqp/handlers/basic.ts', rooms)).toBe('broker/protocols/amqp')
  expect(roomOf('packages/engine/src/drawer/unlisted.ts', rooms)).toBeUndefined()
})

test('a checker that has gone blind fails: the planted violations are all found', () => {
  const planted = join(root, 'tests/architecture/planted')
  const withStranger = { ...rooms, 'broker/protocols/other': ['std'] }
  const lines = violations(sourcesUnder(planted, planted), withStranger)
  expect(lines.map((line) => line.replace(/ \(.*/, ''))).toEqual([
    'packages/broker/src/protocols/amqp/meets-a-stranger.ts:2: broker/protocols/amqp may not import broker/protocols/other',
    'packages/broker/src/protocols/amqp/meets-a-stranger.ts:3: broker/protocols/amqp may not import broker/protocols/other',
    'packages/engine/src/drawer/unlisted.ts: belongs to no room of the table',
    'packages/engine/src/queue/learns-a-protocol.ts:2: engine/queue may not import wire',
    'packages/engine/src/storage/looks-up.ts:2: engine/storage may not import engine/queue',
  ])
})
