import { SdkError } from '../errors.ts'
import { loadApp } from './app-operations.ts'
import { tell, type Command, type CommandIo, type Invocation } from './command.ts'
import { declare, declareManifests } from './declare-commands.ts'
import { BULK, checkFlags, FILTER, flagsOf, PAGES, type Flag } from './flags.ts'
import * as register from './register-commands.ts'
import * as schema from './schema-commands.ts'
import { outline } from './table.ts'
import { UsageError } from './usage-error.ts'

export type { AppOperations } from './app-operations.ts'
export type { CommandIo } from './command.ts'

/** What a command's exit code says; the same as those of all `stathmos` commands. */
const EXIT = { ok: 0, failure: 1, usage: 2 } as const

interface Row {
  readonly run: Command
  readonly help: string
  /** Whether the store's tables have to be there. */
  readonly tables: boolean
  readonly flags: readonly Flag[]
}

const migrate: Command = async (invocation) => {
  const { app } = invocation
  await app.migrate()
  tell(
    invocation,
    { migrated: app.store.name },
    () => `the tables of ${app.name} in ${app.store.name} are up to date\n`,
  )
  return true
}

const describe: Command = async (invocation) => {
  const { app } = invocation
  const described = app.describe?.() ?? {
    service: app.name,
    contracts: app.contracts.map(({ kind, name, version, keyed }) => ({ kind, name, version, keyed })),
  }
  if (invocation.flags.short === true) {
    const lines = linesOf(described)
    tell(invocation, lines, () => lines.map((line) => `${line}\n`).join(''))
  } else tell(invocation, described, () => outline(described))
  return true
}

/** One line for each handler. */
function linesOf(described: unknown): readonly string[] {
  const { handlers } = described as { readonly handlers?: unknown }
  if (!Array.isArray(handlers)) return []
  return handlers.flatMap((each: { readonly line?: unknown }) => (typeof each.line === 'string' ? [each.line] : []))
}

const COMMANDS: Readonly<Record<string, Row>> = {
  outbox: { run: register.outbox, tables: true, flags: [...FILTER, ...PAGES], help: 'messages that wait to be sent' },
  inbox: {
    run: register.inbox,
    tables: true,
    flags: [...FILTER, ...PAGES],
    help: 'messages that were received and are not done',
  },
  dlq: { run: register.dlq, tables: true, flags: FILTER, help: 'what was given up, in groups' },
  'dlq redrive': {
    run: register.redrive,
    tables: true,
    flags: [...FILTER, ...BULK],
    help: 'has it tried again, 50 in a second unless --rate says otherwise',
  },
  'register list': {
    run: register.list,
    tables: true,
    flags: [...FILTER, ...PAGES],
    help: 'messages of both directions',
  },
  'register show': { run: register.show, tables: true, flags: [], help: 'one message with its data and errors' },
  'register retry': {
    run: register.retry,
    tables: true,
    flags: [...FILTER, ...BULK],
    help: 'has messages tried again, by id or filter',
  },
  'register cancel': {
    run: register.cancel,
    tables: true,
    flags: [...FILTER, ...BULK],
    help: 'takes messages out of the way, by id or filter',
  },
  'register edit': {
    run: register.edit,
    tables: true,
    flags: ['data', 'consumer'],
    help: 'replaces the data of a parked message: --data <json>',
  },
  'register purge': {
    run: register.purge,
    tables: true,
    flags: ['state', 'older-than', 'contract', 'dry-run'],
    help: 'deletes by --state and --older-than',
  },
  declare: {
    run: declare,
    tables: false,
    flags: ['manifest', 'engine', 'engine-file'],
    help: 'makes what the service needs at its engine, or what those of --manifest <file> … need at --engine',
  },
  migrate: { run: migrate, tables: false, flags: [], help: "brings the store's tables to this version" },
  'schema print': { run: schema.print, tables: false, flags: [], help: 'the contracts as a file, to be checked in' },
  'schema check': {
    run: schema.check,
    tables: false,
    flags: ['against', 'mode', 'stored'],
    help: 'compares the contracts with --against <file>, or --stored',
  },
  describe: {
    run: describe,
    tables: false,
    flags: ['short'],
    help: 'what the service declares; with --short a line for each handler',
  },
}

const FILTERS = `
Options
  --app <file>            the module that exports the service as \`app\` or by default
  --json                  for programs
  --short                 of describe
  --mode <mode>           of schema check: backward, forward or full, which is the default
  --manifest <file> …     of declare: services as \`schema print\` wrote them, in the place of --app
  --engine <address>      of declare --manifest: amqp://… or a directory; --engine-file names a file that holds it
  --dry-run               of what changes something: only says what would happen
  --rate <n/s>            of retry, cancel and redrive: at most so many in a time
  --state, --contract, --consumer, --direction, --key, --external-id, --fingerprint,
  --older-than, --younger-than, --limit, --page
                          which messages; a contract may have *, but not to purge; ages are 30s, 5m, 4h, 14d
`

/**
 * Runs a command for operators of a service: `stathmos app <command>`. Loads the service's module and starts nothing.
 *
 * @param argv what follows \`app\`
 * @returns the exit code: 0 all is well, 1 something failed or nothing matched, 2 the command line cannot be used
 */
export async function runAppCommand(argv: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { flags, words } = flagsOf(argv)
    if (flags.help === true || words.length === 0) {
      io.out(help())
      return flags.help === true ? EXIT.ok : EXIT.usage
    }
    const [name, row, rest] = rowOf(words)
    checkFlags(name, flags, row.flags)
    const invocation = { flags, words: rest, io }
    const fine = flags.manifest === undefined ? await runWithApp(row, invocation) : await declareManifests(invocation)
    return fine ? EXIT.ok : EXIT.failure
  } catch (error) {
    io.err(`stathmos app: ${complaint(error)}\n`)
    return error instanceof UsageError ? EXIT.usage : EXIT.failure
  }
}

async function runWithApp({ run, tables }: Row, invocation: Omit<Invocation, 'app'>): Promise<boolean> {
  const { flags, io } = invocation
  const app = await loadApp(flags.app, io.cwd)
  try {
    if (tables || flags.stored === true) await app.store.check()
    return await run({ ...invocation, app })
  } finally {
    await app.store.close()
  }
}

function rowOf(words: readonly string[]): [string, Row, readonly string[]] {
  const two = words.slice(0, 2).join(' ')
  for (const [name, length] of [
    [two, 2],
    [words[0]!, 1],
  ] as const)
    if (Object.hasOwn(COMMANDS, name)) return [name, COMMANDS[name]!, words.slice(length)]
  throw new UsageError(`"${two}" is no command; there are ${Object.keys(COMMANDS).join(', ')}`)
}

/** Cause and remedy. What the program itself threw is told with its first line. */
function complaint(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof SdkError && error.code === 'not_migrated')
    return `${error.message}; \`stathmos app migrate\` makes them`
  return error.message
}

function help(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const lines = Object.entries(COMMANDS).map(([name, row]) => `  ${name.padEnd(width)}  ${row.help}\n`)
  return `Usage: stathmos app <command> --app ./dist/app.js\n\nCommands\n${lines.join('')}${FILTERS}`
}
