#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander'
import { didYouMean } from '../config/did-you-mean.ts'
import { isSecret, keyOf, optionNames, optionTable, rowOf, variableOf } from '../config/options.ts'
import { SettingsError } from '../config/settings-error.ts'
import { formatValue } from '../config/value.ts'
import { version } from '../version.ts'
import { EXIT } from './exit.ts'
import type { Flags } from './settings.ts'

function withSettings(command: Command): Command {
  command.option('--config <file>', 'settings file (default: stathmos.yaml where it is started, if there is one)')
  for (const name of optionNames.filter((each) => !isSecret(each))) {
    const row = rowOf(name)
    const value = row.kind === 'switch' ? '' : ` <${row.kind === 'choice' ? row.choices.join('|') : row.kind}>`
    command.addOption(
      new Option(`--${keyOf(name)}${value}`, `${row.help} (default: ${formatValue(row, optionTable[name].default)})`),
    )
  }
  return command.allowExcessArguments(false)
}

/** Commander's complaints in the form of all our own. */
function inOurWords(complaint: string): string {
  const secret = optionNames.find((name) => isSecret(name) && complaint.includes(`--${keyOf(name)}'`))
  const help =
    secret === undefined
      ? '\n  `stathmos --help` shows the commands, `stathmos up --help` every option\n'
      : `\n  secrets are no options, because every user of the machine can read those: use ${variableOf(secret)} or stathmos.yaml\n`
  return `stathmos: ${complaint.replace(/^error: /, '').trimEnd()}${help}`
}

const program = new Command('stathmos')
  .description('A durable message broker: AMQP 0-9-1 clients connect as they are.')
  .version(version)
  .showSuggestionAfterError()
  .configureOutput({ outputError: (complaint, write) => write(inOurWords(complaint)) })
  .exitOverride()

withSettings(program.command('up', { isDefault: true }))
  .description('start the broker (what happens without a command)')
  .action(async (flags: Flags) => {
    const { serve } = await import('./serve.ts')
    await serve(flags)
  })

withSettings(program.command('config'))
  .description('show every setting and where it comes from')
  .action(async (flags: Flags) => {
    const { showConfig } = await import('./config.ts')
    await showConfig(flags)
  })

program
  .command('verify <data-dir>')
  .description('check every checksum and reference of a data directory that no broker has open')
  .action(async (directory: string) => {
    const { verify } = await import('./verify.ts')
    await verify(directory)
  })

program
  .command('repair <data-dir>')
  .description('make a damaged data directory start again, and say exactly what was lost')
  .option('--dry-run', 'only say what would be done')
  .action(async (directory: string, options: { readonly dryRun?: boolean }) => {
    const { repair } = await import('./verify.ts')
    await repair(directory, options)
  })

program
  .command('app')
  .description(
    'look after the messages of a service that uses the SDK: outbox, dead letters, register (`stathmos app --help`)',
  )
  .helpOption(false)
  .allowUnknownOption()
  .allowExcessArguments()
  .action(async () => {
    const { app } = await import('./app.ts')
    // As it was written: what the options mean is the SDK's affair.
    await app(process.argv.slice(3))
  })

// Whoever read our output may have left (`stathmos config | head`); a broker goes on without a reader.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

/** A mistyped command would count as an argument of the default one, whose complaint leads astray. */
function requireKnownCommand(first = ''): void {
  const names = ['help', ...program.commands.map((command) => command.name())]
  if (first === '' || first.startsWith('-') || names.includes(first)) return
  const meant = didYouMean(first, names)
  throw new SettingsError(
    `"${first}" is no command; ${meant === undefined ? `there are ${names.join(', ')}` : `did you mean ${meant}?`}`,
  )
}

try {
  requireKnownCommand(process.argv[2])
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has already said it; help and version are no failures.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  } else if (error instanceof SettingsError) {
    process.stderr.write(`stathmos: ${error.message}\n`)
    process.exitCode = EXIT.usage
  } else {
    throw error
  }
}
