// The example does what its README says: the commands of its blocks are run in a shell, in a project into which our packages
// were installed as npm packs them, and print what the blocks say. `…` stands for anything.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readFileSync, readdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { packedProject, type PackedProject } from './packed-project.ts'
import { installed, run } from './program.ts'
import { noBetterSqlite } from '../peers/sqlite.ts'

const example = fileURLToPath(new URL('../../examples/orders/', import.meta.url))
const missing = noBetterSqlite ?? (installed('curl') ? null : 'there is no curl')

/** How long a command that only looks is repeated until it prints what it should. */
const PATIENCE_MS = 40_000

interface Command {
  readonly text: string
  readonly prints: string
}

const commands: readonly Command[] = [
  ...readFileSync(join(example, 'README.md'), 'utf8').matchAll(/^```console\n([\s\S]*?)^```$/gm),
].flatMap(([, block]) =>
  block!
    .split(/^\$ /m)
    .slice(1)
    .map((command) => {
      const [text, ...lines] = command.trimEnd().split('\n')
      return { text: text!, prints: lines.join('\n') }
    }),
)

/** What runs after `npm start`: where, and as which process. */
interface Shop {
  readonly npm: ChildProcess
  readonly address: string
  readonly pid: number
}

function patternOf(text: string): RegExp {
  const literal = text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`^${literal.replaceAll(/\s*…\s*/g, '[\\s\\S]*')}$`)
}

describe.skipIf(missing !== null)(`the example${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  let project: PackedProject
  let shop: Shop | null = null

  beforeAll(async () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(example, 'package.json'), 'utf8')) as {
      readonly dependencies: Readonly<Record<string, string>>
      readonly devDependencies: Readonly<Record<string, string>>
    }
    const named = Object.entries({ ...dependencies, ...devDependencies })
    const ours = named.flatMap(([, from]) => /^file:.*\/packages\/(\w+)$/.exec(from)?.[1] ?? [])
    project = await packedProject(ours, ['@standard-schema/spec', 'commander', 'yaml'])
    project.link(...named.filter(([, from]) => !from.startsWith('file:')).map(([name]) => name), 'undici-types')
    symlinkSync('../typescript/bin/tsc', join(project.directory, 'node_modules/.bin/tsc'))
    for (const name of ['package.json', 'tsconfig.json', 'src'])
      cpSync(join(example, name), join(project.directory, name), { recursive: true })
  })

  afterAll(async () => {
    if (shop !== null) await ended(shop, 'SIGTERM')
    project.remove()
  })

  async function start(): Promise<Shop> {
    const npm = spawn('npm', ['start'], { cwd: project.directory, env: { ...process.env, PORT: '0' }, stdio: 'pipe' })
    let printed = ''
    for (const stream of [npm.stdout, npm.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    const [, address, pid] = await vi.waitUntil(
      () => {
        if (npm.exitCode !== null) throw new Error(`npm start ended: ${printed}`)
        return /the shop is open at http:\/\/([\d.:]+), process (\d+)/.exec(printed)
      },
      { timeout: PATIENCE_MS },
    )
    return { npm, address: address!, pid: Number(pid) }
  }

  /** A command of the README, where the shop really is. */
  const shell = async (text: string): Promise<string> => {
    const { stdout, stderr } = await run(
      'bash',
      ['-c', text.replaceAll('localhost:8080', shop?.address ?? '')],
      '',
      {},
      project.directory,
    )
    return (stdout + stderr).trim()
  }

  test(
    'its README tells the truth, with a SIGKILL between the order and the invoice',
    { timeout: 180_000 },
    async () => {
      for (const { text, prints } of commands) {
        const look = async (): Promise<void> => expect(await shell(text), text).toMatch(patternOf(prints))
        if (text === 'npm start') shop = await start()
        else if (text.startsWith('kill -9 ')) shop = await ended(shop!, 'SIGKILL')
        else if (/^(touch|rm) | -d /.test(text)) await look()
        else await vi.waitFor(look, { timeout: PATIENCE_MS, interval: 100 })
      }
      // Everything is done, and nothing was done twice.
      await vi.waitFor(async () => expect(await shell('npm run -s operator -- outbox')).toContain('there is nothing'), {
        timeout: PATIENCE_MS,
      })
      const done = await shell('npm run -s operator -- register list --state done --direction in --json')
      const { entries } = JSON.parse(done) as {
        entries: readonly { readonly type: string; readonly consumer: string }[]
      }
      const count = (consumer: string): number => entries.filter((entry) => entry.consumer === consumer).length
      expect([count('shop.stock'), count('shop.invoice'), count('shop.receive')]).toEqual([2, 2, 1])
      expect(readdirSync(join(project.directory, 'data/mails'))).toHaveLength(2)
    },
  )

  test('a second one in the same folder is refused, and harms nothing', async () => {
    const { code, stderr } = await run(process.execPath, ['dist/main.js'], '', { PORT: '0' }, project.directory)
    expect(code).toBe(1)
    expect(stderr).toContain(`process ${shop!.pid} has the engine`)
    expect(await shell('curl -s localhost:8080/stock')).toContain('pen')
  })

  test('it stops when it is asked to, and its process ends', async () => {
    expect(await ended(shop!, 'SIGTERM')).toBeNull()
    shop = null
  })

  async function ended({ npm, pid }: Shop, signal: 'SIGTERM' | 'SIGKILL'): Promise<null> {
    const end = npm.exitCode === null ? once(npm, 'exit') : null
    process.kill(pid, signal)
    await end
    return null
  }
})
