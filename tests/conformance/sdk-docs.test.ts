// The pages of docs/sdk do what they say. All blocks of a page that are marked `ts run` are one program: it has to
// compile as strictly as our own code, and prints what its comments `//=> …` say, line by line. A block that is marked
// `ts check` needs more than a process to run: it is a program that has to compile. An HTML comment right in front of it says
// what the reader is to imagine before it.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const directory = join(root, 'docs/sdk')

interface Page {
  readonly name: string
  readonly program: string
  readonly prints: readonly string[]
}

const pages = readdirSync(directory)
  .filter((file) => file.endsWith('.md'))
  .map((file): Page => {
    const blocks = [...readFileSync(join(directory, file), 'utf8').matchAll(/^```ts run\n([\s\S]*?)^```$/gm)]
    const program = blocks.map(([, block]) => block).join('\n')
    return {
      name: file.replace('.md', ''),
      program,
      prints: [...program.matchAll(/\/\/=> (.*)$/gm)].map(([, line]) => line!),
    }
  })
  .filter(({ program }) => program !== '')

const checked = readdirSync(directory)
  .filter((file) => file.endsWith('.md'))
  .flatMap((file) => {
    const text = readFileSync(join(directory, file), 'utf8')
    return [...text.matchAll(/(?:^<!--((?:(?!-->)[\s\S])*)-->\n\n?)?^```ts check\n([\s\S]*?)^```$/gm)].map(
      ([, before = '', block], index) => ({
        name: `${file.replace('.md', '')}-${index + 1}`,
        program: `${before}\n${block}\nexport {}\n`,
      }),
    )
  })

let home: string

beforeAll(() => {
  // Below the root, so that imports find the packages.
  mkdirSync(join(root, '.cache'), { recursive: true })
  home = mkdtempSync(join(root, '.cache/sdk-docs-'))
  for (const { name, program } of [...pages, ...checked]) writeFileSync(join(home, `${name}.ts`), program)
  const compilerOptions = { noEmit: true, composite: false, declaration: false, skipLibCheck: true }
  writeFileSync(
    join(home, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.base.json', compilerOptions, include: ['*.ts'] }),
  )
})

afterAll(() => rmSync(home, { recursive: true }))

test('there are programs', () => {
  expect(pages.map(({ name }) => name)).toEqual(expect.arrayContaining(['README', 'contracts']))
  expect(checked.map(({ name }) => name)).toContain('stores-1')
})

test('every program compiles', () => {
  const { status, stdout } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', home], {
    cwd: home,
    encoding: 'utf8',
  })
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
})

test.each(pages)('the program of $name prints what the page says', async ({ name, prints }) => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  try {
    await import(/* @vite-ignore */ join(home, `${name}.ts`))
    expect(log.mock.calls.map((values) => values.join(' '))).toEqual(prints)
  } finally {
    log.mockRestore()
  }
})
