// RabbitMQ as Debian installs it, run by hand from a directory of its own: no service, no fixed port, nothing beyond
// loopback. The benchmark measures it beside Stathmos, and the conformance suite takes it as the oracle:
//   node bench/peers/rabbitmq.mjs [port]   prints the AMQP URL and runs until it is interrupted
// Another release of Debian has another version: RABBITMQ_ROOT names the directory that it was put into (debootstrap, with
// /proc and /dev mounted), and takes root.
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { accepts, childrenOf, freePort, until } from './process.mjs'

/** Where the Debian is whose RabbitMQ is taken; null for the machine's own. */
const ROOT = process.env.RABBITMQ_ROOT ?? null
const LIBRARY = join(ROOT ?? '/', 'usr/lib/rabbitmq/lib')
/** Erlang, the plugins and the first boot of a node take this long on two cores. */
const START_MS = 90_000

/** Where the server's scripts are, in its Debian, or undefined if RabbitMQ is not installed. */
export function rabbitmqHome() {
  if (!existsSync(LIBRARY)) return undefined
  const server = readdirSync(LIBRARY).find((name) => name.startsWith('rabbitmq_server-'))
  return server === undefined ? undefined : join('/usr/lib/rabbitmq/lib', server)
}

/** The installed version, such as "3.10.8". */
export function rabbitmqVersion() {
  return rabbitmqHome()?.split('rabbitmq_server-')[1]
}

/** A command and its arguments, to be run in the node's Debian. */
function inRoot(command, ...args) {
  return ROOT === null ? [command, args] : ['chroot', [ROOT, command, ...args]]
}

/**
 * Starts a node. It accepts connections when the promise resolves.
 *
 * @param {{ dir?: string, port?: number }} [options] a directory of an earlier node starts that node again with what it holds
 */
export async function startRabbitmq(options = {}) {
  const home = rabbitmqHome()
  if (home === undefined) throw new Error('RabbitMQ is not installed: apt-get install rabbitmq-server')
  const dir = options.dir ?? mkdtempSync(join(ROOT === null ? tmpdir() : join(ROOT, 'tmp'), 'rabbitmq-peer-'))
  // As the node calls it.
  const own = ROOT === null ? dir : join('/', relative(ROOT, dir))
  mkdirSync(join(dir, 'log'), { recursive: true })
  const [port, distPort, epmdPort] = [options.port ?? (await freePort()), await freePort(), await freePort()]
  writeFileSync(join(dir, 'enabled_plugins'), '[].\n')
  writeFileSync(
    join(dir, 'rabbitmq.conf'),
    [
      `listeners.tcp.default = 127.0.0.1:${port}`,
      'loopback_users.guest = true',
      'log.console = false',
      'log.file.level = warning',
      'disk_free_limit.absolute = 200MB',
      'vm_memory_high_watermark.relative = 0.6',
    ].join('\n') + '\n',
  )
  const env = {
    PATH: process.env.PATH,
    HOME: own,
    RABBITMQ_NODENAME: 'peer@localhost',
    RABBITMQ_MNESIA_BASE: join(own, 'mnesia'),
    RABBITMQ_LOG_BASE: join(own, 'log'),
    RABBITMQ_CONFIG_FILE: join(own, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(own, 'advanced.config'),
    RABBITMQ_CONF_ENV_FILE: join(own, 'no-env.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(own, 'enabled_plugins'),
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  }
  // The name service in the foreground: one that the node starts by itself outlives it.
  const epmd = spawn(...inRoot('epmd', '-port', String(epmdPort), '-address', '127.0.0.1'), { env, stdio: 'ignore' })
  epmd.once('error', () => {})
  const began = performance.now()
  const child = spawn(...inRoot(join(home, 'sbin/rabbitmq-server')), { env, stdio: 'ignore', detached: true })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  // The port opens only when the node is up, messages recovered.
  await until(
    () => accepts(port),
    START_MS,
    () => {
      if (child.exitCode !== null) throw new Error(`rabbitmq-server exited with ${child.exitCode}; see ${dir}/log`)
    },
  )
  const readyMs = performance.now() - began
  const tree = () => [child.pid, ...childrenOf(child.pid)]
  return {
    name: 'rabbitmq',
    version: rabbitmqVersion(),
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    port,
    dir,
    readyMs,
    /** The processes whose CPU time and memory are the broker's. */
    pids: () => tree(),
    /** Runs rabbitmqctl on the node. */
    async control(...args) {
      // Debian's wrapper around it insists on being root.
      await promisify(execFile)(...inRoot(join(home, 'sbin/rabbitmqctl'), ...args), { env })
    },
    async stop({ keep = false } = {}) {
      for (const pid of tree().reverse()) signal(pid, 'SIGTERM')
      await exited
      epmd.kill()
      if (!keep) rmSync(dir, { recursive: true, force: true })
    },
    async kill({ keep = true } = {}) {
      for (const pid of tree()) signal(pid, 'SIGKILL')
      await exited
      epmd.kill()
      if (!keep) rmSync(dir, { recursive: true, force: true })
    },
  }
}

function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const node = await startRabbitmq(process.argv[2] === undefined ? {} : { port: Number(process.argv[2]) })
  console.log(node.url)
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => void node.stop().then(() => process.exit(0)))
  setInterval(() => {}, 60_000)
}
