// The load generator mqload.c as a function.
import { execFile } from 'node:child_process'
import { compiled } from './compile.mjs'

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
    execFile(compiled('mqload'), args, { timeout: 30 * 60_000 }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`mqload ${args.join(' ')}: ${stderr.trim() || error.message}`))
      else resolve(JSON.parse(stdout))
    })
  })
}
