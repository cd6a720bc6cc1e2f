// A MySQL server for one file of tests. Debian's stable releases have none, so that it comes from another release, in a
// directory of its own (debootstrap) that MYSQL_ROOT names. Running what is in there takes root.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { serve, type MysqlServer } from './mysql-server.ts'

const root = process.env['MYSQL_ROOT'] ?? null

/** Whether tests are to run on MySQL where they would otherwise run on MariaDB. */
export const wantsMysql = root !== null

/** Starts a server that does not care about power failures. */
export async function startMysql(): Promise<MysqlServer> {
  if (root === null || !existsSync(join(root, 'usr/sbin/mysqld')))
    throw new Error(`MYSQL_ROOT is ${root}; it has to name the root of a Debian with mysql-server-core in it`)
  const directory = mkdtempSync(join(root, 'tmp/stathmos-mysql-'))
  const inside = join('/', relative(root, directory))
  mkdirSync(join(directory, 'data'))
  const own = [root, '/usr/sbin/mysqld', '--no-defaults', '--user=root', `--datadir=${join(inside, 'data')}`]
  // Without names of hosts, `localhost` is nobody who comes over TCP.
  const users = ["create user root@'127.0.0.1'", "grant all on *.* to root@'127.0.0.1' with grant option"]
  writeFileSync(join(directory, 'users.sql'), users.map((statement) => `${statement};\n`).join(''))
  await promisify(execFile)('chroot', [...own, '--initialize-insecure', `--init-file=${join(inside, 'users.sql')}`])
  return serve('chroot', [...own, '--mysqlx=OFF', '--secure-file-priv=NULL'], directory, inside)
}
