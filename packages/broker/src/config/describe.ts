import { isSecret, keyOf, optionNames, optionTable, rowOf, variableOf, type OptionRow } from './options.ts'
import { formatValue } from './value.ts'

/** docs/configuration.md: the option table for people. */
export function settingsPage(): string {
  return `<!-- Generated from packages/broker/src/config/options.ts; \`npm test -- --project unit -u\` writes it anew. -->

# Configuration

Every setting has one name and can be given in three places. The strongest wins:

1. on the command line: \`npm start -- --amqp-port 5673\`
2. in the environment: \`STATHMOS_AMQP_PORT=5673\`
3. in \`stathmos.yaml\` where the broker is started, or in the file that \`--config FILE\` or \`STATHMOS_CONFIG\` names:
   \`amqp-port: 5673\`

A name that no setting has is an error that says which one was probably meant. \`stathmos config\` prints every setting,
its value, and the place that decided it. Sizes are written as \`64KiB\`, \`16MiB\`, \`2GiB\`, times as \`500ms\`, \`10s\`, \`2m\`.

| setting | values | default | what it does |
|---|---|---|---|
${optionNames.map((name) => line(keyOf(name), rowOf(name), shownDefault(name), isSecret(name))).join('\n')}

The flag of a setting is its name after \`--\`, its variable is the name in capitals after \`STATHMOS_\`
(\`${keyOf('dataDir')}\`: \`--${keyOf('dataDir')}\`, \`${variableOf('dataDir')}\`).
`
}

function shownDefault(name: (typeof optionNames)[number]): string {
  return formatValue(rowOf(name), optionTable[name].default)
}

function line(key: string, row: OptionRow, byDefault: string, secret: boolean): string {
  const reason = row.reason === undefined ? '' : `. *Why: ${row.reason}.*`
  return `| \`${key}\`${secret ? ' (no flag)' : ''} | ${valuesOf(row)} | \`${byDefault}\` | ${row.help}${reason} |`
}

function valuesOf(row: OptionRow): string {
  switch (row.kind) {
    case 'choice':
      return row.choices.map((choice) => `\`${choice}\``).join(', ')
    case 'integer':
      return `${row.min} to ${row.max}`
    case 'bytes':
      return `size, at least ${formatValue(row, row.min)}`
    case 'duration':
      return `${formatValue(row, row.min)} to ${formatValue(row, row.max)}`
    case 'port':
      return 'port, `auto`, `off`'
    case 'switch':
      return '`true`, `false`'
    case 'text':
      return 'text'
  }
}
