// Redis as the distribution installs it, run by hand from a directory of its own, with every write in its log.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { accepts, cpuSeconds, freePort, until } from '../../peers/process.mjs'

const START_MS = 20_000

/** The installed version, such as "7.0.15"; undefined without one. */
export function redisVersion() {
  try {
    return /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1]
  } catch {
    return undefined
  }
}

/** @param {'always' | 'everysec'} appendfsync when its log is synced: before the answer, or every second */
export async function startRedis(appendfsync) {
  const dir = mkdtempSync(join(tmpdir(), 'redis-peer-'))
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'yes']
  const settings = ['--appendfsync', appendfsync, '--maxmemory-policy', 'noeviction', '--logfile', join(dir, 'log')]
  const child = spawn('redis-server', [...args, ...settings], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  await until(
    () => accepts(port),
    START_MS,
    () => {
      if (child.exitCode !== null) throw new Error(`redis-server exited with ${child.exitCode}`)
    },
  )
  return {
    port,
    cpuSeconds: () => cpuSeconds([child.pid]),
    async stop() {
      child.kill('SIGTERM')
      await exited
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
