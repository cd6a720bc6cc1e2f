import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root, shippedSources, sourcesUnder } from './sources.ts'
import { ambientCalls, drawers, openEnds, protocolWords, tooLong } from './tidy.ts'

const shipped = shippedSources()

test('time and chance are handed in: nothing but their wrappers touches the real ones', () => {
  expect(shipped.flatMap(ambientCalls)).toEqual([])
})

test('the engine has no word of any protocol', () => {
  expect(shipped.flatMap(protocolWords)).toEqual([])
})

test('a file fits a mind', () => {
  expect(shipped.flatMap(tooLong)).toEqual([])
})

test('a file is named for what it defines: there are no drawers', () => {
  expect(shipped.flatMap(drawers)).toEqual([])
})

test('nothing is left for later in a comment', () => {
  expect(shipped.flatMap(openEnds)).toEqual([])
})

test('a checker that has gone blind fails: the planted file breaks every rule', () => {
  const planted = join(root, 'tests/architecture/planted')
  const untidy = sourcesUnder(planted, planted).find((source) => source.path.endsWith('untidy.ts'))!
  expect(ambientCalls(untidy).map((line) => line.replace(/.*: /, ''))).toEqual([
    'Date.now',
    'new Date()',
    'Math.random',
    'setTimeout',
  ])
  expect(protocolWords(untidy)).toHaveLength(1)
  expect(openEnds(untidy)).toHaveLength(1)
  const renamed = { ...untidy, path: 'packages/engine/src/queue/utils.ts', text: 'x\n'.repeat(451) }
  expect(drawers(renamed)).toHaveLength(1)
  expect(tooLong(renamed)).toHaveLength(1)
})
