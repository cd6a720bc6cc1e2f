// The broker that the black-box suites talk to: the one that STATHMOS_TEST_AMQP_URL names (any broker of AMQP 0-9-1,
// such as the RabbitMQ that is the suites' oracle), or else Stathmos, started from its build as its users start it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, type TestOptions } from 'vitest'
import { RawClient } from './raw-client.ts'

export const CLI = fileURLToPath(new URL('../../packages/broker/dist/cli/main.js', import.meta.url))

/** A start from cold takes well under a second; a loaded machine gets the benefit of the doubt. */
const START_MS = 20_000

export interface Endpoints {
  readonly pid: number
  readonly amqp: string
  readonly http: string
}

export interface BrokerProcess extends Endpoints {
  readonly dataDir: string
  /** Ends it and waits until it is gone; resolves with the exit code, null after a signal. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** What it has written to its standard output and error so far. */
  output(): string
}

/** Starts `stathmos up` as a process of its own and waits until every listener accepts. */
export async function spawnStathmos(
  dataDir: string,
  options: { readonly arguments?: readonly string[]; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<BrokerProcess> {
  if (!existsSync(CLI)) throw new Error(`${CLI} is missing: npm run build`)
  const child = spawn(
    process.execPath,
    [CLI, 'up', '--ports', 'auto', '--data-dir', dataDir, ...(options.arguments ?? [])],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    },
  )
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const exited = once(child, 'exit') as Promise<[number | null]>
  const endpoints = await endpointsOf(dataDir, child.pid!, () => {
    if (child.exitCode !== null) throw new Error(`stathmos exited with ${child.exitCode} before it was ready:\n${text}`)
  }).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
  return {
    ...endpoints,
    dataDir,
    output: () => text,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      const [code] = await exited
      return code
    },
  }
}

/** Reads endpoints.json as soon as it is this process's; one that a killed process left behind does not count. */
async function endpointsOf(dataDir: string, pid: number, check: () => void): Promise<Endpoints> {
  const file = join(dataDir, 'endpoints.json')
  for (const end = performance.now() + START_MS; performance.now() < end; await sleep(5)) {
    check()
    if (!existsSync(file)) continue
    const endpoints = JSON.parse(readFileSync(file, 'utf8')) as Endpoints
    if (endpoints.pid === pid) return endpoints
  }
  throw new Error(`${file} does not name process ${pid} within ${START_MS} ms`)
}

export interface BrokerUnderTest {
  readonly url: string
  readonly kind: 'stathmos' | 'rabbitmq'
}

/** Call once per test file, at its top: the broker is stopped after the file's last test. */
export async function brokerUnderTest(): Promise<BrokerUnderTest> {
  const url = process.env['STATHMOS_TEST_AMQP_URL']
  if (url !== undefined) return { url, kind: await kindOf(url) }
  const dataDir = mkdtempSync(join(tmpdir(), 'stathmos-conformance-'))
  const broker = await spawnStathmos(dataDir)
  afterAll(async () => {
    await broker.stop()
    rmSync(dataDir, { recursive: true, force: true })
  })
  // One of the clients logs in as nobody when a URL names nobody.
  return { url: broker.amqp.replace('://', '://guest:guest@'), kind: 'stathmos' }
}

/** RabbitMQ is told by its platform, because Stathmos may call itself RabbitMQ for clients that look at the product. */
async function kindOf(url: string): Promise<'stathmos' | 'rabbitmq'> {
  using client = await RawClient.open(url)
  return String(client.serverProperties['platform']).startsWith('Erlang') ? 'rabbitmq' : 'stathmos'
}

declare module 'vitest' {
  interface TaskMeta {
    /** Why RabbitMQ 3.10 cannot be the oracle of this test. */
    onlyOnStathmos?: string
  }
}

/** Test options for what RabbitMQ 3.10, the oracle, does otherwise on purpose. */
export function onlyOnStathmos(broker: BrokerUnderTest, reason: string): TestOptions {
  return { skip: broker.kind !== 'stathmos', meta: { onlyOnStathmos: reason } }
}
