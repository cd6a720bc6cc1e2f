import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { runApp } from './app.ts'

const directories: string[] = []
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true })
})

async function project(sdk: string | null): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'stathmos-app-')))
  directories.push(directory)
  if (sdk === null) return directory
  const home = join(directory, 'node_modules/@stathmos/sdk')
  await mkdir(home, { recursive: true })
  const exports = { './cli': { default: './cli.js' } }
  await writeFile(join(home, 'package.json'), JSON.stringify({ name: '@stathmos/sdk', type: 'module', exports }))
  await writeFile(join(home, 'cli.js'), sdk)
  return directory
}

async function run(cwd: string, argv: readonly string[]) {
  let [out, err] = ['', '']
  const code = await runApp(argv, { cwd, out: (text) => void (out += text), err: (text) => void (err += text) })
  return { code, out, err }
}

test("runs the commands of the project's own SDK, with what follows `app`", async () => {
  const cwd = await project('export const runAppCommand = async (argv, io) => (io.out(io.cwd + argv.join()), 7)')
  expect(await run(cwd, ['outbox', '--json'])).toEqual({ code: 7, out: `${cwd}outbox,--json`, err: '' })
})

test('says what to install where there is none', async () => {
  const { code, err } = await run(await project(null), ['outbox'])
  expect(code).toBe(2)
  expect(err).toContain('npm install @stathmos/sdk')
})
