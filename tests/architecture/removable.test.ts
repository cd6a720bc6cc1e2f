import { posix } from 'node:path'
import { expect, test } from 'vitest'
import { importsOf, shippedSources } from './sources.ts'

const protocols = 'packages/broker/src/protocols/'

test('a protocol can be deleted with its folder and one line: only broker.ts imports a protocol room', () => {
  const importers = shippedSources()
    .filter((source) => !source.path.startsWith(protocols))
    .filter((source) =>
      importsOf(source).some(({ specifier }) =>
        posix.join(posix.dirname(source.path), specifier).startsWith(protocols),
      ),
    )
    .map((source) => source.path)
  expect(importers.filter((path) => path !== 'packages/broker/src/broker.ts')).toEqual([])
})
