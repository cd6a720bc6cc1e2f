// The load generator mqload.c, compiled when it is first needed, as a function.
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('mqload.c', import.meta.url))
const BINARY = fileURLToPath(new URL('../../.cache/mqload', import.meta.url))

function binary() {
  if (!existsSync(BINARY) || statSync(BINARY).mtimeMs < statSync(SOURCE).mtimeMs) {
    mkdirSync(dirname(BINARY), { recursive: true })
    execFileSync('gcc', ['-O2', '-Wall', '-Wno-unused-result', '-o', BINARY, SOURCE], { stdio: 'inherit' })
  }
  return join(BINARY)
}

/**
 * Runs it against a broker and resolves with its figures, see the top of mqload.c.
 *
 * @param {{ port: number, pids: () => number[] }} broker
 * @param {Record<string, string | number>} options as its command line takes them
 */
export function mqload(broker, options) {
  const given = { port: broker.port, pids: broker.pids().join(','), ...options }
  const args = Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)])
  return new Promise((resolve, reject) => {
    execFile(binary(), args, { timeout: 30 * 60_000 }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`mqload ${args.join(' ')}: ${stderr.trim() || error.message}`))
      else resolve(JSON.parse(stdout))
    })
  })
}
