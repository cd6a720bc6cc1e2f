// The broker as its operators meet it: a process with options, files, signals and exit codes.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import amqp from 'amqplib'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { CLI, spawnStathmos, type BrokerProcess } from '../amqp/broker-under-test.ts'
import { RawClient } from '../amqp/raw-client.ts'

let home: string
let dataDir: string
const running: BrokerProcess[] = []

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'stathmos-process-'))
  dataDir = join(home, 'data')
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((broker) => broker.stop('SIGKILL')))
  rmSync(home, { recursive: true, force: true })
})

async function start(...options: Parameters<typeof spawnStathmos>): Promise<BrokerProcess> {
  const broker = await spawnStathmos(...options)
  running.push(broker)
  return broker
}

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command that is expected to end by itself. */
function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return outcomeOf(spawn(process.execPath, [CLI, ...args], { cwd: home, env: { ...process.env, ...env } }))
}

async function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

function endpointsFile(): string {
  return join(dataDir, 'endpoints.json')
}

test('endpoints.json names the process and where every listener accepts', async () => {
  const broker = await start(dataDir)
  const written = JSON.parse(readFileSync(endpointsFile(), 'utf8')) as Record<string, unknown>
  expect(written).toEqual({ pid: broker.pid, amqp: broker.amqp, http: broker.http })
  expect(broker.amqp).toMatch(/^amqp:\/\/127\.0\.0\.1:\d+$/)
  expect((await fetch(`${broker.http}/readyz`)).status).toBe(200)
  expect((await fetch(`${broker.http}/livez`)).status).toBe(200)
  using client = await RawClient.open(broker.amqp)
  expect(client.mechanisms).toContain('PLAIN')
})

test('SIGTERM ends it with 0 and leaves neither endpoints nor a lock', async () => {
  const broker = await start(dataDir)
  expect(await broker.stop()).toBe(0)
  expect(existsSync(endpointsFile())).toBe(false)
  expect(readdirSync(join(dataDir, 'lock'))).toEqual([])
  expect(broker.output()).toContain(broker.amqp)
})

test('stopping says goodbye to the clients [AMQP 0-9-1 connection.close, 320]', async () => {
  const broker = await start(dataDir)
  using client = await RawClient.open(broker.amqp)
  const stopped = broker.stop()
  const close = await client.expect('connection.close')
  expect(close.arguments['replyCode']).toBe(320)
  client.send(0, 'connection.close-ok', {})
  expect(await stopped).toBe(0)
})

test('a second signal ends it at once, although a client never answers the goodbye', async () => {
  const broker = await start(dataDir)
  using client = await RawClient.open(broker.amqp)
  const stopped = broker.stop()
  await client.expect('connection.close')
  expect(await broker.stop()).toBe(0)
  expect(await stopped).toBe(0)
  expect(existsSync(endpointsFile())).toBe(false)
})

test('a data directory in use is refused and names the process that has it', async () => {
  const broker = await start(dataDir)
  const { code, stderr } = await run(['up', '--ports', 'auto', '--data-dir', dataDir])
  expect(code).toBe(1)
  expect(stderr).toContain(`the data directory ${dataDir} is in use by process ${broker.pid}`)
  expect((await fetch(`${broker.http}/readyz`)).status).toBe(200)
})

test('after kill -9 the next start takes the directory, and nobody mistakes the old endpoints for its own', async () => {
  const killed = await start(dataDir)
  await killed.stop('SIGKILL')
  expect(existsSync(endpointsFile())).toBe(true)
  const broker = await start(dataDir)
  expect(broker.pid).not.toBe(killed.pid)
  expect(await broker.stop()).toBe(0)
})

test.runIf(process.platform === 'linux')(
  'a port in use names the process that holds it and the options that help',
  async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const { code, stderr } = await run(['up', '--data-dir', dataDir, '--http-port', 'off', '--amqp-port', String(port)])
    other.close()
    expect(code).toBe(1)
    expect(stderr).toContain(`the amqp port ${port} is in use by process ${process.pid} (`)
    for (const option of ['--amqp-port', '--port-offset', '--ports auto']) expect(stderr).toContain(option)
    expect(readdirSync(join(dataDir, 'lock'))).toEqual([])
  },
)

test('a listener that is off is missing from the endpoints', async () => {
  const broker = await start(dataDir, { arguments: ['--http-port', 'off'] })
  expect(Object.keys(JSON.parse(readFileSync(endpointsFile(), 'utf8')) as object)).toEqual(['pid', 'amqp'])
  expect(await broker.stop()).toBe(0)
})

test('beyond this machine it does not listen while guest is the only user', async () => {
  const { code, stderr } = await run(['up', '--ports', 'auto', '--data-dir', dataDir, '--host', '0.0.0.0'])
  expect(code).toBe(1)
  expect(stderr).toContain('listening on 0.0.0.0 lets other machines in, and guest is the only user')
})

test('the first user can be named, and guest does not exist then', async () => {
  const env = { STATHMOS_DEFAULT_USER: 'ann', STATHMOS_DEFAULT_PASSWORD: 'secret' }
  const broker = await start(dataDir, { env })
  using client = await RawClient.open(broker.amqp, { user: 'ann', password: 'secret' })
  expect(client.tune.channelMax).toBeGreaterThan(0)
  expect(broker.output()).not.toContain('secret')
  await expect(RawClient.open(broker.amqp)).rejects.toThrow(/connection|expected/)
})

test('more clients than the process may have files: some are refused, the broker and its disk go on', async () => {
  const limited = ['-c', 'ulimit -n 128 && exec "$0" "$@"', process.execPath, CLI]
  const child = spawn('sh', [...limited, 'up', '--ports', 'auto', '--data-dir', dataDir])
  const outcome = outcomeOf(child)
  await new Promise<void>((resolve) => {
    child.stdout.on('data', () => existsSync(endpointsFile()) && resolve())
  })
  const endpoints = JSON.parse(readFileSync(endpointsFile(), 'utf8')) as { amqp: string; http: string }
  const sockets = Array.from({ length: 200 }, () => connect(Number(new URL(endpoints.amqp).port), '127.0.0.1'))
  const refused = sockets.map((socket) =>
    once(
      socket.on('error', () => {}),
      'close',
    ),
  )
  // The first to be refused is refused because the others are there.
  await Promise.race(refused)
  expect((await fetch(`${endpoints.http}/readyz`)).status).toBe(200)
  for (const socket of sockets) socket.destroy()
  await Promise.all(refused)
  // The broker hears of each end by itself; until it has, a newcomer may be one too many.
  const client = await vi.waitFor(() => RawClient.open(endpoints.amqp), { timeout: 10_000 })
  await client.call(1, 'confirm.select', {})
  client.destroy()
  child.kill('SIGTERM')
  expect(await outcome).toMatchObject({ code: 0 })
})

test.each([
  [['up', '--amqp-prot', '1'], 'Did you mean --amqp-port?'],
  [['up', '--amqp-port', 'many'], '--amqp-port is "many"; it must be a port from 1 to 65535, auto or off'],
  [['pu'], '"pu" is no command; did you mean up?'],
  [['bogus'], '"bogus" is no command; there are help, up, config, verify, repair'],
  [['up', '--default-password', 'x'], 'use STATHMOS_DEFAULT_PASSWORD or stathmos.yaml'],
])('a command line that cannot be used ends with 2 and says why: %j', async (args, message) => {
  const { code, stderr } = await run(args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test.each([
  ['a file in its place', (at: string) => (writeFileSync(at, ''), at), 'a file is in the way'],
  ['a file among its parents', (at: string) => (writeFileSync(at, ''), join(at, 'data')), 'a file is in the way'],
  ...(process.platform === 'linux'
    ? [['a file system that takes none', () => '/proc/no-such', '(ENOENT, '] as const]
    : []),
] as const)(
  'a data directory that cannot be made ends with 1, the reason and the remedy: %s',
  async (_, made, reason) => {
    const directory = made(join(home, 'taken'))
    const { code, stderr } = await run(['up', '--ports', 'auto', '--data-dir', directory])
    expect(code).toBe(1)
    expect(stderr).toContain(`the data directory ${directory} cannot be used: `)
    expect(stderr).toContain(reason)
    expect(stderr).toContain('choose another with --data-dir')
  },
)

test('an address that this machine lacks ends with 1, the reason and the remedy', async () => {
  const args = ['up', '--ports', 'auto', '--data-dir', dataDir, '--host', '203.0.113.9', '--allow-remote-guest']
  const { code, stderr } = await run(args)
  expect(code).toBe(1)
  expect(stderr).toContain('this machine has no address 203.0.113.9 (EADDRNOTAVAIL); give --host one that it has')
})

test.each(['verify', 'repair'])(
  '%s of a directory that no broker has used says so, and leaves it alone',
  async (command) => {
    expect(await run([command, home])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${home} holds no data of a broker`) as string,
    })
    expect(readdirSync(home)).toEqual([])
    expect((await run([command, join(home, 'gone')])).stderr).toContain('there is no directory')
  },
)

test('a settings file that is no YAML ends with 2, in one line that names the place', async () => {
  writeFileSync(join(home, 'stathmos.yaml'), 'amqp-port: [1,2\n')
  const { code, stderr } = await run(['up'])
  expect(code).toBe(2)
  expect(stderr).toMatch(/^stathmos: stathmos\.yaml is not valid YAML: .* at line 2, column 1\n$/)
})

test('a mistyped key in stathmos.yaml ends with 2 and says what was meant', async () => {
  writeFileSync(join(home, 'stathmos.yaml'), 'data-dri: /tmp\n')
  const { code, stderr } = await run(['up'])
  expect(code).toBe(2)
  expect(stderr).toContain('data-dri in stathmos.yaml is no setting of Stathmos; did you mean data-dir?')
})

test('config shows every setting with the place that decided it', async () => {
  writeFileSync(join(home, 'stathmos.yaml'), 'http-port: off\n')
  const env = { STATHMOS_HOST: '::1', STATHMOS_DEFAULT_PASSWORD: 'hunter2' }
  const { code, stdout } = await run(['config', '--amqp-port', 'auto'], env)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^amqp-port +auto +--amqp-port$/m)
  expect(stdout).toMatch(/^http-port +off +stathmos\.yaml$/m)
  expect(stdout).toMatch(/^host +::1 +STATHMOS_HOST$/m)
  expect(stdout).toMatch(/^port-offset +0 +default$/m)
  expect(stdout).not.toContain('hunter2')
})

test('verify finds a flipped bit, repair keeps the rest, and the broker starts on it', async () => {
  const broker = await start(dataDir)
  const client = await amqp.connect(broker.amqp)
  client.on('error', () => {})
  const channel = await client.createConfirmChannel()
  await channel.assertQueue('orders', { durable: true })
  for (let i = 0; i < 20; i++) {
    channel.sendToQueue('orders', Buffer.from(`order ${i}`), { persistent: true })
    await channel.waitForConfirms()
  }
  const busy = await run(['verify', dataDir])
  expect(busy).toMatchObject({ code: 1, stderr: expect.stringContaining(`in use by process ${broker.pid}`) as string })
  await broker.stop('SIGKILL')
  expect(await run(['verify', dataDir])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('everything is as it was written') as string,
  })
  const journal = join(dataDir, 'journal')
  const file = join(
    journal,
    readdirSync(journal).find(
      (name) => name.endsWith('.jnl') && readFileSync(join(journal, name)).includes('order 7'),
    )!,
  )
  const bytes = readFileSync(file)
  bytes[bytes.indexOf('order 7')]! ^= 1
  writeFileSync(file, bytes)
  const refused = await run(['up', '--data-dir', dataDir, '--ports', 'auto'])
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toContain('stathmos repair')
  expect(await run(['verify', dataDir])).toMatchObject({
    code: 1,
    stdout: expect.stringContaining(`damaged: ${file}`) as string,
  })
  const planned = await run(['repair', dataDir, '--dry-run'])
  expect(planned.stdout).toContain('nothing was changed')
  const repaired = await run(['repair', dataDir])
  expect(repaired).toMatchObject({ code: 0, stdout: expect.stringContaining('dropped') as string })
  const again = await start(dataDir)
  const reader = await amqp.connect(again.amqp)
  const { messageCount } = await (await reader.createChannel()).checkQueue('orders')
  expect(messageCount).toBe(19)
  await reader.close()
})

test('npm start passes its options on, and a signal to npm drains the broker', async () => {
  const args = ['start', '--silent', '--', '--ports', 'auto', '--data-dir', dataDir]
  const child = spawn('npm', args, { cwd: fileURLToPath(new URL('../..', import.meta.url)) })
  const outcome = outcomeOf(child)
  await new Promise<void>((resolve) => {
    child.stdout.on('data', () => existsSync(endpointsFile()) && resolve())
  })
  child.kill('SIGTERM')
  expect(await outcome).toMatchObject({ code: 0 })
  expect(existsSync(endpointsFile())).toBe(false)
})
