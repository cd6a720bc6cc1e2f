// The pages of docs/sdk do what they say. All blocks of a page that are marked `ts run` are one program: it has to compile as
// strictly as our own code, and prints what its comments `//=> …` say, line by line. A block that is marked `ts run alone` is a
// program of its own: an HTML comment right in front of it says what the reader is to imagine before it, and one behind it that
// begins with `then` what after it, which is where it is seen whether it works. Some need what is not everywhere, and say so:
// `ts run alone postgres`.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { noPostgres, startPostgres, type PostgresServer } from '../peers/postgres.ts'
import { noBetterSqlite } from '../peers/sqlite.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const directory = join(root, 'docs/sdk')

/** What programs may need besides this process, and why it is not here; null when it is. */
const missing = { postgres: noPostgres, sqlite: noBetterSqlite }

interface Program {
  readonly name: string
  readonly program: string
  readonly prints: readonly string[]
  readonly needs: keyof typeof missing | null
}

function programOf(name: string, program: string, needs: Program['needs'] = null): Program {
  return { name, program, prints: [...program.matchAll(/\/\/=> (.*)$/gm)].map(([, line]) => line!), needs }
}

const texts = readdirSync(directory)
  .filter((file) => file.endsWith('.md'))
  .map((file) => ({ page: file.replace('.md', ''), text: readFileSync(join(directory, file), 'utf8') }))

const whole = texts
  .map(({ page, text }) =>
    programOf(page, [...text.matchAll(/^```ts run\n([\s\S]*?)^```$/gm)].map(([, block]) => block).join('\n')),
  )
  .filter(({ program }) => program !== '')

const COMMENT = String.raw`((?:(?!-->)[\s\S])*)-->\n`
const ALONE = new RegExp(
  String.raw`(?:^<!--${COMMENT}\n?)?^` +
    '```' +
    String.raw`ts run alone ?(\w*)\n([\s\S]*?)^` +
    '```\n' +
    String.raw`(?:\n?^<!-- then\n${COMMENT})?`,
  'gm',
)

const alone = texts.flatMap(({ page, text }) =>
  [...text.matchAll(ALONE)].map(([, before = '', needs, block, then = ''], index) =>
    programOf(
      `${page}-${index + 1}`,
      `${before}\n${block}\n${then}\nexport {}\n`,
      needs === '' ? null : (needs as keyof typeof missing),
    ),
  ),
)

const programs = [...whole, ...alone]

let home: string

beforeAll(() => {
  // Below the root, so that imports find the packages.
  mkdirSync(join(root, '.cache'), { recursive: true })
  home = mkdtempSync(join(root, '.cache/sdk-docs-'))
  for (const { name, program } of programs) writeFileSync(join(home, `${name}.ts`), program)
  // Packages of tests alone are not among those of the root.
  mkdirSync(join(home, 'node_modules'))
  if (noBetterSqlite === null)
    symlinkSync(join(root, 'tests/peers/node_modules/better-sqlite3'), join(home, 'node_modules/better-sqlite3'))
  const compilerOptions = { noEmit: true, composite: false, declaration: false, skipLibCheck: true }
  writeFileSync(
    join(home, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.base.json', compilerOptions, include: ['*.ts'] }),
  )
})

afterAll(() => rmSync(home, { recursive: true }))

test('there are programs, and no block of TypeScript that is none', () => {
  expect(programs.map(({ name }) => name)).toEqual(expect.arrayContaining(['README', 'contracts', 'stores-1']))
  const fences = texts.flatMap(({ page, text }) =>
    [...text.matchAll(/^```ts.*$/gm)].map(([fence]) => `${page}: ${fence}`),
  )
  expect(fences.filter((fence) => !/: ```ts run( alone( (postgres|sqlite))?)?$/.test(fence))).toEqual([])
  expect(fences.filter((fence) => fence.includes('alone'))).toHaveLength(alone.length)
})

test('every program compiles', () => {
  const { status, stdout } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', home], {
    cwd: home,
    encoding: 'utf8',
  })
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
})

async function runs({ name, prints }: Program): Promise<void> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  const before = process.cwd()
  process.chdir(home)
  try {
    await import(/* @vite-ignore */ join(home, `${name}.ts`))
    expect(log.mock.calls.map((values) => values.join(' '))).toEqual(prints)
  } finally {
    process.chdir(before)
    log.mockRestore()
  }
}

const needing = (needs: Program['needs']): readonly Program[] => programs.filter((program) => program.needs === needs)

test.each(needing(null))('the program of $name does what the page says', runs)

describe.skipIf(missing.sqlite !== null)(`with better-sqlite3${whyNot('sqlite')}`, () => {
  test.each(needing('sqlite'))('the program of $name does what the page says', runs)
})

describe.skipIf(missing.postgres !== null)(`with PostgreSQL${whyNot('postgres')}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await startPostgres()
    const { hostname, port, username, pathname } = new URL(server.url)
    vi.stubEnv('PGHOST', hostname).stubEnv('PGPORT', port)
    vi.stubEnv('PGUSER', username).stubEnv('PGDATABASE', pathname.slice(1))
  })
  afterAll(async () => {
    vi.unstubAllEnvs()
    await server.stop()
  })
  test.each(needing('postgres'))('the program of $name does what the page says', runs)
})

function whyNot(what: keyof typeof missing): string {
  return missing[what] === null ? '' : `: ${missing[what]}`
}
