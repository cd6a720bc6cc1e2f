// A MariaDB server for one file of tests: its own data, a free port, nothing that survives it.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { serve, type MysqlServer } from './mysql-server.ts'

/** Where Debian puts the server, or what MARIADB_BIN says; null without any. */
const binary =
  [process.env['MARIADB_BIN'], '/usr/sbin/mariadbd'].find((path) => path !== undefined && existsSync(path)) ?? null

/** Why there can be no server here; null when there can. */
export const noMariadb = binary === null ? 'MariaDB is not installed (apt-get install mariadb-server)' : null

/** Starts a server that does not care about power failures. */
export async function startMariadb(): Promise<MysqlServer> {
  if (binary === null) throw new Error(noMariadb!)
  const directory = mkdtempSync(join(tmpdir(), 'stathmos-mariadb-'))
  const data = join(directory, 'data')
  mkdirSync(data)
  // MariaDB runs as root only when it is told to.
  const own = ['--no-defaults', `--datadir=${data}`, ...(process.getuid?.() === 0 ? ['--user=root'] : [])]
  const install = ['--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve']
  await promisify(execFile)('mariadb-install-db', [...own, ...install])
  return serve(binary, own, directory)
}
