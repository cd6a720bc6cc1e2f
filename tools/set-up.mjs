// What `npm start` and `npm test` do before their own work, so that a fresh clone needs nothing but
// Node and npm: install what the lockfile names, and compile what changed. When nothing changed this
// costs a few hundred stat calls and starts no process.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..')

const NODE_MAJOR_MIN = 20
const NODE_MINOR_MIN = 19

/** Installs and builds when needed; ends the process with a message when one of them fails. */
export function setUp() {
  checkNode()
  if (!installed()) {
    // Not `npm ci`: it removes what somebody may be working with, and refuses a lockfile that lacks the binaries of some
    // other platform, which registries behind a mirror do not always have. The versions are the lockfile's all the same.
    step('installing packages', 'npm', ['install', '--no-save', '--no-audit', '--no-fund'])
  }
  const sources = fingerprint()
  if (!built(sources)) {
    step('compiling', process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b'])
    mkdirSync(dirname(stampFile), { recursive: true })
    writeFileSync(stampFile, sources)
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor >= NODE_MINOR_MIN)) return
  fail(`Stathmos needs Node ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} or newer; this is ${process.versions.node}.`)
}

/**
 * Whether node_modules holds the versions that the lockfile names. Compared by content with the copy
 * that npm keeps of what it installed: file times say nothing after a checkout.
 */
function installed() {
  const installedFile = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(installedFile)) return false
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  const present = JSON.parse(readFileSync(installedFile, 'utf8')).packages
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith('node_modules/')) return true
    const found = present[path]
    // Packages for other platforms are in the lockfile and rightly absent here.
    return found === undefined ? entry.optional === true : found.version === entry.version
  })
}

const stampFile = join(root, '.cache/built')

function built(sources) {
  if (!existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== sources) return false
  return readdirSync(join(root, 'packages')).every((name) => existsSync(join(root, 'packages', name, 'dist')))
}

/** Changes whenever a file that the compiler reads is added, removed or written. */
function fingerprint() {
  const hash = createHash('sha1')
  const add = (path) => {
    const { mtimeMs, size } = statSync(path)
    hash.update(`${path} ${mtimeMs} ${size}\n`)
  }
  const walk = (directory) => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (!entry.name.endsWith('.test.ts')) add(path)
    }
  }
  for (const name of ['tsconfig.json', 'tsconfig.base.json', 'package-lock.json']) add(join(root, name))
  for (const name of readdirSync(join(root, 'packages'))) {
    const home = join(root, 'packages', name)
    for (const file of ['package.json', 'tsconfig.json']) if (existsSync(join(home, file))) add(join(home, file))
    if (existsSync(join(home, 'src'))) walk(join(home, 'src'))
  }
  return hash.digest('hex')
}

/** Runs one step. Its output is shown only when it fails: most people start the broker, not the compiler. */
function step(what, command, args) {
  const began = performance.now()
  process.stderr.write(`  ${what} … `)
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    // npm is a script on Windows, which only a shell can run.
    shell: process.platform === 'win32' && command === 'npm',
  })
  if (status === 0) {
    process.stderr.write(`done (${((performance.now() - began) / 1000).toFixed(1)} s)\n`)
    return
  }
  process.stderr.write('failed\n\n')
  rmSync(stampFile, { force: true })
  fail(`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`)
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}
