// What the pages say about files is true: links lead somewhere, and files that are named are there.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './sources.ts'
import { deadLinks, missingFiles, pages } from './docs.ts'

test('every relative link leads to a file, and to a heading of it', () => {
  expect(pages().flatMap((page) => deadLinks(page))).toEqual([])
})

test('every file that is named is there', () => {
  expect(pages().flatMap((page) => missingFiles(page))).toEqual([])
})

test('every test that the guarantees name is there', () => {
  const text = readFileSync(join(root, 'docs/guarantees.md'), 'utf8').replaceAll(/\s+/g, ' ')
  const named = [...text.matchAll(/[:;,] "([^"]{12,})"/g)].map(([, name]) =>
    name!.split('…').map((part) => part.trim()),
  )
  const suites = testSources()
  expect(named.length).toBeGreaterThan(5)
  expect(named.filter((parts) => !parts.every((part) => suites.includes(part)))).toEqual([])
})

test('a checker that has gone blind fails: a page that lies is found out', () => {
  const page = {
    path: 'docs/terms.md',
    text: '# A\n[a](gone.md) [b](terms.md#gone) [c](#terms) `packages/gone/src/x.ts` `tests/fault/`',
  }
  expect(deadLinks(page)).toHaveLength(2)
  expect(missingFiles(page)).toHaveLength(1)
})

function testSources(): string {
  return ['packages', 'tests']
    .flatMap((directory) => readdirSync(join(root, directory), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.name.endsWith('.test.ts') && !entry.parentPath.includes('node_modules'))
    .map((entry) =>
      readFileSync(join(entry.parentPath, entry.name), 'utf8').replaceAll("\\'", "'").replaceAll(/\s+/g, ' '),
    )
    .join('\n')
}
