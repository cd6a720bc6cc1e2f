// What a user gets of the SDK: packed by npm, installed outside of the workspace, compiled as strictly as TypeScript can.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { packedProject, type PackedProject } from './packed-project.ts'
import { run, type Outcome } from './program.ts'

const program = (name: string): string => fileURLToPath(new URL(`packed/${name}`, import.meta.url))

/** What a user's own program needs, and its compiler. */
const USERS = ['zod', 'typescript', 'undici-types', '@types/node']

const compilerOptions = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  module: 'nodenext',
  target: 'es2023',
  types: ['node'],
  outDir: 'dist',
}

async function compiled(
  { directory }: PackedProject,
  file: string,
  more: { readonly declaration?: boolean } = {},
): Promise<Outcome> {
  const config = { compilerOptions: { ...compilerOptions, ...more }, files: [file] }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config))
  return run(process.execPath, [join(directory, 'node_modules/typescript/bin/tsc'), '-p', directory])
}

async function ran({ directory }: PackedProject, file: string): Promise<readonly string[]> {
  const { code, stdout, stderr } = await run(process.execPath, [join(directory, file)], '', {}, directory)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.trim().split('\n')
}

const installedIn = ({ directory }: PackedProject): readonly string[] =>
  readdirSync(join(directory, 'node_modules'), { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.'))
    .flatMap(({ name }) =>
      name.startsWith('@')
        ? readdirSync(join(directory, 'node_modules', name)).map((inner) => `${name}/${inner}`)
        : name,
    )

describe('the SDK alone', () => {
  let project: PackedProject
  let installed: readonly string[]
  beforeAll(async () => {
    project = await packedProject(['sdk'], ['@standard-schema/spec'])
    installed = installedIn(project)
    project.link(...USERS)
    for (const name of ['in-memory.ts', 'in-a-library.ts', 'every-entry.mjs', 'missing-peers.mjs'])
      project.add(program(name))
  })
  afterAll(() => project.remove())

  test('it brings one package, which is types only', () => {
    expect(installed).toEqual(['@standard-schema/spec', '@stathmos/sdk'])
  })

  test('it holds no tests and no sources', () => {
    const files = readdirSync(join(project.directory, 'node_modules/@stathmos/sdk'), { recursive: true }) as string[]
    expect(files.filter((file) => /\.test\.|tsbuildinfo|^src/.test(file))).toEqual([])
  })

  test('its source maps hold the sources that they lead to', () => {
    const directory = join(project.directory, 'node_modules/@stathmos/sdk')
    const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.map'))
    expect(files.length).toBeGreaterThan(100)
    for (const file of files) {
      const { sources, sourcesContent } = JSON.parse(readFileSync(join(directory, file), 'utf8')) as {
        readonly sources: readonly string[]
        readonly sourcesContent?: readonly string[]
      }
      expect(sourcesContent?.length, file).toBe(sources.length)
    }
  })

  test('every entry can be imported without any peer', async () => {
    const { exports } = JSON.parse(
      readFileSync(join(project.directory, 'node_modules/@stathmos/sdk/package.json'), 'utf8'),
    ) as { exports: object }
    expect(await ran(project, 'every-entry.mjs')).toEqual(Object.keys(exports).map((entry) => `${entry} true`))
  })

  test('a service with everything in memory compiles and runs', async () => {
    expect(await compiled(project, 'in-memory.ts')).toMatchObject({ code: 0, stdout: '' })
    expect(await ran(project, 'dist/in-memory.js')).toEqual(['true', '300', 'none'])
  })

  test('packages that share contracts or wrap a service can have declarations', async () => {
    expect(await compiled(project, 'in-a-library.ts', { declaration: true })).toMatchObject({ code: 0, stdout: '' })
  })

  test('every entry but the one of the embedded engine has types that need no peer', async () => {
    const { exports } = JSON.parse(
      readFileSync(join(project.directory, 'node_modules/@stathmos/sdk/package.json'), 'utf8'),
    ) as { exports: object }
    const lines = Object.keys(exports)
      .filter((entry) => entry !== './transports/embedded')
      .map((entry, index) => `export * as e${index} from '@stathmos/sdk${entry.slice(1)}'\n`)
    writeFileSync(join(project.directory, 'entries.ts'), lines.join(''))
    expect(await compiled(project, 'entries.ts')).toMatchObject({ code: 0, stdout: '' })
  })

  test('what needs a peer says which one to install', async () => {
    expect(await ran(project, 'missing-peers.mjs')).toEqual([
      'peer_missing: embedded transports need the package @stathmos/engine: npm install @stathmos/engine',
      'peer_missing: transports over AMQP need the package amqplib: npm install amqplib',
      'peer_missing: schedules need the package croner: npm install croner',
      'peer_missing: traces and metrics need the package @opentelemetry/api: npm install @opentelemetry/api',
      'peer_missing: bodies in Protobuf need the package @bufbuild/protobuf: npm install @bufbuild/protobuf',
    ])
  })
})

describe('the SDK with the embedded engine', () => {
  let project: PackedProject
  beforeAll(async () => {
    project = await packedProject(['sdk', 'engine', 'std'], ['@standard-schema/spec'])
    project.link(...USERS)
    project.add(program('embedded.ts'))
  })
  afterAll(() => project.remove())

  test('a service that nobody calls compiles, runs until it is stopped, and then lets the process end', async () => {
    expect(await compiled(project, 'embedded.ts')).toMatchObject({ code: 0, stdout: '' })
    expect(await ran(project, 'dist/embedded.js')).toEqual(['hello world', 'stopped'])
    expect(await ran(project, 'dist/embedded.js')).toEqual(['hello world', 'stopped'])
  })
})
