// Programs that nobody here wrote, run as processes against the broker under test.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  input = '',
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
): Promise<Outcome> {
  const child = spawn(command, args, { stdio: 'pipe', env: { ...process.env, ...env }, cwd })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

/** Runs a program that must succeed; resolves with what it printed. */
export async function succeed(command: string, args: readonly string[], input = ''): Promise<string> {
  const outcome = await run(command, args, input)
  if (outcome.code !== 0)
    throw new Error(`${command} ${args.join(' ')} exited with ${outcome.code}: ${outcome.stderr || outcome.stdout}`)
  return outcome.stdout
}

export function installed(command: string, args: readonly string[] = ['--help']): boolean {
  const { error, status } = spawnSync(command, args, { stdio: 'ignore' })
  return error === undefined && status === 0
}

/** A Python that has pika: the system's own has Debian's packages, another one on the PATH may not. */
export function pythonWithPika(): string | undefined {
  return ['python3', '/usr/bin/python3'].find((python) => installed(python, ['-c', 'import pika']))
}
