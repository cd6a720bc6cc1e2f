import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EXIT } from './exit.ts'

/** What a command of the SDK is given of the outside; the SDK says the same in its own words. */
export interface AppIo {
  out(text: string): void
  err(text: string): void
  readonly cwd: string
}

interface AppCommands {
  runAppCommand(argv: readonly string[], io: AppIo): Promise<number>
}

/** The SDK is the project's own, in the version that its service was written for; the broker needs none. */
const COMMANDS = '@stathmos/sdk/cli'

/**
 * Runs a command of the SDK that the project in `io.cwd` has installed.
 *
 * @returns the exit code
 */
export async function runApp(argv: readonly string[], io: AppIo): Promise<number> {
  let file: string
  try {
    file = createRequire(join(io.cwd, 'package.json')).resolve(COMMANDS)
  } catch {
    io.err(
      `stathmos: ${io.cwd} has no @stathmos/sdk; run it in the folder of your project, or npm install @stathmos/sdk there\n`,
    )
    return EXIT.usage
  }
  const commands = (await import(pathToFileURL(file).href)) as AppCommands
  return commands.runAppCommand(argv, io)
}

/** {@link runApp} as a command of this process: it ends the process, which the service's own connections would keep up. */
export async function app(argv: readonly string[]): Promise<void> {
  const code = await runApp(argv, {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    cwd: process.cwd(),
  })
  // What is written to a pipe may not have left yet.
  await Promise.all(
    [process.stdout, process.stderr].map((stream) => new Promise<void>((left) => stream.write('', () => left()))),
  )
  process.exit(code)
}
