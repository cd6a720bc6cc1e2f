// A PostgreSQL server for one file of tests: its own data, a free port, nothing that survives it.
import { execFile, execFileSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../bench/peers/process.mjs'
const PACKAGED = '/usr/lib/postgresql'
/** Where Debian puts the binaries of the newest version, or what POSTGRES_BIN says; null without any. */
const binaries = (() => {
  const named = process.env['POSTGRES_BIN']
  const versions = existsSync(PACKAGED) ? readdirSync(PACKAGED).toSorted((a, b) => Number(b) - Number(a)) : []
  const places = [...(named === undefined ? [] : [named]), ...versions.map((version) => join(PACKAGED, version, 'bin'))]
  return places.find((place) => existsSync(join(place, 'initdb'))) ?? null
})()
/** Why there can be no server here; null when there can. */
export const noPostgres = binaries === null ? 'PostgreSQL is not installed (apt-get install postgresql)' : null
/**
 * Starts a server.
 *
 * @param options `durable`: its commits survive a power failure, as they do in production. Default: they do not, which is
 * faster and all that a test needs
 */
export async function startPostgres({ durable = false } = {}) {
  if (binaries === null) throw new Error(noPostgres)
  const directory = mkdtempSync(join(tmpdir(), 'stathmos-postgres-'))
  const data = join(directory, 'data')
  // PostgreSQL refuses to run as root.
  const user = process.getuid?.() === 0 ? { uid: userId('-u'), gid: userId('-g') } : {}
  if (user.uid !== undefined) chownSync(directory, user.uid, user.gid)
  const run = (name, ...options) =>
    promisify(execFile)(join(binaries, name), options, { ...user, cwd: directory, env: { PATH: process.env['PATH'] } })
  await run('initdb', '-D', data, '-U', 'postgres', '--auth=trust', '-E', 'UTF8', '--locale=C', '--no-sync')
  const port = await freePort()
  const settings = [
    `-p ${port}`,
    '-c listen_addresses=127.0.0.1',
    "-c unix_socket_directories=''",
    ...(durable ? [] : ['-c fsync=off', '-c full_page_writes=off']),
    '-c max_connections=100',
  ].join(' ')
  await run('pg_ctl', '-D', data, '-w', '-s', '-l', join(directory, 'log'), '-o', settings, 'start')
  return {
    port,
    pid: Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n', 1)[0]),
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    async stop() {
      await run('pg_ctl', '-D', data, '-w', '-s', '-m', 'immediate', 'stop')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
/** The unprivileged user that every Debian has. */
function userId(option) {
  return Number(execFileSync('id', [option, 'nobody'], { encoding: 'utf8' }))
}
