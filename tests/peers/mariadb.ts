// A MariaDB server for one file of tests: its own data, a free port, nothing that survives it.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createConnection } from 'mysql2/promise'

/** Where Debian puts the server, or what MARIADB_BIN says; null without any. */
const binary =
  [process.env['MARIADB_BIN'], '/usr/sbin/mariadbd'].find((path) => path !== undefined && existsSync(path)) ?? null

/** Why there can be no server here; null when there can. */
export const noMariadb = binary === null ? 'MariaDB is not installed (apt-get install mariadb-server)' : null

export interface MariadbServer {
  readonly port: number
  /** For any client: user `root`, no password, database `test`. */
  readonly url: string
  stop(): Promise<void>
}

/** Starts a server that does not care about power failures. */
export async function startMariadb(): Promise<MariadbServer> {
  if (binary === null) throw new Error(noMariadb!)
  const directory = mkdtempSync(join(tmpdir(), 'stathmos-mariadb-'))
  const data = join(directory, 'data')
  mkdirSync(data)
  // MariaDB runs as root only when it is told to.
  const own = ['--no-defaults', `--datadir=${data}`, ...(process.getuid?.() === 0 ? ['--user=root'] : [])]
  const install = ['--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve']
  await promisify(execFile)('mariadb-install-db', [...own, ...install])
  const port = await freePort()
  const settings = [
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(directory, 'socket')}`,
    `--pid-file=${join(directory, 'pid')}`,
    `--log-error=${join(directory, 'log')}`,
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-buffer-pool-size=64M',
    '--innodb-lock-wait-timeout=20',
    '--skip-log-bin',
    '--skip-name-resolve',
    '--max-connections=100',
  ]
  const server = spawn(binary, [...own, ...settings], { stdio: 'ignore' })
  try {
    await answering(server, port)
  } catch (error) {
    server.kill('SIGKILL')
    throw error
  }
  return {
    port,
    url: `mysql://root@127.0.0.1:${port}/test`,
    async stop() {
      const gone = new Promise((resolve) => server.once('exit', resolve))
      server.kill('SIGKILL')
      await gone
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Waits until the server answers, and makes the database. */
async function answering(server: ChildProcess, port: number): Promise<void> {
  while (server.exitCode === null) {
    try {
      const connection = await createConnection({ host: '127.0.0.1', port, user: 'root' })
      await connection.query('create database test')
      await connection.end()
      return
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ECONNREFUSED') throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  throw new Error(`mariadbd ended with ${server.exitCode}`)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
