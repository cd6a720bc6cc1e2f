// Stathmos from its build, as a process of its own on ports of its own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { childrenOf, until } from './process.mjs'

const BROKER = fileURLToPath(new URL('../../packages/broker/', import.meta.url))
export const CLI = join(BROKER, 'dist/cli/main.js')
/** Whatever it holds, it is to be ready in two seconds; the rest is patience with a loaded machine. */
const START_MS = 60_000

export function stathmosVersion() {
  return JSON.parse(readFileSync(join(BROKER, 'package.json'), 'utf8')).version
}

/**
 * Starts the broker. It accepts connections when the promise resolves, which rejects if the process ends first.
 *
 * @param {{ dir?: string, args?: string[], nodeArgs?: string[], env?: NodeJS.ProcessEnv, onSpawn?: (child: import('node:child_process').ChildProcess) => void }} [options]
 */
export async function startStathmos(options = {}) {
  if (!existsSync(CLI)) throw new Error(`${CLI} is missing: npm run build`)
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'stathmos-peer-'))
  const began = performance.now()
  const args = [...(options.nodeArgs ?? []), CLI, 'up', '--ports', 'auto', '--data-dir', dir, ...(options.args ?? [])]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  options.onSpawn?.(child)
  let output = ''
  child.stdout.on('data', (chunk) => (output = (output + chunk).slice(-8192)))
  child.stderr.on('data', (chunk) => (output = (output + chunk).slice(-8192)))
  const exited = once(child, 'exit')
  const file = join(dir, 'endpoints.json')
  let endpoints
  await until(
    () => {
      // A process that was killed leaves its file behind, a power cut an empty one.
      endpoints = readEndpoints(file)
      return endpoints?.pid === child.pid
    },
    START_MS,
    () => {
      if (child.exitCode === null && child.signalCode === null) return
      throw new Error(`stathmos ended (${child.exitCode ?? child.signalCode}) before it was ready:\n${output}`)
    },
    1,
  )
  const readyMs = performance.now() - began
  return {
    name: 'stathmos',
    version: stathmosVersion(),
    url: endpoints.amqp,
    http: endpoints.http,
    port: Number(new URL(endpoints.amqp).port),
    dir,
    readyMs,
    pids: () => [child.pid, ...childrenOf(child.pid)],
    output: () => output,
    /** Resolves with the exit code, null after a signal. */
    exited: exited.then(([code]) => code),
    async stop({ keep = false } = {}) {
      child.kill('SIGTERM')
      const [code] = await exited
      if (!keep) rmSync(dir, { recursive: true, force: true })
      return code
    },
    async kill({ keep = true } = {}) {
      child.kill('SIGKILL')
      await exited
      if (!keep) rmSync(dir, { recursive: true, force: true })
    },
  }
}

function readEndpoints(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}
