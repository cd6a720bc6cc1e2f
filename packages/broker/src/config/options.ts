/**
 * Every option of the broker, once. The command line, the environment, the settings file, the help text and
 * docs/configuration.md are made from this table, and {@link Settings} is its type.
 */

interface Row {
  readonly help: string
  /** Why the default is what it is, where that is not plain. */
  readonly reason?: string
}

interface TextRow extends Row {
  readonly kind: 'text'
  readonly default: string
  /** Kept out of the command line (every user of the machine can read that) and never shown. */
  readonly secret?: true
}

interface ChoiceRow extends Row {
  readonly kind: 'choice'
  readonly choices: readonly string[]
  readonly default: string
}

interface IntegerRow extends Row {
  readonly kind: 'integer'
  readonly min: number
  readonly max: number
  readonly default: number
}

/** A whole number of bytes; also `64KiB`, `16MiB`, `2GiB`. */
interface BytesRow extends Row {
  readonly kind: 'bytes'
  readonly min: number
  readonly default: number
}

/** Milliseconds; written with a unit: `500ms`, `10s`, `2m`. */
interface DurationRow extends Row {
  readonly kind: 'duration'
  readonly min: number
  readonly max: number
  readonly default: number
}

/** A port number, `auto` for one that is free, `off` for no listener. */
interface PortRow extends Row {
  readonly kind: 'port'
  readonly default: Port
}

interface SwitchRow extends Row {
  readonly kind: 'switch'
  readonly default: boolean
}

export type OptionRow = TextRow | ChoiceRow | IntegerRow | BytesRow | DurationRow | PortRow | SwitchRow

export type Port = number | 'auto' | 'off'

export const PORT_MAX = 65_535

const MiB = 1024 * 1024

export const optionTable = {
  dataDir: {
    kind: 'text',
    default: './.stathmos',
    help: 'directory that holds the messages; made when it is missing',
  },
  host: {
    kind: 'text',
    default: '127.0.0.1',
    help: 'address that the listeners bind',
    reason: 'a broker that was just tried out is nobody else’s to use; other machines need a decision',
  },
  amqpPort: { kind: 'port', default: 5672, help: 'AMQP 0-9-1: a number, auto or off' },
  httpPort: { kind: 'port', default: 15672, help: 'health endpoints: a number, auto or off' },
  ports: {
    kind: 'choice',
    choices: ['fixed', 'auto'],
    default: 'fixed',
    help: 'auto takes a free port for every listener that is not off',
    reason: 'fixed, because existing clients know the usual ports; auto is for tests that run side by side',
  },
  portOffset: {
    kind: 'integer',
    min: 0,
    max: 60_000,
    default: 0,
    help: 'added to every port number',
    reason: 'one option moves a second broker out of the way of the first',
  },
  defaultUser: {
    kind: 'text',
    default: 'guest',
    help: 'name of the first user, made when the data directory is new',
  },
  defaultPassword: {
    kind: 'text',
    secret: true,
    default: 'guest',
    help: 'password of the first user; only in the environment or the settings file',
  },
  allowRemoteGuest: {
    kind: 'switch',
    default: false,
    help: 'lets guest log in from other machines',
    reason: 'guest has a password that everybody knows',
  },
  maxConnections: {
    kind: 'integer',
    min: 1,
    max: 1_000_000,
    default: 100_000,
    help: 'connections that one listener holds; the next one is closed at once',
    reason: 'the limit of open files counts too: a fifth of them, and at least 100, are kept for the disk',
  },
  maxMessageBytes: {
    kind: 'bytes',
    min: 1024,
    default: 16 * MiB,
    help: 'largest body of a message',
    reason: 'a body is held in memory until it is complete',
  },
  maxMemory: {
    kind: 'bytes',
    min: 0,
    default: 0,
    help: 'resident memory above which publishers wait; 0 for half of what the machine or the container has',
    reason: 'waiting messages live on the disk, so that this is reached by many connections and never by a backlog',
  },
  minFreeDisk: {
    kind: 'bytes',
    min: 0,
    default: 160 * MiB,
    help: 'free room on the disk below which publishers wait',
    reason: 'consumers go on draining, and what they settle must be written down',
  },
  loginTimeout: {
    kind: 'duration',
    min: 100,
    max: 600_000,
    default: 10_000,
    help: 'time that a connection has to log in',
    reason: 'a peer that says nothing may not hold a place for ever',
  },
  drainTimeout: {
    kind: 'duration',
    min: 0,
    max: 13_000,
    default: 10_000,
    help: 'time that clients have to say goodbye when the broker stops',
    reason: 'container platforms kill after 30 s; the disk needs its part of them',
  },
  logLevel: {
    kind: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
    help: 'least severe log lines that are written',
  },
} as const satisfies Record<string, OptionRow>

type Table = typeof optionTable

export type OptionName = keyof Table

type ValueOf<R> = R extends { kind: 'port' }
  ? Port
  : R extends { kind: 'choice'; choices: readonly (infer Choice)[] }
    ? Choice
    : R extends { kind: 'switch' }
      ? boolean
      : R extends { kind: 'text' }
        ? string
        : number

/** The value of every option. */
export type Settings = { readonly [Name in OptionName]: ValueOf<Table[Name]> }

export const optionNames = Object.keys(optionTable) as OptionName[]

export function rowOf(name: OptionName): OptionRow {
  return optionTable[name]
}

/** `dataDir` → `data-dir`: the flag without its dashes, and the key in the settings file. */
export function keyOf(name: OptionName): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** `dataDir` → `STATHMOS_DATA_DIR`. */
export function variableOf(name: OptionName): string {
  return `STATHMOS_${keyOf(name).replaceAll('-', '_').toUpperCase()}`
}

export function isSecret(name: OptionName): boolean {
  const row = rowOf(name)
  return row.kind === 'text' && row.secret === true
}
