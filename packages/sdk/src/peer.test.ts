import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadPeer } from './peer.ts'

let directory: string
let importPeer: (name: string) => Promise<{ readonly Cron?: unknown }>

const files = {
  // In a node_modules, so that it is Node that imports and not the runner of the tests.
  'from/index.mjs': 'export const importPeer = (name) => import(name)',
  '@peers/fine/index.js': 'export const Cron = 1',
  'old/index.js': 'export const Job = 1',
  'half/index.js': "import 'needed-by-half'",
  'cut/index.js': "import './lost.js'",
  'young/index.js': 'export const Cron = syntax of a later Node',
  'rude/index.js': 'throw new TypeError("not on this machine")',
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'peers-'))
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, 'node_modules', name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
    if (name.endsWith('.js'))
      await writeFile(join(dirname(path), 'package.json'), '{"type":"module","main":"index.js"}')
  }
  const from = pathToFileURL(join(directory, 'node_modules/from/index.mjs')).href
  ;({ importPeer } = (await import(/* @vite-ignore */ from)) as { importPeer: typeof importPeer })
})

afterAll(() => rm(directory, { recursive: true }))

const load = (name: string) => loadPeer({ name, what: 'schedules', load: () => importPeer(name), needs: ['Cron'] })

test('a package that is there is loaded', async () => {
  expect((await load('@peers/fine')).Cron).toBe(1)
})

test.each(['absent', '@peers/absent'])(
  'one that is not installed is missing, with what installs it: %s',
  async (name) => {
    await expect(load(name)).rejects.toMatchObject({
      code: 'peer_missing',
      message: `schedules need the package ${name}: npm install ${name}`,
      cause: { code: 'ERR_MODULE_NOT_FOUND' },
    })
  },
)

test.each([
  ['half', 'a package that it needs itself is not there', "Cannot find package 'needed-by-half'"],
  ['cut', 'a file of its own is not there', 'lost.js'],
  ['young', 'this Node does not know its syntax', 'SyntaxError'],
  ['rude', 'it throws', 'TypeError: not on this machine'],
])('one that cannot be loaded says why: %s, because %s', async (name, _, reason) => {
  const error: unknown = await load(name).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'peer_unusable', cause: expect.any(Error), data: { peer: name } })
  expect((error as Error).message).toContain(reason)
  expect((error as Error).message).toContain(`npm install ${name}@latest`)
})

test('one that is too old says what it lacks', async () => {
  await expect(load('old')).rejects.toMatchObject({
    code: 'peer_unusable',
    message:
      'schedules need the package old with Cron, which the installed version does not have: npm install old@latest',
  })
})
