// What servers of MySQL and MariaDB have in common for tests: a free port, nothing that survives them, no care about power failures.
import { spawn, type ChildProcess } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { freePort } from '../../bench/peers/process.mjs'

/** What the servers take as one statement. */
export const PACKET_BYTES_MAX = 4 * 1024 * 1024

export interface MysqlServer {
  readonly port: number
  /** For any client: user `root`, no password, database `test`. */
  readonly url: string
  stop(): Promise<void>
}

/**
 * Starts a server on data that is there.
 *
 * @param directory what is removed with the server
 * @param inside how the server calls that directory
 */
export async function serve(
  command: string,
  options: readonly string[],
  directory: string,
  inside = directory,
): Promise<MysqlServer> {
  const port = await freePort()
  const settings = [
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(inside, 'socket')}`,
    `--pid-file=${join(inside, 'pid')}`,
    `--log-error=${join(inside, 'log')}`,
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-buffer-pool-size=64M',
    '--innodb-lock-wait-timeout=20',
    '--skip-log-bin',
    '--skip-name-resolve',
    '--max-connections=100',
    // Small, so that what is too large for it can be tested in no time.
    `--max-allowed-packet=${PACKET_BYTES_MAX}`,
  ]
  const server = spawn(command, [...options, ...settings], { stdio: 'ignore' })
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
  throw new Error(`the server ended with ${server.exitCode}`)
}
